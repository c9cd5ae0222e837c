import math

import numpy as np
import pytest

from pipeline.config.asdt import ReliableSettings
from pipeline.config.crf import CrfSettings
from pipeline.crf.dense import dense_crf
from pipeline.refine.background import power_background
from pipeline.refine.teachers import Evidence, refined_probabilities, reliable_labels

CRF = CrfSettings(terms=[{"sxy": 2, "compat": 2}, {"sxy": 8, "srgb": 20, "compat": 4}], iterations=3)


def evidence(seed=0, size=(20, 24), classes=(2, 5)):
    """Smooth maps with a maximum of one, and an image in which the first class is bright."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    maps = []
    for number in range(len(classes)):
        y, x = rng.uniform(4, 16, 2)
        bump = np.exp(-((rows - y) ** 2 + (columns - x - 4 * number) ** 2) / 40)
        maps.append((bump / (bump.max() + 1e-5)).astype(np.float32))
    maps = np.stack(maps) if maps else np.zeros((0, *size), np.float32)
    image = rng.integers(0, 60, (*size, 3)).astype(np.uint8)
    if len(classes):
        image[maps[0] > 0.4] += 150
    return Evidence(image, maps, np.array(classes, np.int64))


def slow_labels(given, settings, ignore=255):
    """The nine rules of RRM's labels, pixel by pixel in double precision; the CRF is the engine's own."""
    count, (height, width) = len(given.classes), given.image.shape[:2]
    maps = given.scores.astype(np.float64)
    top = maps.max(0) if count else np.zeros((height, width))
    stack = [np.concatenate([((1 - top) ** a)[None], maps]) for a in (settings.low_alpha, settings.high_alpha)]
    strong, weak = (dense_crf(given.image, scores, settings.crf) for scores in stack)
    cam = [[max(range(count + 1), key=lambda k: stack[1][k, y, x]) for x in range(width)] for y in range(height)]
    limits = {}
    for k in range(1, count + 1):
        own = sorted(
            maps[k - 1, y, x]
            for y in range(height)
            for x in range(width)
            if cam[y][x] == k and maps[k - 1, y, x] > settings.least
        )
        if own and (strong.argmax(0) == k).any():
            limits[k] = own[int(settings.doubtful * len(own))]
    result = np.full((height, width), ignore)
    for y in range(height):
        for x in range(width):
            k = cam[y][x]
            sure = stack[1][0, y, x] > settings.background if k == 0 else maps[k - 1, y, x] > limits.get(k, math.inf)
            confidence = max([weak[0, y, x], *strong[1:, y, x]])
            if not sure or confidence < settings.confidence:
                continue
            if weak[:, y, x].argmax() == 0:
                result[y, x] = 0
            elif strong[:, y, x].argmax() > 0:
                result[y, x] = given.classes[strong[:, y, x].argmax() - 1]
    return result


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("classes", [(2, 5), (7,), ()])
def test_reliable_labels_equal_the_rules_pixel_by_pixel(seed, classes):
    settings = ReliableSettings(crf=CRF, confidence=0.6)
    given = evidence(seed, classes=classes)
    (found,) = reliable_labels([given], settings, 255, 1)
    expected = slow_labels(given, settings)
    np.testing.assert_array_equal(found, expected)
    # Background, foreground and ignored pixels occur, so that agreement says something.
    assert set(np.unique(expected)) > {0, 255} if classes else (expected == 0).all()


def test_the_sure_share_of_a_class_is_what_the_setting_says():
    given = evidence(1, classes=(3,))
    # Without a CRF and without a limit of confidence, only the share decides on foreground.
    settings = ReliableSettings(crf=CrfSettings(terms=[{"sxy": 1, "compat": 0}]), confidence=0, doubtful=0.75)
    (found,) = reliable_labels([given], settings, 255, 1)
    candidates = (given.scores[0] > power_background(given.scores, 32)[0]) & (given.scores[0] > 0.1)
    assert (found == 3).sum() == pytest.approx(candidates.sum() / 4, abs=1)
    (all_of_them,) = reliable_labels([given], settings.model_copy(update={"doubtful": 0.0}), 255, 1)
    assert (all_of_them == 3).sum() > 2 * (found == 3).sum()


def test_a_class_without_a_pixel_above_the_limit_is_ignored_not_an_error():
    given = evidence(2, classes=(4,))
    settings = ReliableSettings(crf=CRF, least=0.999999, confidence=0)
    (found,) = reliable_labels([given], settings, 255, 1)
    assert set(np.unique(found)) == {0, 255}


def test_threads_change_nothing():
    several = [evidence(seed, classes=(seed + 1, seed + 2)) for seed in range(5)]
    settings = ReliableSettings(crf=CRF)
    one, three = (reliable_labels(several, settings, 255, threads) for threads in (1, 3))
    for first, second in zip(one, three, strict=True):
        np.testing.assert_array_equal(first, second)


def test_refined_probabilities_are_the_crfs():
    given = evidence(3)
    scores = np.concatenate([power_background(given.scores, 4), given.scores])
    (found,) = refined_probabilities([Evidence(given.image, scores, np.array([0, 2, 5]))], CRF, 2)
    np.testing.assert_array_equal(found, dense_crf(given.image, scores, CRF))
