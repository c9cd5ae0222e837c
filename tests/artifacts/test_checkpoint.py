import pytest
import torch
from safetensors.torch import save_file

from pipeline.artifacts.checkpoint import load_training_state, load_weights, save_training_state, save_weights
from pipeline.errors import PseudomaskError


def test_weights_and_card_round_trip(tmp_path):
    state = {"a": torch.randn(3, 2).t(), "n": torch.tensor(3)}
    save_weights(tmp_path / "w.safetensors", state, {"objective": "x", "seed": 1})
    found, card = load_weights(tmp_path / "w.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    assert card == {"objective": "x", "seed": 1}


def test_an_optimiser_goes_on_exactly(tmp_path):
    def steps(optimiser, weight, count):
        for _ in range(count):
            optimiser.zero_grad()
            (weight.sin().sum() ** 2).backward()
            optimiser.step()

    weight = torch.randn(5, requires_grad=True)
    optimiser = torch.optim.AdamW([weight], lr=0.1)
    steps(optimiser, weight, 3)
    save_training_state(tmp_path / "s", {"optimiser": optimiser.state_dict(), "weight": weight, "list": [1, 0.1, "x"]})
    steps(optimiser, weight, 2)
    state = load_training_state(tmp_path / "s")
    again = state["weight"].requires_grad_()
    other = torch.optim.AdamW([again], lr=9.0)
    other.load_state_dict(state["optimiser"])
    steps(other, again, 2)
    assert torch.equal(weight, again)
    assert state["list"] == [1, 0.1, "x"]


def test_damage_is_named(tmp_path):
    with pytest.raises(PseudomaskError, match="does not exist"):
        load_weights(tmp_path / "none")
    (tmp_path / "cut").write_bytes(b"123")
    with pytest.raises(PseudomaskError, match="is damaged"):
        load_weights(tmp_path / "cut")
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign")
    with pytest.raises(PseudomaskError, match="has no card"):
        load_weights(tmp_path / "foreign")
