import numpy as np
import pytest

from pipeline.proposals.fusion import assemble, clipped, fuse


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        ((2, 3, 5, 6), (2, 3, 5, 6)),
        ((-4, -4, 50, 50), (0, 0, 12, 10)),
        ((5, 5, 5, 9), None),
        ((9, 9, 2, 2), None),
        ((20, 0, 30, 5), None),
    ],
)
def test_boxes_are_clipped_or_have_no_area(corners, expected):
    assert clipped(corners, (10, 12)) == expected


def test_proposals_must_agree():
    first, second = np.array([[0, 0, 3, 3, 255]], np.uint8), np.array([[0, 3, 0, 3, 3]], np.uint8)
    assert fuse([first, second], 255).tolist() == [[0, 255, 255, 3, 255]]
    assert fuse([first], 255).tolist() == first.tolist()
    assert first.tolist() == [[0, 0, 3, 3, 255]]


def test_assembly_equals_a_loop_over_pixels():
    """Foreground of the smallest object, else ignore if any object says so, else background."""
    random = np.random.default_rng(0)
    objects = [random.choice([0, 0, 0, kind, 255], (9, 11)).astype(np.uint8) for kind in (1, 2, 3, 4)]
    objects[2][2:, :] = 0
    sizes = [int(((mask > 0) & (mask < 255)).sum()) for mask in objects]
    assert len(set(sizes)) == len(sizes)
    slow = np.zeros((9, 11), np.uint8)
    for y in range(9):
        for x in range(11):
            said = sorted((size, int(mask[y, x])) for size, mask in zip(sizes, objects, strict=True))
            foreground = [value for _, value in said if value not in (0, 255)]
            slow[y, x] = foreground[0] if foreground else 255 * any(value == 255 for _, value in said)
    assert np.array_equal(assemble(objects, (9, 11), 255), slow)


def test_an_image_without_objects_is_background():
    assert not assemble([], (4, 5), 255).any()
