import re

import pytest

from pipeline.report.graph import Node, stage_graph
from pipeline.report.stages import duration


def test_boxes_stand_right_of_their_sources_and_implied_arrows_are_left_out():
    nodes = [
        Node("a", "data <1>", "1 s", "done", ()),
        Node("b", "train", "2 s", "done", ("a",)),
        Node("c", "cams", "2 s", "missing", ("a", "b")),
        Node("d", "truth", "2 s", "done", ("a", "unknown")),
    ]
    svg = stage_graph(nodes)
    places = dict(zip("abcd", re.findall(r"translate\((\d+) (\d+)\)", svg), strict=True))
    across = {name: int(place[0]) for name, place in places.items()}
    assert across["a"] < across["b"] == across["d"] < across["c"]
    assert len(set(places.values())) == 4
    assert svg.count("<path") == 3
    assert "data &lt;1&gt;" in svg
    assert svg.count("class='missing'") == 1


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (42.2, "42 s"), (600, "10 min"), (3 * 3600 + 240, "3 h 04 min")]
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text
