import json

import numpy as np
import pytest

from pipeline.artifacts.boxes import Box
from pipeline.config.classes import ClassTable
from pipeline.config.scenes import SceneSettings
from pipeline.data.scenes import make_scene
from pipeline.data.sparse import (
    Click,
    draw_clicks,
    read_clicks,
    read_scribbles,
    simulate_box_clicks,
    simulate_clicks,
    simulate_scribbles,
)
from pipeline.errors import PseudomaskError

CLASSES = ClassTable(names=("background", "cat", "dog"))
TRUTH = make_scene(SceneSettings(size=96), "train", 5).mask


def test_public_click_files(tmp_path):
    records = {"a": [{"x": 3, "y": 1, "cls": 2, "rank": 0}, {"x": 0, "y": 0, "cls": 1, "rank": 4}]}
    (tmp_path / "c.json").write_text(json.dumps(records))
    assert read_clicks(tmp_path / "c.json", CLASSES)["a"] == [Click(3, 1, 2), Click(0, 0, 1)]
    assert read_clicks(tmp_path / "c.json", CLASSES, max_rank=0)["a"] == [Click(3, 1, 2)]
    assert read_clicks(tmp_path / "c.json", CLASSES, background=True)["a"][0].class_index == 0


@pytest.mark.parametrize(("size", "pixels"), [(1, 1), (3, 5), (5, 13)])
def test_clicks_are_discs(size, pixels):
    mask = draw_clicks([Click(7, 5, 2)], (12, 14), size, 255, "a")
    assert mask[5, 7] == 2
    assert (mask == 2).sum() == pixels
    assert np.ptp(np.nonzero(mask == 2)[0]) == size - 1
    np.testing.assert_array_equal(mask, draw_clicks([Click(7, 5, 2)], (12, 14), size, 255, "a"))


def test_clicks_outside_and_bad_files_are_named(tmp_path):
    with pytest.raises(PseudomaskError, match=r"'a': click \(14, 5\) is outside 14x12"):
        draw_clicks([Click(14, 5, 2)], (12, 14), 1, 255, "a")
    with pytest.raises(PseudomaskError, match="does not exist"):
        read_clicks(tmp_path / "c.json", CLASSES)
    (tmp_path / "c.json").write_text('{"a": [{"x": 1, "y": 1, "cls": 9}]}')
    with pytest.raises(PseudomaskError, match="'a' has a click of class 9"):
        read_clicks(tmp_path / "c.json", CLASSES)
    (tmp_path / "c.json").write_text('{"a": [{"x": 1}]}')
    with pytest.raises(PseudomaskError, match="is no click file"):
        read_clicks(tmp_path / "c.json", CLASSES)


def test_scribbles_from_xml(tmp_path):
    points = "".join(f"<point><X>{x}</X><Y>{y}</Y></point>" for x, y in ((1, 2), (8, 2)))
    (tmp_path / "a.xml").write_text(f"<annotation><polygon><tag>dog</tag>{points}</polygon></annotation>")
    mask = read_scribbles(tmp_path / "a.xml", "a", (6, 10), CLASSES, 1)
    assert mask[2, 1:9].tolist() == [2] * 8
    assert (mask != 255).sum() == 8


def test_simulated_clicks_hit_every_object_once():
    clicks = simulate_clicks(TRUTH, 2, 0, "x", 255)
    assert all(TRUTH[click.y, click.x] == click.class_index for click in clicks)
    assert {click.class_index for click in clicks} == set(np.unique(TRUTH).tolist())
    assert sum(click.class_index == 0 for click in clicks) == 2
    assert clicks == simulate_clicks(TRUTH, 2, 0, "x", 255)
    assert clicks != simulate_clicks(TRUTH, 2, 1, "x", 255)


def test_simulated_scribbles_stay_inside():
    mask = simulate_scribbles(TRUTH, 3, 0, "x", 255)
    drawn = mask != 255
    assert 0 < drawn.mean() < 0.2
    np.testing.assert_array_equal(mask[drawn], TRUTH[drawn])
    assert set(np.unique(mask[drawn]).tolist()) == set(np.unique(TRUTH).tolist())


def test_crumbs_of_a_mask_get_no_click():
    truth = np.zeros((60, 60), np.uint8)
    truth[5:25, 5:25] = 1
    truth[40:55, 40:55] = 1
    truth[30, 2] = 1
    clicks = simulate_clicks(truth, 0, 0, "a", 255)
    assert [click.class_index for click in clicks] == [1, 1]
    assert (30, 2) not in {(click.y, click.x) for click in clicks}
    assert simulate_scribbles(truth, 1, 0, "a", 255)[30, 2] == 255


def test_clicks_from_boxes_lie_in_the_inner_half_and_background_clicks_outside_all():
    boxes = [Box(2, (10, 20, 30, 60)), Box(1, (50, 5, 51, 6))]
    clicks = simulate_box_clicks(boxes, (80, 90), 5, 0, "a")
    assert [click.class_index for click in clicks] == [2, 1, 0, 0, 0, 0, 0]
    assert 15 <= clicks[0].x < 25
    assert 30 <= clicks[0].y < 50
    assert (clicks[1].x, clicks[1].y) == (50, 5)
    for click in clicks[2:]:
        assert not any(x0 <= click.x < x1 and y0 <= click.y < y1 for x0, y0, x1, y1 in (b.corners for b in boxes))
    assert clicks == simulate_box_clicks(boxes, (80, 90), 5, 0, "a")
    assert len(simulate_box_clicks([Box(1, (0, 0, 90, 80))], (80, 90), 5, 0, "a")) == 1
