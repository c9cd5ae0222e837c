import cv2
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from pipeline.artifacts.boxes import Box
from pipeline.config.priors import PriorSettings
from pipeline.config.training import AugmentSettings
from pipeline.data.augment import augment
from pipeline.data.priors import class_prior, position_prior, prior_layers

SIZE = (70, 90)
BOXES = {
    "plain": [(10, 20, 40, 50)],
    "long": [(5, 30, 85, 37)],
    "border": [(0, 0, 30, 20)],
    "whole image": [(0, 0, 90, 70)],
    "pixel": [(17, 11, 18, 12)],
    "two pixels": [(17, 11, 19, 40)],
    "apart": [(3, 3, 20, 20), (50, 40, 80, 66)],
    "overlapping": [(3, 3, 50, 50), (30, 20, 80, 66), (40, 30, 45, 35)],
}


def boxes_of(corners, first=1):
    return [Box(index, box) for index, box in enumerate(corners, first)]


def slow_prior(corners, size, rescale_first=False):
    """From the distance transform of painted edge pixels, as the paper words it."""
    maps, insides = [], []
    for x0, y0, x1, y1 in corners:
        inside = np.zeros(size, bool)
        inside[y0:y1, x0:x1] = True
        edge = inside.copy()
        edge[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] = False
        distance = distance_transform_edt(~edge)
        value = np.where(inside, 128 - distance, 128 + distance)
        if not rescale_first:
            value = value.clip(0, 255)
        least = value.min()
        if least < 128:
            value = np.where(inside, 128 * (value - least) / (128 - least), value)
        maps.append(value.clip(0, 255))
        insides.append(inside)
    count = np.sum(insides, 0)
    within = np.sum([m * i for m, i in zip(maps, insides, strict=True)], 0) / np.maximum(count, 1)
    return np.where(count > 0, within, np.mean(maps, 0))


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("order", ["truncate_first", "rescale_first"])
def test_the_position_prior_equals_the_distance_transform(name, order):
    found = position_prior(boxes_of(BOXES[name]), SIZE, order)
    np.testing.assert_allclose(found, slow_prior(BOXES[name], SIZE, order == "rescale_first"), atol=1e-3)


@pytest.mark.parametrize("order", ["truncate_first", "rescale_first"])
def test_boxes_deeper_than_128_pixels_have_a_plateau_only_if_cut_first(order):
    size, corners = (400, 420), [(10, 10, 410, 390)]
    found = position_prior(boxes_of(corners), size, order)
    np.testing.assert_allclose(found, slow_prior(corners, size, order == "rescale_first"), atol=1e-3)
    assert ((found == 0).sum() > 10000) == (order == "truncate_first")


def test_without_boxes_all_is_far():
    assert (position_prior([], SIZE) == 255).all()
    assert (position_prior([Box(1, (30, 30, 10, 10))], SIZE) == 255).all()
    assert not class_prior([], SIZE).any()


@pytest.mark.parametrize("corners", [(-30, -30, 200, 200), (-10, 20, 30, 40), (95, 75, 120, 90), (-9, -9, -2, -2)])
@pytest.mark.parametrize("others", [[], [(60, 50, 80, 65), (70, 40, 130, 60)]])
def test_boxes_that_leave_the_image_keep_their_distances(corners, others):
    """As in a larger image that holds them, cut to this one."""
    wide = [tuple(side + 200 for side in box) for box in (corners, *others)]
    expected = position_prior(boxes_of(wide), (SIZE[0] + 400, SIZE[1] + 400))[200:-200, 200:-200]
    np.testing.assert_allclose(position_prior(boxes_of([corners, *others]), SIZE), expected)


def test_the_smallest_box_gives_the_class():
    boxes = [Box(3, (40, 30, 45, 35)), Box(1, (3, 3, 50, 50)), Box(2, (30, 20, 80, 66))]
    found = class_prior(boxes, SIZE)
    for y in range(SIZE[0]):
        for x in range(SIZE[1]):
            around = [b for b in boxes if b.corners[0] <= x < b.corners[2] and b.corners[1] <= y < b.corners[3]]
            areas = [(b.corners[2] - b.corners[0]) * (b.corners[3] - b.corners[1]) for b in around]
            assert found[y, x] == (around[int(np.argmin(areas))].class_index if around else 0)


def test_hundreds_of_boxes_are_one_map():
    random = np.random.default_rng(0)
    corners = [(x, y, x + 9, y + 7) for x, y in random.integers(0, 60, (300, 2))]
    found = position_prior(boxes_of(corners), SIZE)
    assert np.isfinite(found).all()
    assert found.min() >= 0


@pytest.mark.parametrize(
    ("settings", "highest"),
    [
        (PriorSettings(), [1, 1]),
        (PriorSettings(normalise=False), [255, 4]),
        (PriorSettings(classes=False), [1]),
        (PriorSettings(position=False), [1]),
    ],
)
def test_channels_are_those_switched_on(settings, highest):
    layers = prior_layers([Box(4, (0, 0, 4, 4))], (400, 400), settings, 5)
    assert [layer.values.max() for layer in layers] == pytest.approx(highest)
    assert len(layers) == settings.channels
    assert all(layer.fill == (layer.values.max() if layer.smooth else 0) for layer in layers)


def test_augmentation_moves_image_masks_and_priors_together():
    """The class of the box is painted into image and mask as well; wherever they end, the three must agree."""
    box = (20, 10, 60, 50)
    image = np.zeros((*SIZE, 3), np.uint8)
    mask = np.zeros(SIZE, np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 200
    mask[box[1] : box[3], box[0] : box[2]] = 1
    layers = prior_layers([Box(1, box)], SIZE, PriorSettings(), 2)
    settings = AugmentSettings(long_side=(60, 150), crop=100)
    fill = np.zeros(3, np.uint8)
    seen = set()
    for seed in range(20):
        sample = augment(image, {"mask": mask}, settings, fill, 255, np.random.default_rng(seed), layers)
        position, classes = (layer.values for layer in sample.layers)
        inside = sample.masks["mask"] == 1
        assert np.array_equal(classes == 1, inside)
        assert (position[~sample.valid] == 1).all()
        middle = cv2.erode(inside.astype(np.uint8), np.ones((5, 5))) > 0
        assert (sample.image[middle] == 200).all()
        assert (position[middle] < 0.5).all()
        far = cv2.dilate(inside.astype(np.uint8), np.ones((5, 5))) == 0
        assert (position[far & sample.valid] > 0.5).all()
        seen.add(inside.sum())
    assert len(seen) > 5
