import cv2
import numpy as np
import pytest

from pipeline.config.proposals import GrabCutSettings
from pipeline.proposals.grabcut import grabcut


def square_image():
    random = np.random.default_rng(0)
    truth = np.zeros((60, 80), bool)
    truth[20:40, 30:60] = True
    image = np.where(truth[..., None], (200, 40, 30), (60, 140, 50)) + random.normal(0, 6, (60, 80, 3))
    return image.clip(0, 255).astype(np.uint8), truth


def test_it_finds_the_object_and_stays_inside_the_box():
    image, truth = square_image()
    found = grabcut(image, (26, 16, 64, 44), GrabCutSettings(), "a")
    assert not found.collapsed
    assert (found.foreground & truth).sum() / (found.foreground | truth).sum() > 0.95


def test_the_result_does_not_depend_on_what_was_cut_before():
    random = np.random.default_rng(3)
    image = random.integers(0, 256, (40, 40, 3), np.uint8)
    settings = GrabCutSettings(restart=False)
    first = grabcut(image, (5, 5, 35, 35), settings, "a").foreground
    cv2.setRNGSeed(99)
    grabcut(image, (2, 2, 20, 20), settings, "b")
    assert np.array_equal(first, grabcut(image, (5, 5, 35, 35), settings, "a").foreground)


def test_a_collapsed_object_is_cut_again_from_a_sure_core():
    image, _ = square_image()
    # The box holds nothing but ground, which is as like the outside as can be.
    box = (2, 45, 22, 58)
    plain = grabcut(image, box, GrabCutSettings(restart=False), "a")
    again = grabcut(image, box, GrabCutSettings(restart=True), "a")
    assert plain.collapsed
    assert not again.collapsed
    assert again.foreground[49:54, 8:16].all()


@pytest.mark.parametrize(
    "box", [(0, 0, 80, 60), (0, 0, 1, 1), (79, 59, 80, 60), (10, 10, 12, 50), (0, 0, 80, 1), (3, 3, 8, 8)]
)
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("restart", [False, True])
def test_extreme_boxes_end_in_a_mask_within_the_box(box, flat, restart):
    image = np.full((60, 80, 3), 100, np.uint8) if flat else square_image()[0]
    found = grabcut(image, box, GrabCutSettings(restart=restart), "a")
    outside = found.foreground.copy()
    outside[box[1] : box[3], box[0] : box[2]] = False
    assert not outside.any()
    share = found.foreground.sum() / ((box[2] - box[0]) * (box[3] - box[1]))
    assert found.collapsed == (share < 0.1)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2)])
def test_a_box_over_a_tiny_image_ends_in_a_mask(size):
    found = grabcut(np.zeros((*size, 3), np.uint8), (0, 0, size[1], size[0]), GrabCutSettings(), "a")
    assert found.foreground.shape == size
