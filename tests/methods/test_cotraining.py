import math

import pytest
import torch
from torch.nn import functional as F

from pipeline.artifacts.checkpoint import save_weights
from pipeline.config.classes import ClassTable
from pipeline.config.cotraining import StrongSettings
from pipeline.config.network import NetworkSettings
from pipeline.data.strong import jitter_colours
from pipeline.methods.cotraining import Settings, build, class_regions, co_losses, edges
from pipeline.nets.exported import load_segmenters

CLASSES = ClassTable(names=("background", "disc", "square", "ring"))
NETWORK = NetworkSettings(backbone="resnet10t", backbone_options={"channels": (8, 8, 16, 16)}, decoder="deeplabv2")
BASE = {"network": NETWORK, "strong": None, "mix": {"own_from_step": 10, "confidence": 0.3}}


def objective(**changes):
    torch.manual_seed(0)
    return build(Settings.model_validate(BASE | changes), CLASSES, None, {}).train()


def batch(side=32):
    torch.manual_seed(1)
    valid = torch.ones(4, side, side, dtype=torch.bool)
    valid[1, :, 20:] = False
    mask = torch.randint(0, 4, (4, side, side)).masked_fill(~valid, 255)
    confidence = torch.randint(0, 2, (4, side, side)).masked_fill(~valid, 255)
    return {"image": torch.rand(4, 3, side, side), "valid": valid, "mask": mask, "confidence": confidence}


def cross_entropy(scores, label):
    return math.log(sum(math.exp(value) for value in scores)) - scores[label]


def test_losses_equal_a_loop():
    torch.manual_seed(0)
    logits = [torch.randn(2, 4, 3, 5, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    labels = torch.randint(0, 4, (2, 3, 5))
    labels[0, 0, 0] = 255
    trusted, used = torch.rand(2, 3, 5) < 0.5, torch.rand(2, 3, 5) < 0.8
    trusted[0, 0, 0] = True
    weight = 1 + 0.2 * (torch.rand(2, 3, 5) < 0.5).double()
    slow = {"trusted": 0.0, "other": 0.0}
    for i in range(2):
        for b, y, x in torch.cartesian_prod(*(torch.arange(n) for n in labels.shape)).tolist():
            row, label = logits[i][b, :, y, x].tolist(), labels[b, y, x].item()
            if used[b, y, x] and trusted[b, y, x] and label != 255:
                slow["trusted"] += weight[b, y, x].item() * cross_entropy(row, label) / 30
            if used[b, y, x] and not trusted[b, y, x]:
                slow["other"] += cross_entropy(row, logits[1 - i][b, :, y, x].argmax().item()) / 30
    parts = co_losses(logits, labels, trusted, used, weight, 255)
    assert {name: value.item() for name, value in parts.items()} == pytest.approx(slow)
    assert torch.autograd.gradcheck(
        lambda *given: sum(co_losses(given, labels, trusted, used, weight, 255).values()), logits
    )
    parts["other"].backward()
    assert all((leaf.grad.abs().sum(1)[trusted | ~used] == 0).all() for leaf in logits)
    assert set(co_losses(logits[:1], labels, trusted, used, weight, 255)) == {"trusted"}


def test_pasted_are_half_of_the_foreground_classes_rounded_up():
    labels = torch.tensor([[[0, 1, 2, 3, 255]], [[0, 0, 1, 2, 2]], [[3, 3, 0, 255, 0]], [[0, 255, 0, 0, 0]]])
    found = set()
    for seed in range(60):
        torch.manual_seed(seed)
        regions = class_regions(labels, 4)
        chosen = [set(image[region].tolist()) for image, region in zip(labels, regions, strict=True)]
        assert [len(each) for each in chosen] == [2, 1, 1, 0]
        for image, region, names in zip(labels, regions, chosen, strict=True):
            assert not names & {0, 255}
            assert torch.equal(region, torch.isin(image, torch.tensor(sorted(names))))
        found.add(tuple(sorted(chosen[0])))
    assert found == {(1, 2), (1, 3), (2, 3)}


def test_edges_lie_on_both_sides():
    region = torch.zeros(1, 9, 9, dtype=torch.bool)
    region[:, 3:6, 3:6] = True
    found = edges(region, 1)[0]
    expected = torch.zeros(9, 9, dtype=torch.bool)
    expected[2:7, 2:7] = True
    expected[4, 4] = False
    assert torch.equal(found, expected)
    assert not edges(torch.ones(1, 5, 5, dtype=torch.bool), 1).any()


@pytest.mark.parametrize("step", [0, 10])
def test_mixing_equals_a_loop_over_images(step):
    model, given = objective(mix={"own_from_step": 10, "confidence": 0.3, "probability": 0.7}), batch()
    mix = model._settings.mix
    for network in model.networks:
        for branch in network.decoder.branches:
            torch.nn.init.normal_(branch.weight, std=0.5)
    own, sure = model._own_labels(given["image"], given["valid"], mix.confidence)
    assert 0 < sure.float().mean() < 1
    assert (own[1, :, 20:] == 255).all()
    trusted = given["confidence"] == 1
    torch.manual_seed(5)
    image, labels, trust, used, edge = model._mixed(given["image"], given["mask"], trusted, given["valid"], mix, step)
    torch.manual_seed(5)
    online = step >= 10
    source = own.masked_fill(~sure, 255) if online else given["mask"]
    regions, chances = class_regions(source, 4), torch.rand(4)
    assert 0 < (chances < 0.7).sum() < 4
    for i in range(4):
        j = (i + 2) % 4
        if chances[i] >= 0.7:
            assert torch.equal(image[i], given["image"][i])
            assert torch.equal(labels[i], given["mask"][i])
            assert torch.equal(trust[i], trusted[i])
            assert not edge[i].any()
            continue
        base, sureness = (own, sure) if online else (given["mask"], trusted)
        region = regions[j]
        assert torch.equal(image[i], torch.where(region, given["image"][j], given["image"][i]))
        assert torch.equal(labels[i], torch.where(region, base[j], base[i]))
        assert torch.equal(trust[i], torch.where(region, sureness[j], sureness[i]))
        assert torch.equal(used[i], torch.where(region, given["valid"][j], given["valid"][i]))
        assert torch.equal(edge[i], edges(region[None], 1)[0] & online)


def test_own_labels_leave_no_trace_in_the_networks():
    model, given = objective(), batch()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model._own_labels(given["image"], given["valid"], 0.9)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.networks.training


@pytest.mark.parametrize(("networks", "names"), [(1, {"trusted"}), (2, {"trusted", "other"})])
def test_a_step_trains_every_network(networks, names):
    model = objective(networks=networks, strong={})
    parts = model.training_step(batch(), 10)
    assert set(parts) == names
    sum(parts.values()).backward()
    grouped = [parameter for group in model.parameter_groups() for parameter in group.parameters]
    assert {id(p) for p in grouped} == {id(p) for p in model.parameters() if p.requires_grad}
    assert all(p.grad is not None for p in grouped)


def test_without_trust_and_mixing_the_loss_is_plain_cross_entropy():
    model, given = objective(mix=None, networks=1), batch()
    given["confidence"] = torch.ones_like(given["confidence"])
    logits = model.networks[0](given["image"])
    logits = F.interpolate(logits, (32, 32), mode="bilinear", align_corners=False)
    expected = F.cross_entropy(logits, given["mask"], ignore_index=255, reduction="none").mean()
    torch.testing.assert_close(model.training_step(given, 0)["trusted"], expected)


def test_the_joined_networks_can_be_loaded(tmp_path):
    model = objective().eval()
    card = {"settings": {"network": NETWORK.model_dump(mode="json")}, "classes": CLASSES.model_dump(mode="json")}
    save_weights(tmp_path / "w.safetensors", model.export().state_dict(), card)
    networks, _, _ = load_segmenters(tmp_path / "w.safetensors", "mean")
    image = batch()["image"]
    for found, own in zip(networks, model.networks, strict=True):
        assert torch.equal(found.eval()(image), own(image))
    assert not torch.equal(model.networks[0](image), model.networks[1](image))


def test_mixing_needs_two_images():
    with pytest.raises(ValueError, match="needs two at least"):
        Settings.model_validate({"training": {"batch_size": 2, "accumulate": 2}})


def test_batch_norm_gets_more_than_one_image():
    single = {"mix": None, "training": {"batch_size": 4, "accumulate": 4}}
    Settings.model_validate(BASE | single)
    with pytest.raises(ValueError, match="cannot learn from micro-batches of 1"):
        Settings.model_validate(BASE | single | {"network": {"decoder": "deeplabv3plus"}})


def test_colours_change_as_asked():
    torch.manual_seed(0)
    images = torch.rand(8, 3, 16, 16) * 255
    assert torch.equal(jitter_colours(images, StrongSettings(jitter=0, grey=0, blur=0)), images / 255 * 255)
    grey = jitter_colours(images, StrongSettings(jitter=0, grey=1, blur=0))
    torch.testing.assert_close(grey, grey[:, :1].expand_as(grey))
    blurred = jitter_colours(images, StrongSettings(jitter=0, grey=0, blur=1))
    assert (blurred.std((1, 2, 3)) < images.std((1, 2, 3))).all()
    other = jitter_colours(images, StrongSettings(jitter=1, grey=0, blur=0))
    assert other.min() >= 0
    assert other.max() <= 255 + 1e-3
    assert (other != images).any((1, 2, 3)).all()
