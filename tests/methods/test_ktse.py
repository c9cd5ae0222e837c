import math

import pytest
import torch
from torch.nn import functional as F

from pipeline.artifacts.checkpoint import save_weights
from pipeline.config.classes import ClassTable
from pipeline.config.ktse import InterClassSettings, SieSettings
from pipeline.config.network import NetworkSettings
from pipeline.methods.ktse import (
    Settings,
    build,
    cut_mix,
    global_loss,
    inter_class_loss,
    local_loss,
    normalised,
    pixel_loss,
    random_partners,
    transfer_loss,
)
from pipeline.nets.class_aware import PyramidPooling
from pipeline.nets.exported import load_cam_network

CLASSES = ClassTable(names=("background", "disc", "square"))
NETWORK = NetworkSettings(backbone="resnet10t", backbone_options={"channels": (8, 8, 16, 16)}, output_stride=8)
BASE = {"network": NETWORK, "head": {"width": 8}, "warmup_steps": 10, "sie": {"pairs": 2}, "ssr": {"stride": 2}}
EVERYTHING = {"classification", "transfer", "anchor", "inter", "simulated", "global", "local"}
TAGS = torch.tensor([[1.0, 0, 1], [0, 1, 0]], dtype=torch.float64)


def maps(seed=0, shape=(2, 3, 4, 5)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def places(values):
    return torch.cartesian_prod(*(torch.arange(side) for side in values.shape)).tolist()


def learns(function, *tensors):
    """The gradient is that of finite differences, and is not zero everywhere."""
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    assert torch.autograd.gradcheck(function, leaves)
    function(*leaves).backward()
    return [leaf.grad for leaf in leaves]


def batch(side=64):
    torch.manual_seed(1)
    valid = torch.ones(4, side, side, dtype=torch.bool)
    valid[1, :, 50:] = False
    tags = torch.tensor([[1.0, 0], [1, 1], [0, 1], [1, 0]])
    image = torch.rand(4, 3, side, side) * 2 - 1
    partners = {"partner_image": torch.rand(2, 3, side, side), "partner_tags": tags[:2], "partner_valid": valid[:2]}
    return {"image": image, "valid": valid, "tags": tags, **partners}


def objective(**changes):
    torch.manual_seed(0)
    merged = BASE | {k: BASE.get(k, {}) | v if isinstance(v, dict) else v for k, v in changes.items()}
    model = build(Settings.model_validate(merged), CLASSES, None, {}).train()
    learn_statistics(model.network, batch()["image"])
    return model


def learn_statistics(network, image):
    """Batch norm as after a warm-up."""
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # statistics of this batch alone
    with torch.no_grad():
        network(image)
    for norm in norms:
        norm.momentum = 0.1


@pytest.mark.parametrize("reduce", ["all", "present"])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_knowledge_transfer_equals_a_loop(reduce, half, margin):
    alone, joined = maps(), maps(1)
    region = torch.zeros(2, 1, 4, 5, dtype=torch.float64)
    region[:, :, :2] = 1
    settings = SieSettings(margin=margin, reduce=reduce)
    total = counted = 0.0
    for b, c, y, x in places(alone):
        if half and y >= 2:
            continue
        counted += 1 if reduce == "all" else TAGS[b, c].item()
        if TAGS[b, c]:
            total += max(0.0, (alone[b, c, y, x] - joined[b, c, y, x]).item() - margin)

    def loss(alone, joined):
        return transfer_loss(alone, joined, TAGS, settings, region if half else None)

    assert loss(alone, joined).item() == pytest.approx(total / counted)
    before, after = learns(loss, alone, joined)
    torch.testing.assert_close(before, -after)
    assert before[1, 0].abs().sum() == 0
    assert before[0, 0].abs().sum() > 0
    assert (before[:, :, 2:].abs().sum() == 0) == half


def test_stopping_a_gradient_and_the_margin_do_what_they_say():
    for stopped, moved in (("alone", [False, True]), ("joined", [True, False]), ("none", [True, True])):
        leaves = [maps(0).requires_grad_(), maps(1).requires_grad_()]
        transfer_loss(*leaves, TAGS, SieSettings(stop_gradient=stopped)).backward()
        assert [leaf.grad is not None and bool(leaf.grad.abs().sum() > 0) for leaf in leaves] == moved
    alone = maps()
    assert transfer_loss(alone, alone - 0.04, TAGS, SieSettings(margin=0.05)) == 0
    assert transfer_loss(alone, alone - 0.06, TAGS, SieSettings(margin=0.05)) > 0
    assert transfer_loss(alone, alone + 9, TAGS, SieSettings(margin=0.05)) == 0, "activation gained costs nothing"


def test_pixel_loss_equals_a_loop():
    scores = maps(shape=(3, 4, 3, 5))
    labels = torch.randint(0, 4, (3, 3, 5), generator=torch.Generator().manual_seed(0))
    labels[0, 0] = 255
    chosen = torch.tensor([True, False, True])
    sums, counts = [0.0, 0.0], [0, 0]
    for b, y, x in places(labels):
        label = labels[b, y, x].item()
        if label == 255 or (label > 0 and not chosen[b]):
            continue
        row = scores[b, :, y, x].tolist()
        sums[label > 0] += math.log(sum(map(math.exp, row))) - row[label]
        counts[label > 0] += 1

    def loss(scores):
        return pixel_loss(scores, labels, chosen, 0.0125, 255)

    assert loss(scores).item() == pytest.approx(sums[0] / counts[0] + 0.0125 * sums[1] / counts[1])
    (gradient,) = learns(loss, scores)
    hidden = (labels == 255) | ((labels > 0) & ~chosen[:, None, None])
    assert (gradient.abs().sum(1)[hidden] == 0).all()
    assert pixel_loss(scores, torch.full_like(labels, 255), chosen, 0.0125, 255) == 0


@pytest.mark.parametrize("detach", [True, False])
def test_inter_class_loss_equals_a_loop(detach):
    scores, activation = maps(), maps(1).clamp(0, 1) * TAGS[..., None, None]
    settings = InterClassSettings(detach_strongest=detach)
    terms = []
    for b, y, x in places(scores[:, 0]):
        if activation[b, :, y, x].max() > 0.2:
            second, first = sorted(scores[b, :, y, x].tolist())[-2:]
            terms.append(second - first)
    assert 0 < len(terms) < 40
    assert inter_class_loss(scores, activation, settings).item() == pytest.approx(sum(terms) / len(terms))
    leaf = scores.clone().requires_grad_()
    inter_class_loss(leaf, activation, settings).backward()
    strongest = torch.zeros_like(scores).scatter(1, scores.argmax(1, keepdim=True), 1) > 0
    assert (leaf.grad[strongest].abs().sum() == 0) == detach
    assert leaf.grad.sum().item() == pytest.approx(1.0 if detach else 0.0, abs=1e-12)
    if not detach:
        learns(lambda scores: inter_class_loss(scores, activation, settings), scores)


def test_inter_class_loss_of_nothing_is_nothing():
    none = inter_class_loss(torch.zeros(0, 3, 4, 4, requires_grad=True), torch.zeros(0, 3, 2, 2), InterClassSettings())
    none.backward()
    assert none == 0
    assert inter_class_loss(torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4), InterClassSettings()) == 0


def test_alignment_equals_loops():
    before, after = maps(), maps(1)
    left = maps(2, (2, 1, 4, 5)) < 0.3
    total = 0.0
    for b, c, y, x in places(before):
        if TAGS[b, c] and left[b, 0, y, x]:
            total += max(0.0, (after[b, c, y, x] - before[b, c, y, x]).item() - 0.05)
    assert local_loss(before, after, TAGS, left, 0.05).item() == pytest.approx(total / before.numel())
    means = [
        [[sum(max(0.0, v) for v in m[b, c].flatten().tolist()) / 20 for c in range(3)] for b in range(2)]
        for m in (before, after)
    ]
    slow = sum(abs(means[0][b][c] - means[1][b][c]) * TAGS[b, c].item() for b in range(2) for c in range(3)) / 6
    assert global_loss(before, after, TAGS).item() == pytest.approx(slow)
    for gradients in (
        learns(lambda a, b: local_loss(a, b, TAGS, left, 0.05), before, after),
        learns(lambda a, b: global_loss(a, b, TAGS), before, after),
    ):
        assert all(gradient.abs().sum() > 0 for gradient in gradients), "both sides move"
        assert all((gradient[1, 0] == 0).all() for gradient in gradients), "absent classes do not"
    assert local_loss(before, before + 0.04, TAGS, left, 0.05) == 0


def test_activation_is_relative_to_each_maximum_and_absent_classes_have_none():
    cam = maps()
    cam[1, 1] = -cam[1, 1].abs() - 1
    found = normalised(cam, TAGS)
    torch.testing.assert_close(found[0, 0], cam[0, 0] / cam[0, 0].max())
    assert (found[0, 1] == 0).all()
    assert (found[1, 1] < 0).all(), "maps without a positive value stay below every threshold"


def test_the_pyramid_equals_its_formula():
    torch.manual_seed(0)
    pyramid, values = PyramidPooling(3).double(), maps(shape=(2, 3, 16, 16))
    levels = []
    for bins in (2, 4, 8, 16):
        side = 16 // bins
        means = values.reshape(2, 3, bins, side, bins, side).mean((3, 5))
        levels.append(F.interpolate(means, (16, 16), mode="bilinear", align_corners=False))
    x = levels[0]
    for join, y in zip(pyramid.joins, levels[1:], strict=True):
        p, n = (
            torch.sigmoid(F.conv2d(torch.cat([F.relu(s * x), F.relu(s * y)], 1), conv.weight, padding=1))
            for s, conv in ((1, join.positive), (-1, join.negative))
        )
        x = 0.5 * (F.relu(x) * p[:, :1] + F.relu(y) * p[:, 1:]) - 0.5 * (F.relu(-x) * n[:, :1] + F.relu(-y) * n[:, 1:])
    torch.testing.assert_close(pyramid(values), x)
    model = objective()
    cam = maps(shape=(2, 2, 16, 16)).float()
    features = model.network.pyramid(cam)
    logits = (F.relu(cam) * F.relu(features)).mean((2, 3)) - (F.relu(-cam) * F.relu(-features)).mean((2, 3))
    torch.testing.assert_close(model.network.pooled(cam), (logits, features))
    torch.testing.assert_close(objective(head={"pool": "gap"}).network.pooled(cam)[0], cam.mean((2, 3)))


def test_the_warm_up_knows_the_tags_alone():
    given = batch()
    assert set(objective().training_step(given, 9)) == {"classification"}
    assert set(objective().training_step(given, 10)) == EVERYTHING
    small = {name: values[:3] for name, values in given.items()}
    found = objective(warmup_batch=3).training_step(given, 0)["classification"]
    torch.testing.assert_close(found, objective().training_step(small, 0)["classification"])


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"sie": None}, {"transfer", "simulated"}),
        ({"sie": {"weight": 0}}, {"transfer"}),
        ({"ssr": None}, {"anchor", "inter", "simulated"}),
        ({"ssr": {"ce_anchor": False}}, {"anchor"}),
        ({"ssr": {"ce_simulated": False}}, {"simulated"}),
        ({"ssr": {"inter": None}}, {"inter"}),
        ({"mga": None}, {"global", "local"}),
        ({"mga": {"guidance": None}}, {"global"}),
        ({"mga": {"local": False}}, {"local"}),
        ({"sie": None, "ssr": None, "mga": None}, EVERYTHING - {"classification"}),
    ],
)
def test_each_switch_takes_its_part_away_and_leaves_the_others_alone(changes, gone):
    everything, parts = objective().training_step(batch(), 10), objective(**changes).training_step(batch(), 10)
    assert set(parts) == EVERYTHING - gone
    for name, value in parts.items():
        torch.testing.assert_close(value, everything[name])


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"sie": {"margin": 0.0}}, {"transfer"}),
        ({"sie": {"reduce": "present"}}, {"transfer"}),
        ({"sie": {"align": "anchor"}}, {"transfer"}),
        ({"sie": {"axis": "width"}}, {"transfer", "simulated"}),
        ({"sie": {"perturb": "cutmix"}}, {"transfer", "simulated"}),
        ({"ssr": {"foreground_weight": 1.0}}, {"anchor", "simulated"}),
        ({"ssr": {"simple_complex_split": False}}, {"anchor"}),
        ({"ssr": {"rectified": False}}, {"anchor", "simulated", "inter"}),
        ({"ssr": {"inter": {"weight": 1.0}}}, {"inter"}),
        ({"ssr": {"refine": None}}, {"anchor", "simulated"}),
        ({"mga": {"threshold": 0.3}}, {"global", "local"}),
        ({"mga": {"erase": "soft"}}, {"global", "local"}),
        ({"mga": {"guidance": "rigid_cls"}}, {"global"}),
        ({"mga": {"guidance": "gpp_feature"}}, {"global"}),
        ({"mga": {"margin": 0.0}}, {"local"}),
    ],
)
def test_each_setting_changes_its_own_parts(changes, changed):
    plain, other = objective().training_step(batch(), 10), objective(**changes).training_step(batch(), 10)
    assert {name for name in EVERYTHING if not torch.equal(plain[name], other[name])} == changed


def test_everything_trains_every_weight():
    model = objective(sie={"partner": "batch"})
    sum(model.training_step(batch(), 10).values()).backward()
    grouped = [parameter for group in model.parameter_groups() for parameter in group.parameters]
    assert {id(p) for p in grouped} == {id(p) for p in model.parameters() if p.requires_grad}
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in grouped)


def test_padding_is_in_no_label():
    model = objective()
    labels = model._look(batch()).labels
    assert labels.shape == (6, 32, 32)
    assert (labels[1, :, 25:] == 255).all()
    assert (labels[0] != 2).all()


def test_batch_norm_learns_its_statistics_in_the_warm_up_and_keeps_them():
    model, given = objective(), batch()
    model.train()
    before = _statistics(model)
    model.training_step(given, 0)
    learnt = _statistics(model)
    assert not any(torch.equal(learnt[name], value) for name, value in before.items() if "mean" in name)
    model.training_step(given, 10)
    assert all(torch.equal(value, learnt[name]) for name, value in _statistics(model).items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.network.parameters())


def test_after_the_warm_up_maps_do_not_depend_on_the_other_images_of_the_batch():
    model, given = objective(), batch()
    model.train()
    model.training_step(given, 10)
    torch.testing.assert_close(model.network(given["image"])[:2], model.network(given["image"][:2]))


def _statistics(model):
    return {name: value.clone() for name, value in model.named_buffers() if "running" in name}


def test_a_partner_shares_a_class_and_loners_stay_alone():
    torch.manual_seed(0)
    tags = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0], [0, 0, 1]])
    seen = {i: set() for i in range(5)}
    for _ in range(200):
        for i, j in enumerate(random_partners(tags, 5).tolist()):
            seen[i].add(j)
    assert seen == {0: {0, 1}, 1: {0, 1, 3}, 2: {2}, 3: {1, 3}, 4: {4}}


def test_a_cut_rectangle_is_the_same_in_image_maps_and_labels():
    torch.manual_seed(0)
    for _ in range(20):
        join = cut_mix((4, 6), torch.device("cpu"))
        coarse = join(torch.zeros(1, 1, 4, 6), torch.ones(1, 1, 4, 6))
        rows, columns = coarse[0, 0].amax(1).sum(), coarse[0, 0].amax(0).sum()
        assert coarse.sum() == rows * columns > 0
        fine = join(torch.zeros(1, 3, 32, 48), torch.ones(1, 3, 32, 48))
        assert torch.equal(F.avg_pool2d(fine, 8)[:, :1], coarse)
        labels = join(torch.zeros(1, 32, 48, dtype=torch.int64), torch.ones(1, 32, 48, dtype=torch.int64))
        assert torch.equal(labels.float(), fine[:, 0])


@pytest.mark.parametrize("pool", ["gpp", "gap"])
def test_what_is_exported_makes_activation_maps(tmp_path, pool):
    model, image = objective(head={"pool": pool}).eval(), batch()["image"]
    settings = model._settings.model_dump(mode="json")
    card = {"settings": settings, "classes": CLASSES.model_dump(mode="json")}
    save_weights(tmp_path / "w.safetensors", model.export().state_dict(), card)
    network, _, classes = load_cam_network(tmp_path / "w.safetensors")
    assert classes == CLASSES
    cams, logits = network.eval().cams(image)
    assert cams.shape == (4, 2, 8, 8)
    torch.testing.assert_close(cams, F.relu(model.network(image)[:, 1:]))
    torch.testing.assert_close(logits, model.network.pooled(model.network(image)[:, 1:])[0])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"head": {"pool": "gap"}, "mga": {"guidance": "gpp_feature"}}, "needs head.pool gpp"),
        ({"sie": {"weight": 0}, "ssr": None}, "nothing is learned of the pairs"),
        ({"mga": {"guidance": None, "local": False}}, "set mga to null"),
        ({"ssr": {"low": 0.5}}, "is above high"),
        ({"network": {"decoder": "pspnet"}}, "a classifier has no decoder"),
    ],
)
def test_contradictions_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        Settings.model_validate(changes)
