from itertools import combinations

import numpy as np

from pipeline.config.classes import voc_colour
from pipeline.report.palette import appearances, safe_colours


def nearest(colours):
    seen = appearances(np.array(colours, np.uint8))
    return min(np.linalg.norm(one - other, axis=1).min() for one, other in combinations(seen, 2))


def test_colours_stay_apart_where_those_of_voc_do_not():
    colours = safe_colours(20)
    assert len(set(colours)) == 20
    assert nearest(colours[:6]) > 35
    assert nearest(colours) > 15
    assert nearest([voc_colour(index) for index in range(1, 21)]) < 2


def test_a_colour_does_not_depend_on_how_many_there_are():
    assert safe_colours(30)[:5] == safe_colours(5)


def test_grey_has_no_hue_for_anyone():
    seen = appearances(np.array([[128, 128, 128]], np.uint8))
    assert np.abs(seen[..., 1:]).max() < 1
