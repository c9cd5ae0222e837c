import math

import pytest
import torch
from torch import nn

from pipeline.artifacts.checkpoint import save_weights
from pipeline.config.classes import ClassTable
from pipeline.config.network import NetworkSettings
from pipeline.config.seminar import ConsistencySettings
from pipeline.crf.loss import DenseEnergyLoss
from pipeline.methods.seminar import Settings, build, consistency_loss, consistency_weight
from pipeline.nets.decoders import upsample

CLASSES = ClassTable(names=("background", "disc", "square"))
NETWORK = NetworkSettings(backbone="mobilenetv2_035", decoder="deeplabv2", decoder_dropout=False)
BARE = {"network": NETWORK, "teacher": None, "consistency": None, "crf": None}
CONSISTENCY = ConsistencySettings(weight=2, ramp_steps=0)


def batch(pixels=48):
    torch.manual_seed(1)
    mask = torch.full((2, pixels, pixels), 255)
    mask[0, 5, 7], mask[0, 20, 30], mask[1, 9, 9] = 0, 1, 2
    valid = torch.ones(2, pixels, pixels, dtype=torch.bool)
    valid[1, :, 40:] = False
    return {"image": torch.rand(2, 3, pixels, pixels) * 2 - 1, "valid": valid, "mask": mask}


def model(networks=None, **changes):
    torch.manual_seed(0)
    return build(Settings.model_validate(BARE | changes), CLASSES, None, networks or {})


@pytest.fixture
def previous(tmp_path):
    torch.manual_seed(7)
    network = build(Settings.model_validate(BARE), CLASSES, None, {}).student
    card = {"settings": {"network": NETWORK.model_dump(mode="json")}, "classes": CLASSES.model_dump(mode="json")}
    save_weights(tmp_path / "w.safetensors", network.state_dict(), card)
    return {"previous": tmp_path / "w.safetensors"}, network.eval()


def probabilities(logits):
    """Softmax of (C,) logits by hand."""
    powers = [math.exp(value) for value in logits]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize(("divided", "factor"), [(False, 1), (True, 1 / 2)])
def test_partial_cross_entropy_is_the_mean_over_clicks_of_the_whole_batch(divided, factor):
    objective, given = model(extra_batch_division=divided), batch()
    logits = upsample(objective.student(given["image"]), (48, 48)).double()
    picked = [(0, 5, 7, 0), (0, 20, 30, 1), (1, 9, 9, 2)]
    slow = -sum(math.log(probabilities(logits[b, :, y, x].tolist())[c]) for b, y, x, c in picked) / 3
    parts = objective.training_step(given, 0)
    assert set(parts) == {"partial"}
    assert parts["partial"].item() == pytest.approx(slow * factor, rel=1e-4)


def test_consistency_equals_a_loop_and_its_gradient_draws_the_student_to_the_teacher():
    torch.manual_seed(0)
    student = torch.rand(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    teacher, valid = torch.rand(2, 3, 4, 5, dtype=torch.float64), torch.rand(2, 4, 5) > 0.3
    slow, count = 0.0, 0
    for b, y, x in valid.nonzero().tolist():
        slow += sum((student[b, c, y, x].item() - teacher[b, c, y, x].item()) ** 2 for c in range(3))
        count += 1
    assert consistency_loss(student, teacher, valid, "sum_classes").item() == pytest.approx(slow / count)
    loss = consistency_loss(student, teacher, valid, "mean_all")
    assert loss.item() == pytest.approx(slow / count / 3)
    loss.backward()
    # The printed Eq. 3 has the other sign: descending it would drive the two apart.
    expected = 2 * (student.detach() - teacher) * valid[:, None] / count / 3
    torch.testing.assert_close(student.grad, expected)


def test_the_weight_grows_by_epochs_and_then_stays():
    settings = ConsistencySettings(weight=200, ramp_steps=40, update_every=10)
    steps = (0, 9, 10, 19, 25, 39, 40, 1000)
    assert [consistency_weight(settings, step) for step in steps] == [0, 0, 50, 50, 100, 150, 200, 200]
    paper = ConsistencySettings()
    assert consistency_weight(paper, 882) == 200 / 40
    assert consistency_weight(paper, 881) == 0


def test_the_teacher_starts_equal_follows_by_eq_1_and_takes_no_gradient():
    objective = model(teacher={"decay": 0.9}, consistency=CONSISTENCY)
    first = objective.training_step(batch(), 0)
    assert first["consistency"].item() == 0
    weight = objective.student.decoder.state_dict(keep_vars=True)
    name, parameter = next(iter(weight.items()))
    follower = dict(objective.teacher.average.decoder.named_parameters())[name]
    expected = parameter.detach().clone()
    for update in range(1, 15):
        with torch.no_grad():
            parameter.add_(1)
        objective.on_step_end(update)
        keep = min(1 - 1 / update, 0.9)
        expected = keep * expected + (1 - keep) * parameter.detach()
        torch.testing.assert_close(follower, expected)
    parts = objective.training_step(batch(), 0)
    assert parts["consistency"].item() > 0
    sum(parts.values()).backward()
    assert all(p.grad is None for p in objective.teacher.parameters())


def test_statistics_of_the_teacher_follow_the_setting():
    found = {}
    for kind in ("own", "copy", "average"):
        objective = model(teacher={"batch_norm": kind, "decay": 0.5}, consistency=CONSISTENCY).train()
        objective.training_step(batch(), 0)
        norms = [m for m in objective.teacher.average.modules() if isinstance(m, nn.BatchNorm2d)]
        own = norms[0].running_mean.clone()
        for buffer in objective.student.buffers():
            buffer.data = torch.full_like(buffer, 3)
        objective.on_step_end(0)
        objective.on_step_end(1)
        found[kind] = norms[0].running_mean[0].item()
        assert found[kind] == pytest.approx({"own": own[0].item(), "copy": 3.0, "average": 3.0}[kind])


def test_the_energy_is_that_of_the_unnormalised_image_within_the_valid_region():
    objective, given = model(crf={"weight": 1e-3, "factor": 2}), batch()
    logits = upsample(objective.student(given["image"]), (48, 48))
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (NETWORK.mean, NETWORK.std))
    image = ((given["image"] * std + mean) * 255).clamp(0, 255)
    expected = DenseEnergyLoss(2e-3, 100, 15, 0.5)(image, logits.softmax(1), given["valid"].float())
    assert objective.training_step(given, 0)["crf"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert expected.item() < 0
    full = model(crf={"weight": 1e-3, "factor": 2, "report": "full"}).training_step(given, 0)["crf"].item()
    assert full > 0


def test_online_pseudo_labels_are_the_frozen_students_classes_of_every_valid_pixel(previous):
    networks, ancillary = previous
    objective, given = model(networks, pseudo={"weight": 3}).train(), batch()
    assert not objective.previous.network.training
    with torch.no_grad():
        classes = upsample(ancillary(given["image"]), (48, 48)).argmax(1)
    logits = upsample(objective.student(given["image"]), (48, 48)).double()
    slow = [
        -math.log(probabilities(logits[b, :, y, x].tolist())[classes[b, y, x]]) for b, y, x in given["valid"].nonzero()
    ]
    parts = objective.training_step(given, 0)
    assert parts["pseudo"].item() == pytest.approx(3 * sum(slow) / len(slow), rel=1e-4)
    sum(parts.values()).backward()
    assert all(p.grad is None for p in objective.previous.parameters())


def test_offline_pseudo_labels_come_with_the_batch():
    objective, given = model(pseudo={"mode": "offline"}), batch()
    assert objective.fields == {"mask", "pseudo"}
    parts = objective.training_step({**given, "pseudo": given["mask"]}, 0)
    assert parts["pseudo"].item() == pytest.approx(parts["partial"].item())


def test_self_generation_goes_on_with_the_weights_of_the_model_before(previous):
    networks, ancillary = previous
    objective = model(networks, pseudo={}, start="previous")
    for name, value in objective.student.state_dict().items():
        assert torch.equal(value, ancillary.state_dict()[name])
    fresh = model(networks, pseudo={})
    assert not torch.equal(next(fresh.student.parameters()), next(ancillary.parameters()))


def test_each_switch_adds_its_part_alone(previous):
    everything = {"teacher": {}, "consistency": CONSISTENCY, "crf": {}, "pseudo": {}}
    names = {"consistency": "consistency", "crf": "crf", "pseudo": "pseudo"}
    reference = model(previous[0], **everything).training_step(batch(), 5)
    assert set(reference) == {"partial", *names.values()}
    for switch, part in names.items():
        found = model(previous[0], **(everything | {switch: None})).training_step(batch(), 5)
        assert set(found) == set(reference) - {part}
        for name, value in found.items():
            torch.testing.assert_close(value, reference[name])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"consistency": CONSISTENCY}, "need a teacher"),
        ({"output": "teacher"}, "need a teacher"),
        ({"pseudo": {}}, "the model before"),
        ({"training": {"ema": 0.9}}, "teacher.decay"),
    ],
)
def test_contradictions_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        model(**changes)


def test_the_teacher_can_be_the_result():
    objective = model(teacher={}, output="teacher")
    assert objective.export() is objective.teacher.average
    assert model(teacher={}).export() is not objective.export()
