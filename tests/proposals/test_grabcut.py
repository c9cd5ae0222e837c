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


@pytest.mark.parametrize("iterations", [1, 3])
def test_with_all_samples_it_is_opencvs_own(iterations):
    image, box = square_image()[0], (22, 12, 70, 50)
    settings = GrabCutSettings(iterations=iterations, samples=None, restart=False)
    found = grabcut(image, box, settings, "a").foreground
    labels = np.full(image.shape[:2], cv2.GC_BGD, np.uint8)
    labels[box[1] : box[3], box[0] : box[2]] = cv2.GC_PR_FGD
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(image, labels, (0, 0, 0, 0), *models, iterations, cv2.GC_INIT_WITH_MASK)
    assert (found == ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))).mean() > 0.99


def test_boxes_of_others_lend_no_colours():
    """Two more red things in the ground make the square look like ground."""
    image, truth = square_image()
    box, others = (24, 10, 64, 50), [(0, 0, 24, 60), (64, 0, 80, 60)]
    red = np.random.default_rng(5).normal((200, 40, 30), 6, image.shape)
    for x0, y0, x1, y1 in others:
        image[y0:y1, x0:x1] = red[y0:y1, x0:x1].clip(0, 255)
    shares = [
        grabcut(image, box, GrabCutSettings(restart=False, others=switch), "a", others).foreground[truth].mean()
        for switch in (False, True)
    ]
    assert shares[0] < 0.5 < 0.9 < shares[1]


@pytest.mark.parametrize(
    "other", [(26, 16, 64, 44), (0, 0, 80, 60), (50, 40, 10, 5), (-5, -5, 200, 200), (30, 20, 60, 40)]
)
def test_any_other_box_leaves_a_cut(other):
    image, truth = square_image()
    found = grabcut(image, (26, 16, 64, 44), GrabCutSettings(), "a", [other]).foreground
    assert (found & truth).sum() / (found | truth).sum() > 0.9


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
