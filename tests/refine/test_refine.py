import json

import numpy as np
import pytest
import torch

from pipeline.artifacts.scores import Scores
from pipeline.config.background import BackgroundSettings, LabelSettings
from pipeline.config.refine import ParSettings
from pipeline.evaluation.confusion import confusion_of, joint_counts
from pipeline.refine import par
from pipeline.refine.background import find_threshold, normalise, resize_scores, with_background
from pipeline.refine.labels import label_mask
from pipeline.refine.par import refine_par
from pipeline.refine.threshold import ThresholdSearch


def cams(values, classes, size=None):
    values = np.asarray(values, np.float32)
    return Scores(values, np.asarray(classes, np.int64), size or values.shape[1:], "cam")


def slow_par(image, scores, settings):
    """PAR and PAMR pixel by pixel."""
    channels, height, width = image.shape
    offsets = [(d * y, d * x) for d in settings.dilations for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    lengths = np.array([np.hypot(y, x) for y, x in offsets])
    position = np.exp(-((lengths / (lengths.std(ddof=1) + 1e-8) / settings.width) ** 2))
    position /= position.sum()
    for _ in range(settings.iterations):
        result = np.zeros_like(scores)
        for r in range(height):
            for c in range(width):
                places = [(min(max(r + y, 0), height - 1), min(max(c + x, 0), width - 1)) for y, x in offsets]
                around = np.array([[image[k, y, x] for k in range(channels)] for y, x in places])
                deviation = around.std(0, ddof=1)
                if settings.kind == "pamr":
                    centres = np.repeat(image[None, :, r, c], len(settings.dilations), 0)
                    deviation = np.concatenate([around, centres]).std(0, ddof=1)
                    colour = np.exp(-(np.abs(around - image[:, r, c]) / (settings.width * deviation + 1e-8)).mean(1))
                    weights = colour / colour.sum()
                else:
                    relative = np.abs(around - image[:, r, c]) / (deviation + 1e-8) / settings.width
                    colour = np.exp(-(relative**2).mean(1))
                    weights = colour / colour.sum() + settings.position_weight * position
                for weight, (y, x) in zip(weights, places, strict=True):
                    result[:, r, c] += weight * scores[:, y, x]
        scores = result
    return scores


@pytest.mark.parametrize("kind", ["par", "pamr"])
@pytest.mark.parametrize("at_once", [1, 10**6])
def test_refinement_equals_the_slow_reference(kind, at_once, monkeypatch):
    monkeypatch.setattr(par, "_CACHED", at_once)
    draw = np.random.default_rng(0)
    image, scores = draw.random((2, 3, 7, 9)), draw.random((2, 2, 7, 9))
    settings = ParSettings(kind=kind, dilations=(1, 2), iterations=3)
    found = refine_par(torch.tensor(image), torch.tensor(scores), settings).numpy()
    for number in range(2):
        np.testing.assert_allclose(found[number], slow_par(image[number], scores[number], settings), rtol=1e-6)
    whole = refine_par(torch.tensor(image), torch.ones(2, 1, 7, 9, dtype=torch.float64), settings)
    np.testing.assert_allclose(whole.numpy(), par.gain(settings), rtol=1e-12)


def test_par_moves_scores_along_colours():
    image = torch.zeros(1, 3, 8, 16)
    image[..., 8:] = 100.0
    image += torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    scores = torch.zeros(1, 1, 8, 16)
    scores[..., 12:] = 1.0
    found = refine_par(image, scores, ParSettings(dilations=(1, 2), iterations=10))[0, 0]
    assert found[:, 9].mean() > 5 * found[:, 6].mean()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (BackgroundSettings(), [0.4, 0.4]),
        (BackgroundSettings(kind="power", alpha=2), [(1 - 0.9) ** 2, (1 - 0.3) ** 2]),
    ],
)
def test_background_scores(settings, expected):
    values, classes = with_background(cams([[[0.9, 0.1]], [[0.2, 0.3]]], [2, 5]), settings, 0.4)
    np.testing.assert_allclose(values[0, 0], expected, rtol=1e-6)
    assert classes.tolist() == [0, 2, 5]


def test_images_without_any_class_are_background():
    values, classes = with_background(cams(np.zeros((0, 2, 2)), [], (4, 4)), BackgroundSettings(), 0.3)
    assert values.shape == (1, 4, 4)
    assert classes.tolist() == [0]


def test_masks_take_the_strongest_and_leave_the_band_open():
    scores = cams([[[0.9, 0.1, 0.42, 0.5]], [[0.2, 0.3, 0.3, 0.6]]], [2, 5])
    assert label_mask(scores, LabelSettings(), 0.4, 255).tolist() == [[2, 0, 2, 5]]
    assert label_mask(scores, LabelSettings(ignore_band=0.05), 0.4, 255).tolist() == [[2, 0, 255, 5]]


def test_the_found_threshold_goes_before_the_set_one(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps({"threshold": 0.5}))
    settings = BackgroundSettings(threshold=0.2, offset=-0.1)
    assert find_threshold(settings, None) == pytest.approx(0.1)
    assert find_threshold(settings, tmp_path / "t.json") == pytest.approx(0.4)


def test_resizing_agrees_with_torch():
    values = np.random.default_rng(0).random((3, 5, 7), np.float32)
    expected = torch.nn.functional.interpolate(torch.tensor(values)[None], (13, 20), mode="bilinear")[0]
    np.testing.assert_allclose(resize_scores(values, (13, 20)), expected, atol=1e-5)


def test_normalised_scores_sum_to_one():
    values = normalise(np.random.default_rng(0).random((3, 4, 4), np.float32), 0.5)
    np.testing.assert_allclose(values.sum(0), 1, rtol=1e-5)
    assert values.min() > 0


def test_the_search_equals_labelling_at_each_threshold():
    draw = np.random.default_rng(0)
    search = ThresholdSearch(4, 255)
    pairs = []
    for _ in range(5):
        scores = cams(np.round(draw.random((2, 9, 8)) * 64) / 64, [1, 3])
        truth = draw.choice(np.array([0, 1, 2, 3, 255], np.uint8), (9, 8))
        search.add(scores, truth)
        pairs.append((scores, truth))
    for threshold in (0.25, 0.5, 0.75):
        expected = np.zeros((4, 4), np.int64)
        for scores, truth in pairs:
            # Equal to the threshold counts as foreground in the search, so the mask is made just below it.
            mask = label_mask(scores, LabelSettings(), threshold - 1e-3, 255)
            expected += confusion_of(joint_counts(truth, mask), 4, 255, "background")
        np.testing.assert_array_equal(search.confusion(threshold), expected)
