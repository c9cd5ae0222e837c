import math

import pytest
import torch

from pipeline.config.classes import ClassTable
from pipeline.config.network import NetworkSettings
from pipeline.errors import PseudomaskError
from pipeline.methods.irn import Settings, build, pair_losses

CLASSES = ClassTable(names=("background", "disc", "square"))
NETWORK = NetworkSettings(backbone="resnet10t", backbone_options={"channels": (8, 8, 16, 16)}, batch_norm="frozen")


def strongest(edge, a, b):
    """Largest boundary on the straight way between two places."""
    dy, dx = b[0] - a[0], b[1] - a[1]
    ys, xs = (range(min(p, q), max(p, q) + 1) for p, q in zip(a, b, strict=True))
    cells = [(y, x) for y in ys for x in xs if abs(dy * (x - a[1]) - dx * (y - a[0])) < math.hypot(dy, dx) - 1e-9]
    return max(edge[cell].item() for cell in cells)


def slow_losses(edge, displacement, labels, radius):
    """One pair of places at a time."""
    lists = {name: [] for name in ("background", "foreground", "unlike", "d_foreground", "d_background")}
    places = [(y, x) for y in range(edge.shape[1]) for x in range(edge.shape[2])]
    for image, field, names in zip(edge, displacement, labels, strict=True):
        for number, a in enumerate(places):
            for b in places[number + 1 :]:
                first, second = names[a].item(), names[b].item()
                if math.hypot(a[0] - b[0], a[1] - b[1]) >= radius or 255 in (first, second):
                    continue
                affinity = 1 - strongest(image, a, b)
                if first != second:
                    lists["unlike"].append(-math.log(1 + 1e-5 - affinity))
                    continue
                lists["foreground" if first else "background"].append(-math.log(affinity + 1e-5))
                for axis in range(2):
                    difference = (field[axis][a] - field[axis][b]).item()
                    if first:
                        lists["d_foreground"].append(abs(difference - (b[axis] - a[axis])))
                    else:
                        lists["d_background"].append(abs(difference))
    mean = {name: sum(values) / max(len(values), 1e-5) for name, values in lists.items()}
    affinity = (mean["background"] / 2 + mean["foreground"] / 2 + mean["unlike"]) / 2
    return affinity, (mean["d_foreground"] + mean["d_background"]) / 2


@pytest.mark.parametrize("radius", [2, 4])
def test_losses_equal_a_loop_over_all_pairs(radius):
    torch.manual_seed(0)
    edge = torch.rand(2, 5, 6, dtype=torch.float64)
    displacement = torch.randn(2, 2, 5, 6, dtype=torch.float64)
    labels = torch.randint(0, 3, (2, 5, 6))
    labels[0, :2, :3] = 255
    parts = pair_losses(edge, displacement, labels, radius, 255)
    affinity, offsets = slow_losses(edge, displacement, labels, radius)
    assert parts["affinity"].item() == pytest.approx(affinity, rel=1e-5)
    assert parts["displacement"].item() == pytest.approx(offsets, rel=1e-5)
    assert set(pair_losses(edge, None, labels, radius, 255)) == {"affinity"}


def test_gradient_is_exact():
    torch.manual_seed(0)
    edge = (torch.rand(1, 4, 4, dtype=torch.float64) * 0.8 + 0.1).requires_grad_()
    displacement = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 2, (1, 4, 4))

    def total(edge, displacement):
        return sum(pair_losses(edge, displacement, labels, 3, 255).values())

    assert torch.autograd.gradcheck(total, (edge, displacement))


def test_without_sure_labels_nothing_is_learned():
    edge = torch.rand(1, 4, 4, requires_grad=True)
    parts = pair_losses(edge, None, torch.full((1, 4, 4), 255), 3, 255)
    parts["affinity"].backward()
    assert parts["affinity"].item() == 0
    assert (edge.grad == 0).all()


@pytest.mark.parametrize("displacement", [True, False])
def test_only_the_heads_are_trained(displacement):
    torch.manual_seed(0)
    objective = build(Settings(network=NETWORK, radius=4, displacement=displacement), CLASSES, None, {}).train()
    batch = {"image": torch.randn(2, 3, 64, 64), "mask": torch.randint(0, 3, (2, 64, 64))}
    parts = objective.training_step(batch, 0)
    assert set(parts) == ({"affinity", "displacement"} if displacement else {"affinity"})
    sum(parts.values()).backward()
    trained = {id(p) for group in objective.parameter_groups() for p in group.parameters}
    for name, parameter in objective.named_parameters():
        assert (id(parameter) in trained) == parameter.requires_grad == ("backbone" not in name)
        assert (parameter.grad is not None) == parameter.requires_grad
    assert not objective.network.backbone.network.training


def test_the_classifiers_backbone_must_be_connected():
    with pytest.raises(PseudomaskError, match="not connected"):
        build(Settings(network=NETWORK, start="classifier"), CLASSES, None, {})
