from pathlib import Path

import pytest
import yaml

from pipeline.config.load import load_run
from pipeline.errors import PseudomaskError

ROOT = Path(__file__).parents[2]


def tiny(**changes):
    settings = yaml.safe_load((ROOT / "tests/workflow/tiny_mdh.yaml").read_text())
    return load_run({**settings, **changes}, ROOT / "configs")


@pytest.mark.parametrize(
    "other",
    [
        {"backbone": "resnet18"},
        {"decoder_channels": 64},
        {"output_stride": 16},
        {"mean": [0.5, 0.5, 0.5]},
    ],
)
def test_fine_tuning_with_another_network_is_refused(other):
    """The weights would not fit, or would see other images than those they were trained on."""
    with pytest.raises(PseudomaskError) as error:
        tiny(**{f"finetune__segnet__network__{name}": value for name, value in other.items()})
    assert "fine-tuning goes on with SegNet" in str(error.value)
    assert f"finetune.segnet.network has another {next(iter(other))} (" in str(error.value)


def test_fine_tuning_may_start_from_other_weights_and_freeze_batch_norm():
    config = tiny(finetune__segnet__network__weights="other.pt", finetune__segnet__network__batch_norm="frozen")
    assert config.finetune.segnet.network.batch_norm == "frozen"
