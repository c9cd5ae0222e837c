import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from pipeline.artifacts.checkpoint import save_weights
from pipeline.config.asdt import AlternationSettings
from pipeline.config.classes import ClassTable
from pipeline.config.network import NetworkSettings
from pipeline.crf.dense import dense_crf
from pipeline.crf.loss import DenseEnergyLoss
from pipeline.errors import PseudomaskError
from pipeline.methods.asdt import Settings, build, in_structure_phase
from pipeline.methods.side_work import SideWork
from pipeline.nets.classification import ClassificationNetwork
from pipeline.nets.decoders import upsample
from pipeline.nets.exported import load_classifier, load_segmenter, load_segmenters
from pipeline.nets.inference import unnormalise
from pipeline.refine.teachers import Evidence, reliable_labels

CLASSES = ClassTable(names=("background", "disc", "square", "cross"))
NETWORK = NetworkSettings(
    backbone="resnet10t",
    backbone_options={"channels": (8, 8, 16, 16)},
    output_stride=8,
    batch_norm="frozen",
    decoder="rrm",
    decoder_channels=8,
    decoder_dilations=(2,),
)
CRF = {"terms": [{"sxy": 2, "compat": 2}, {"sxy": 10, "srgb": 20, "compat": 3}], "iterations": 2}
BASE = {
    "network": NETWORK,
    "start": "backbone",
    "dropout": 0,
    "cam_scales": [1.0],
    "reliable": {"crf": CRF, "confidence": 0.4, "background": 0.2},
    "distillation": {"crf": CRF},
    "structure": {"weight": 1e-4, "sxy": 20},
    "alternation": {"period": 4, "tau": 2, "warmup_steps": 0},
}
STRUCTURE, LOCATION = 0, 2  # steps of these phases with that alternation


def batch(side=48):
    torch.manual_seed(1)
    valid = torch.ones(2, side, side, dtype=torch.bool)
    valid[1, :, 40:] = False
    valid[1, :6] = False
    return {
        "image": torch.rand(2, 3, side, side) * 4 - 2,
        "valid": valid,
        "tags": torch.tensor([[1.0, 0, 0], [0, 1, 1]]),
    }


def objective(**changes):
    torch.manual_seed(0)
    return build(Settings.model_validate(BASE | changes), CLASSES, None, {}).train()


def present(tags):
    return [0, *(tags.nonzero().flatten() + 1).tolist()]


def slow_views(model, given, index):
    """Image, rows, columns and maps of one image without padding, by the definitions."""
    rows, columns = (slice(0, 48), slice(0, 48)) if index == 0 else (slice(6, 48), slice(0, 40))
    pixels = unnormalise(given["image"], NETWORK)[index].permute(1, 2, 0).round().byte().numpy()[rows, columns]
    output = model.network(given["image"])
    maps = upsample(output.evidence, (48, 48))[index].detach().numpy()
    own = [maps[c - 1][rows, columns] for c in present(given["tags"][index])[1:]]
    return np.ascontiguousarray(pixels), rows, columns, [each / (each.max() + 1e-5) for each in own]


def slow_class_labels(model, given):
    result = torch.full((2, 48, 48), 255)
    for index in range(2):
        pixels, rows, columns, maps = slow_views(model, given, index)
        evidence = Evidence(pixels, np.stack(maps), np.array(present(given["tags"][index])[1:]))
        (labels,) = reliable_labels([evidence], model._settings.reliable, 255, 1)
        result[index, rows, columns] = torch.from_numpy(labels.astype(np.int64))
    return result


def probabilities(model, given, branch):
    features = model.network(given["image"]).features
    return upsample(model.network.segment(features, branch), (48, 48)).detach().double().softmax(1)


def slow_balanced(soft, labels):
    sums, counts = [0.0, 0.0], [0, 0]
    for b, y, x in (labels != 255).nonzero().tolist():
        label = int(labels[b, y, x])
        sums[label > 0] -= math.log(soft[b, label, y, x])
        counts[label > 0] += 1
    assert min(counts) > 0
    return sum(total / count for total, count in zip(sums, counts, strict=True))


def energy(model, given, branch, labels):
    loss = DenseEnergyLoss(1e-4, 20, 15, 0.5)
    soft = probabilities(model, given, branch).float()
    return loss(unnormalise(given["image"], NETWORK), soft, given["valid"].float(), labels).item()


def test_location_phase_equals_the_definitions():
    model, given = objective(), batch()
    labels = slow_class_labels(model, given)
    parts = model.training_step(given, LOCATION)
    assert set(parts) == {"classification", "teacher", "student, location", "energy"}
    for name, branch in (("teacher", 0), ("student, location", 1)):
        slow = 0.5 * slow_balanced(probabilities(model, given, branch), labels)
        assert parts[name].item() == pytest.approx(slow, rel=1e-4)
    slow = 0.5 * (energy(model, given, 0, labels) + energy(model, given, 1, labels))
    assert parts["energy"].item() == pytest.approx(slow, rel=1e-4)
    logits, total = model.network(given["image"]).logits.tolist(), 0.0
    for row, tags in zip(logits, given["tags"].tolist(), strict=True):
        for value, tag in zip(row, tags, strict=True):
            total -= math.log(1 / (1 + math.exp(-value if tag else value))) / 6
    assert parts["classification"].item() == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("targets", ["hard", "soft"])
@pytest.mark.parametrize("strategy", ["V", "II", "III", "IV"])
def test_structure_phase_equals_the_definitions(strategy, targets):
    model, given = objective(strategy=strategy, distillation={"crf": CRF, "targets": targets}), batch()
    crf = model._settings.distillation.crf
    teacher, student = probabilities(model, given, 0), probabilities(model, given, 1)
    total, labels = 0.0, torch.full((2, 48, 48), 255)
    for index in range(2):
        pixels, rows, columns, maps = slow_views(model, given, index)
        classes = present(given["tags"][index])
        own = teacher[index, classes][:, rows, columns].numpy()
        if strategy in ("III", "IV"):
            scores = np.stack([(1 - np.max(maps, 0)) ** 4, *maps])
            scores = scores / scores.sum(0)
            own = np.maximum(scores, own) if strategy == "III" else (scores + own) / 2
        refined = dense_crf(pixels, own.astype(np.float32), crf)
        winner = refined.argmax(0)
        labels[index, rows, columns] = torch.tensor(classes)[torch.from_numpy(winner)]
        seen = student[index, classes][:, rows, columns]
        for y, x in np.ndindex(winner.shape):
            weight = refined[:, y, x] if targets == "soft" else np.eye(len(classes))[winner[y, x]]
            total -= sum(w * math.log(seen[k, y, x]) for k, w in enumerate(weight.tolist()))
    parts = model.training_step(given, STRUCTURE if strategy == "V" else LOCATION)
    assert set(parts) == {"classification", "teacher", "student, structure", "energy"}
    assert parts["student, structure"].item() == pytest.approx(0.5 * total / given["valid"].sum().item(), rel=1e-3)
    slow = 0.5 * (energy(model, given, 0, slow_class_labels(model, given)) + energy(model, given, 1, labels))
    assert parts["energy"].item() == pytest.approx(slow, rel=1e-3)


def test_strategy_i_has_no_segmentation_teacher():
    model, given = objective(strategy="I"), batch()
    parts = model.training_step(given, STRUCTURE)
    assert set(parts) == {"classification", "student, location", "energy"}
    assert {name.split(".")[0] for name in model.export().state_dict()} == {"backbone", "classifier", "0"}
    slow = 0.5 * slow_balanced(probabilities(model, given, 0), slow_class_labels(model, given))
    assert parts["student, location"].item() == pytest.approx(slow, rel=1e-4)


def test_weights_and_the_missing_energy():
    given, plain = batch(), objective().training_step(batch(), STRUCTURE)
    weights = {"classification": 2, "teacher": 1, "student": 2, "distillation": 0.1}
    scaled = objective(weights=weights, structure=None).training_step(given, STRUCTURE)
    factors = {"classification": 2, "teacher": 2, "student, structure": 0.4}
    assert set(scaled) == set(factors)
    for name, factor in factors.items():
        assert scaled[name].item() == pytest.approx(factor * plain[name].item(), rel=1e-5)


def test_the_segmentation_teacher_takes_no_gradient_from_the_student_but_the_backbone_does():
    model = objective(distillation={"crf": CRF, "targets": "soft"})
    model.training_step(batch(), STRUCTURE)["student, structure"].backward()
    teacher, student = (model.network.get_submodule(f"{n}.decoder") for n in (0, 1))
    assert all(p.grad is None for p in teacher.parameters())
    assert model.network.classifier.weight.grad is None
    assert all(p.grad.abs().sum() > 0 for p in student.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.network.backbone.parameters())


@pytest.mark.parametrize("phase", [STRUCTURE, LOCATION])
def test_what_lies_in_the_padding_changes_no_label(phase):
    given = batch()
    # Features see the padding through the receptive field; here the network sees the same image both times.
    model = objective()
    first = model.training_step(given, phase)
    original = model.network.maps
    model.network.maps = lambda image, evidence, scales: original(given["image"], evidence, scales)
    changed = {**given, "image": given["image"].clone()}
    changed["image"].permute(0, 2, 3, 1)[~given["valid"]] = 2.0
    model.network.forward = (lambda seen: lambda image: seen(given["image"]))(model.network.forward)
    second = model.training_step(changed, phase)
    # The lattice of the energy is built over the whole crop, so its approximation may differ.
    for name in first.keys() - {"energy"}:
        assert torch.equal(first[name], second[name])


def test_an_image_without_tags_is_background():
    given = batch()
    given["tags"] = torch.zeros(2, 3)
    model = objective()
    labels = model.training_step(given, LOCATION)
    soft = probabilities(model, given, 0)[:, 0][given["valid"]]
    assert labels["teacher"].item() == pytest.approx(0.5 * -soft.log().mean().item(), rel=1e-4)
    assert model.training_step(given, STRUCTURE)["student, structure"].isfinite()


def test_maps_are_means_over_scales_in_evaluation_mode():
    model, given = objective(cam_scales=[0.5, 1.0, 1.5]), batch()
    network, image = model.network, given["image"]
    evidence = network(image).evidence
    found = network.maps(image, evidence, (0.5, 1.0, 1.5))
    assert network.training
    with torch.no_grad():
        weight = network.classifier.weight
        parts = [evidence]
        for side in (24, 72):
            features = network.backbone(upsample(image, (side, side)))[-1]
            seen = torch.nn.functional.conv2d(features, weight).clamp(min=0)
            parts.append(upsample(seen, evidence.shape[-2:]))
    torch.testing.assert_close(found, sum(parts) / 3)


def phases(steps, **settings):
    alternation = AlternationSettings(**settings)
    return "".join("S" if in_structure_phase(step, alternation) else "l" for step in range(steps))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"period": 6, "tau": 3, "warmup_steps": 0}, "SSllllSSllllSS"),
        ({"period": 6, "tau": 3, "warmup_steps": 7}, "lllllllSllllSS"),
        ({"period": 6, "tau": 3, "warmup_steps": 0, "tau_refers_to": "location"}, "SSSSllSSSSllSS"),
        ({"period": 6, "tau": 3, "warmup_steps": 0, "order": "location_first"}, "llllSSllllSSll"),
        ({"period": 5, "tau": 5, "warmup_steps": 3, "order": "location_first"}, "llllSllllSllll"),
        ({"period": 4, "tau": 2, "warmup_steps": 0}, "SSllSSllSSllSS"),
    ],
)
def test_the_exact_sequence_of_phases(settings, expected):
    assert phases(len(expected), **settings) == expected


def test_the_code_has_25_structure_steps_then_125_location_steps_after_1000():
    found = phases(20000)
    assert "S" not in found[:1000]
    for step in range(1000, 20000):
        assert (found[step] == "S") == (step // 25 % 6 == 0)
    starts = [i for i, (a, b) in enumerate(pairwise(found), 1) if (a, b) == ("l", "S")]
    assert set(np.diff(starts)) == {150}


def test_a_share_that_leaves_no_phase_is_refused():
    with pytest.raises(ValueError, match="both need at least one"):
        Settings.model_validate(BASE | {"alternation": {"period": 4, "tau": 20}})
    Settings.model_validate(BASE | {"alternation": {"period": 4, "tau": 20}, "strategy": "I"})


def test_threads_change_no_bit_and_waiting_is_counted():
    found = []
    for inline in (True, False):
        model = objective()
        model.side_work = SideWork(inline)
        parts = [model.training_step(batch(), step) for step in (STRUCTURE, LOCATION)]
        sum(sum(each.values()) for each in parts).backward()
        found.append(model)
        assert model.side_work.worked > 0
    assert found[0].side_work.waited >= found[0].side_work.worked
    for one, two in zip(*(model.parameters() for model in found), strict=True):
        assert one.grad is None or torch.equal(one.grad, two.grad)


def test_what_goes_wrong_beside_the_step_is_raised_in_it():
    def fail():
        raise PseudomaskError("no CRF")

    for inline in (True, False):
        with pytest.raises(PseudomaskError, match="no CRF"):
            SideWork(inline).start(fail).result()


def test_doubled_biases_have_no_weight_decay():
    groups = objective(biases="double", lr_scale=10).parameter_groups()
    assert [(g.lr_scale, g.weight_decay) for g in groups] == [(1, None), (10, None), (20, 0)]
    assert all(p.ndim == 1 for p in groups[2].parameters)
    trained = [p for p in objective().parameters() if p.requires_grad]
    assert sum(len(g.parameters) for g in groups) == len(trained)
    assert [g.lr_scale for g in objective().parameter_groups()] == [1, 10]


def saved(path, state):
    card = {"settings": {"network": NETWORK.model_dump(mode="json")}, "classes": CLASSES.model_dump(mode="json")}
    save_weights(path, state, card)
    return path


def test_every_branch_is_a_segmenter_and_the_class_teacher_a_classifier(tmp_path):
    model, image = objective().eval(), batch()["image"]
    path = saved(tmp_path / "w.safetensors", model.export().state_dict())
    features = model.network(image).features
    for branch in (0, 1):
        segmenter, _, _ = load_segmenter(path, branch)
        assert torch.equal(segmenter.eval()(image), model.network.segment(features, branch))
    assert len(load_segmenters(path, "max")[0]) == 2
    classifier, _, _ = load_classifier(path, 0)
    assert torch.equal(classifier.eval().cams(image)[0], model.network(image).evidence)


def test_training_starts_from_the_classifier(tmp_path):
    torch.manual_seed(5)
    classifier = ClassificationNetwork(NETWORK, 3)
    path = saved(tmp_path / "c.safetensors", classifier.state_dict())
    settings = BASE | {"start": "classifier"}
    model = build(Settings.model_validate(settings), CLASSES, None, {"classifier": path}).eval()
    image = batch()["image"]
    torch.testing.assert_close(model.network(image).logits, classifier.eval()(image))
    with pytest.raises(PseudomaskError, match="not connected"):
        build(Settings.model_validate(settings), CLASSES, None, {})
    other = NETWORK.model_copy(update={"backbone_options": {"channels": (8, 8, 16, 24)}})
    with pytest.raises(PseudomaskError, match="the same backbone"):
        build(Settings.model_validate(settings | {"network": other}), CLASSES, None, {"classifier": path})
