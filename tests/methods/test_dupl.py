import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from pipeline.artifacts.checkpoint import save_weights
from pipeline.config.classes import ClassTable
from pipeline.config.dupl import DiscrepancySettings, NoiseFilterSettings, ThresholdSchedule
from pipeline.config.network import NetworkSettings
from pipeline.errors import PseudomaskError
from pipeline.methods.dupl import (
    Settings,
    build,
    contrast_loss,
    discrepancy_loss,
    high_threshold,
)
from pipeline.nets.exported import load_classifier, load_segmenter
from pipeline.nets.inference import unnormalise
from pipeline.refine.mixture import noise_mask

CLASSES = ClassTable(names=("background", "disc", "square"))
NETWORK = NetworkSettings(
    backbone="resnet10t",
    backbone_options={"channels": (8, 8, 16, 16)},
    decoder="largefov",
    decoder_channels=16,
    decoder_dropout=False,
)
BASE = {
    "network": NETWORK,
    "training": {"steps": 100},
    "auxiliary": -2,
    "warmup_steps": 10,
    "cam": {"scales": [1.0], "flip": True},
    "noise": {"start_step": 50},
}


def batch(side=64):
    torch.manual_seed(1)
    valid = torch.ones(2, side, side, dtype=torch.bool)
    valid[1, :, 50:] = False
    return {"image": torch.rand(2, 3, side, side) * 2 - 1, "valid": valid, "tags": torch.tensor([[1.0, 0], [1, 1]])}


def objective(**changes):
    torch.manual_seed(0)
    return build(Settings.model_validate(BASE | changes), CLASSES, None, {}).train()


@pytest.mark.parametrize("axis", ["token", "spatial_per_channel", "global_flat"])
@pytest.mark.parametrize("form", ["log", "one_plus_cos"])
def test_discrepancy_equals_a_loop_and_moves_one_side_alone(axis, form):
    torch.manual_seed(0)
    one = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    two = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    a, b = one.detach().flatten(2).numpy(), two.detach().flatten(2).numpy()
    pairs = {
        "token": [(a[i, :, p], b[i, :, p]) for i in range(2) for p in range(4)],
        "spatial_per_channel": [(a[i, c], b[i, c]) for i in range(2) for c in range(3)],
        "global_flat": [(a[i].ravel(), b[i].ravel()) for i in range(2)],
    }[axis]
    cosines = [float(u @ v / np.linalg.norm(u) / np.linalg.norm(v)) for u, v in pairs]
    slow = np.mean([1 + c if form == "one_plus_cos" else -math.log(1 - c) for c in cosines])
    loss = discrepancy_loss(one, two, DiscrepancySettings(axis=axis, form=form))
    assert loss.item() == pytest.approx(slow, rel=1e-5)
    loss.backward()
    assert one.grad.abs().sum() > 0
    assert two.grad is None
    same = discrepancy_loss(one, one, DiscrepancySettings(axis=axis, form=form))
    assert same.isfinite()
    assert same > loss


def test_contrast_equals_a_loop_over_pairs():
    torch.manual_seed(0)
    features = torch.randn(2, 4, 2, 3, dtype=torch.float64)
    labels = torch.tensor([[[0, 1, 1], [255, 0, 2]], [[2, 2, 2], [0, 255, 1]]])
    sums, counts = [0.0, 0.0], [0, 0]
    for b in range(2):
        places, names = features[b].flatten(1).T.numpy(), labels[b].flatten().tolist()
        for i in range(6):
            for j in range(6):
                if 255 in (names[i], names[j]) or (i == j):
                    continue
                cosine = abs(places[i] @ places[j] / np.linalg.norm(places[i]) / np.linalg.norm(places[j]))
                sums[names[i] == names[j]] += cosine
                counts[names[i] == names[j]] += 1
    slow = 0.5 * (1 - sums[1] / (counts[1] + 1)) + 0.5 * sums[0] / (counts[0] + 1)
    assert contrast_loss(features, labels, 255).item() == pytest.approx(slow, rel=1e-5)


def test_the_high_threshold_falls_along_a_cosine_but_for_classes_of_their_own():
    schedule = ThresholdSchedule()
    ends = torch.tensor([0.55, 0.7])
    for progress in (0, 0.25, 0.5, 1, 2):
        t = min(progress, 1)
        expected = 0.7 - 0.5 * (0.7 - 0.55) * (1 - math.cos(t * math.pi))
        found = high_threshold(schedule, ends, progress)
        assert found.tolist() == pytest.approx([expected, 0.7])


@pytest.mark.parametrize("seed", range(4))
def test_noise_is_what_scikit_learn_finds(seed):
    rng = np.random.default_rng(seed)
    losses = np.concatenate([rng.gamma(2, 0.15 * (1 + seed), 30000), rng.normal(3.5 + 0.3 * seed, 0.7, 6000).clip(0)])
    rng.shuffle(losses)
    losses = losses.reshape(1, 180, 200).astype(np.float32)
    labels = rng.integers(1, 3, losses.shape)
    labels[:, :30], labels[:, 30:40] = 0, 255
    settings = NoiseFilterSettings(gamma=0.9)
    used = (labels > 0) & (labels < 255) & (losses > settings.min_loss)
    mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0).fit(losses[used][:, None])
    posterior = mixture.predict_proba(losses.reshape(-1, 1))[:, mixture.means_.argmax()].reshape(losses.shape)
    expected = (labels > 0) & (labels < 255) & (posterior > settings.gamma)
    assert expected.mean() > 0.01
    found = noise_mask(torch.from_numpy(losses), torch.from_numpy(labels), 255, settings).numpy()
    assert (found == expected).mean() >= 0.999


def test_images_do_not_disturb_each_other_and_guards_hold():
    torch.manual_seed(0)
    noisy = torch.cat([torch.rand(3000) * 0.5 + 0.2, torch.rand(500) + 4]).view(1, 50, 70)
    calm, few = torch.rand(1, 50, 70) * 0.3 + 0.2, noisy.clone()
    labels = torch.ones(3, 50, 70, dtype=torch.int64)
    labels[2, :, 10:] = 0
    settings = NoiseFilterSettings()
    together = noise_mask(torch.cat([noisy, calm, few]), labels, 255, settings)
    assert together[0].sum() == 500
    assert not together[1].any()
    assert not together[2].any()
    assert torch.equal(together[:1], noise_mask(noisy, labels[:1], 255, settings))
    assert not noise_mask(torch.zeros(1, 50, 70), torch.zeros(1, 50, 70, dtype=torch.int64), 255, settings).any()


def test_phases_switch_on_one_after_the_other():
    given = batch()
    model = objective()
    assert set(model.training_step(given, 9)) == {"classification", "discrepancy", "contrast"}
    assert set(model.training_step(given, 10)) == {"classification", "discrepancy", "contrast", "segmentation"}
    everything = {"classification", "discrepancy", "contrast", "segmentation", "regularisation"}
    assert set(model.training_step(given, 50)) == everything
    late = objective(discrepancy={"start_step": 10}, contrast={"start_step": 12})
    assert set(late.training_step(given, 9)) == {"classification"}
    assert set(late.training_step(given, 10)) == {"classification", "discrepancy", "segmentation"}
    assert set(late.training_step(given, 12)) == {"classification", "discrepancy", "contrast", "segmentation"}


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"discrepancy": None}, {"discrepancy"}),
        ({"contrast": None}, {"contrast"}),
        ({"regularisation": None}, {"regularisation"}),
        ({"regularisation": None, "noise": None}, {"regularisation"}),
        ({"dual": False}, {"discrepancy"}),
    ],
)
def test_each_switch_takes_its_part_away(changes, gone):
    everything = {"classification", "discrepancy", "contrast", "segmentation", "regularisation"}
    parts = objective(**changes).training_step(batch(), 60)
    assert set(parts) == everything - gone
    sum(parts.values()).backward()


def test_classification_counts_both_classifiers_of_both_students():
    model, given = objective(pooling="average"), batch()
    slow = 0.0
    for student in model.students:
        features = student.backbone(given["image"])
        for classifier, values in ((student.classifier, features[-1]), (student.auxiliary, features[-2])):
            logits = classifier(values).mean((2, 3)).double()
            for row, tags in zip(logits.tolist(), given["tags"].tolist(), strict=True):
                for value, tag in zip(row, tags, strict=True):
                    slow -= math.log(1 / (1 + math.exp(-value if tag else value))) / 4
    assert model.training_step(given, 0)["classification"].item() == pytest.approx(slow, rel=1e-4)


def test_students_learn_from_each_other_when_labels_are_crossed():
    labels = [torch.zeros(1, 2, 2), torch.ones(1, 2, 2)]
    views = objective()._second_view(batch()), objective()._second_view(batch())
    plain = [type(views[0])(v.image, v.valid) for v in views]
    crossed = objective()._exchange(labels, plain)
    assert [int(each[0, 0, 0]) for each in crossed] == [1, 0]
    own = objective(cross_labels=False)._exchange(labels, plain)
    assert [int(each[0, 0, 0]) for each in own] == [0, 1]


def test_a_mirrored_view_gets_mirrored_labels():
    model, given = objective(different_views=True), batch()
    view = model._second_view(given)
    assert view.mirrored
    assert torch.equal(view.valid, given["valid"].flip(-1))
    arrow = torch.arange(4).view(1, 1, 4)
    first, second = model._exchange([arrow, arrow.flip(-1)], [type(view)(given["image"], given["valid"]), view])
    assert torch.equal(first, arrow)
    assert torch.equal(second, arrow.flip(-1))
    assert model.training_step(given, 60)["segmentation"].isfinite()


def test_padding_and_absent_classes_are_in_no_label():
    model, given = objective(par={"iterations": 2}), batch()
    view = type(model._second_view(given))(given["image"], given["valid"])
    for student in model.students:
        maps = model._maps(student, view)
        label, coarse = (made(maps, view, given["tags"], 20) for made in (model._labels, model._coarse_labels))
        first = math.ceil(50 / 64 * coarse.shape[-1])
        assert (label[1, :, 50:] == 255).all()
        assert (coarse[1, :, first:] == 255).all()
        assert not (label[0] == 2).any()
        assert not (coarse[0] == 2).any()


def test_students_that_see_mirrored_images_are_compared_place_by_place():
    model = objective(different_views=True, discrepancy={"form": "one_plus_cos"}, contrast=None)
    model.students[1].load_state_dict(model.students[0].state_dict())
    model._second_view = lambda given: type(view)(given["image"].flip(-1), given["valid"].flip(-1), mirrored=True)
    view = objective()._second_view(batch())
    # Equal networks are alike at each place but for the edges, where strides fall differently on a mirror image.
    assert model.eval().training_step(batch(), 0)["discrepancy"] / 0.1 > 2 * 1.9


def test_unnormalised_images_are_what_went_in():
    image = torch.randint(0, 256, (1, 3, 4, 4)).float()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (NETWORK.mean, NETWORK.std))
    torch.testing.assert_close(unnormalise((image / 255 - mean) / std, NETWORK), image)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"noise": None}, "regularisation acts"), ({"dual": False, "different_views": True}, "two students")],
)
def test_contradictions_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        objective(**changes)


def test_each_student_can_be_loaded_as_a_classifier_and_as_a_segmenter(tmp_path):
    model, image = objective().eval(), batch()["image"]
    card = {"settings": {"network": NETWORK.model_dump(mode="json")}, "classes": CLASSES.model_dump(mode="json")}
    save_weights(tmp_path / "w.safetensors", model.export().state_dict(), card)
    for branch, student in enumerate(model.students):
        segmenter, _, _ = load_segmenter(tmp_path / "w.safetensors", branch)
        assert torch.equal(segmenter.eval()(image), student.segment(image))
        classifier, _, _ = load_classifier(tmp_path / "w.safetensors", branch)
        assert torch.equal(classifier.classifier.weight, student.classifier.weight)
    with pytest.raises(PseudomaskError, match="holds no SegmentationNetwork"):
        load_segmenter(tmp_path / "w.safetensors", 2)
    with pytest.raises(PseudomaskError):
        load_segmenter(tmp_path / "w.safetensors")
