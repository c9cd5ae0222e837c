import math

import numpy as np
import pytest

from pipeline.stages.mark_confidence import confident


@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_of_each_class_the_clearest_pixels_are_trusted(share):
    draw = np.random.default_rng(0)
    values = draw.random((3, 7, 9), np.float32)
    classes = np.array([0, 4, 9])
    mask = classes.astype(np.uint8)[values.argmax(0)]
    mask[0, :3] = 255
    mask[1, :3] = 4  # a CRF may overrule the scores
    found = confident(values, classes, mask, share)
    expected = np.zeros_like(mask)
    for channel, index in enumerate(classes):
        places = [(y, x) for y in range(7) for x in range(9) if mask[y, x] == index]
        margins = {p: values[channel][p] - max(values[k][p] for k in range(3) if k != channel) for p in places}
        for place in sorted(places, key=lambda p: -margins[p])[: math.ceil(share * len(places))]:
            expected[place] = 1
    np.testing.assert_array_equal(found, expected)
    assert not found[0, :3].any()


def test_a_single_class_is_ranked_too_and_absent_ones_do_no_harm():
    values = np.linspace(0, 1, 8, dtype=np.float32).reshape(1, 2, 4)
    found = confident(values, np.array([0]), np.zeros((2, 4), np.uint8), 0.5)
    np.testing.assert_array_equal(found, [[0] * 4, [1] * 4])
    assert not confident(values, np.array([0]), np.full((2, 4), 3, np.uint8), 0.5).any()
