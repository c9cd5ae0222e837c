"""The stages of a run as a picture: SVG, sources on the left."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_BOX = (172, 44)
_GAP = (36, 14)


@dataclass(frozen=True)
class Node:
    """One box.

    Attributes:
        name: unique; a click leads to the element with this id.
        label: the first line.
        note: the second line.
        state: CSS class of the box.
        before: names of the boxes an arrow comes from.
    """

    name: str
    label: str
    note: str
    state: str
    before: tuple[str, ...]


def stage_graph(nodes: Sequence[Node]) -> str:
    """An SVG element. Every box stands right of those it depends on; an arrow that others imply is left out.

    Args:
        nodes: each after those it depends on.
    """
    arrows = _reduced(nodes)
    columns = _columns(nodes, arrows)
    places = _places(columns, arrows)
    width = len(columns) * (_BOX[0] + _GAP[0]) - _GAP[0] + 4
    height = max(y for _, y in places.values()) + _BOX[1] + 4
    lines = [_arrow(places[source], places[node.name]) for node in nodes for source in arrows[node.name]]
    boxes = [_box(node, *places[node.name]) for node in nodes]
    head = f"<svg class='graph' viewBox='-2 -2 {width} {height}' width='{width}' height='{height}' role='img'"
    return f"{head} aria-label='stages of the run'>{''.join(lines)}{''.join(boxes)}</svg>"


def _reduced(nodes: Sequence[Node]) -> dict[str, list[str]]:
    """Sources of each node without those it is reached from by a longer way."""
    above: dict[str, set[str]] = {}
    arrows: dict[str, list[str]] = {}
    for node in nodes:
        known = [name for name in node.before if name in above]
        above[node.name] = set(known).union(*(above[name] for name in known))
        arrows[node.name] = [name for name in known if not any(name in above[other] for other in known)]
    return arrows


def _columns(nodes: Sequence[Node], arrows: dict[str, list[str]]) -> list[list[str]]:
    """Names by column; the column is the length of the longest way from a source."""
    depth: dict[str, int] = {}
    for node in nodes:
        depth[node.name] = 1 + max((depth[name] for name in arrows[node.name]), default=-1)
    columns: list[list[str]] = [[] for _ in range(1 + max(depth.values(), default=0))]
    for name, column in depth.items():
        columns[column].append(name)
    return columns


def _places(columns: list[list[str]], arrows: dict[str, list[str]]) -> dict[str, tuple[int, int]]:
    """Corner of each box; within a column, boxes stand at the mean height of their sources, in that order."""
    row: dict[str, float] = {}
    for column in columns:
        for number, name in enumerate(column):
            heights = [row[source] for source in arrows[name]]
            row[name] = sum(heights) / len(heights) if heights else float(number)
        column.sort(key=row.__getitem__)
        last = -1.0
        for name in column:
            last = row[name] = max(row[name], last + 1)
    steps = _BOX[0] + _GAP[0], _BOX[1] + _GAP[1]
    return {name: (x * steps[0], round(row[name] * steps[1])) for x, column in enumerate(columns) for name in column}


def _arrow(source: tuple[int, int], target: tuple[int, int]) -> str:
    x0, y0 = source[0] + _BOX[0], source[1] + _BOX[1] // 2
    x1, y1 = target[0], target[1] + _BOX[1] // 2
    bend = _GAP[0] * 2 // 3
    return f"<path d='M{x0} {y0}C{x0 + bend} {y0} {x1 - bend} {y1} {x1} {y1}'/>"


def _box(node: Node, x: int, y: int) -> str:
    label = node.label if len(node.label) <= 22 else node.label[:21] + "…"
    return (
        f"<a href='#{escape(node.name)}'><g class='{escape(node.state)}' transform='translate({x} {y})'>"
        f"<title>{escape(node.label)}: {escape(node.note)}</title>"
        f"<rect width='{_BOX[0]}' height='{_BOX[1]}' rx='6'/><text x='10' y='18'>{escape(label)}</text>"
        f"<text class='small' x='10' y='35'>{escape(node.note)}</text></g></a>"
    )
