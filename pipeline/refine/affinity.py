"""Affinities of neighbouring places: one minus the strongest boundary on the straight way between them (IRN, Eq. 6)."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Link:
    """A neighbour and the cells on the way to it.

    Attributes:
        down: rows to the neighbour, 0 or more.
        right: columns to the neighbour; above 0 where ``down`` is 0.
        cells: (down, right) of the cells whose centres are less than one pixel from the straight way, ends included.
    """

    down: int
    right: int
    cells: tuple[tuple[int, int], ...]


@cache
def links(radius: int) -> tuple[Link, ...]:
    """All neighbours nearer than ``radius``, each pair of places once."""
    reach = range(-radius + 1, radius)
    found = [(down, right) for down in range(radius) for right in reach if down > 0 or right > 0]
    return tuple(Link(d, r, _cells(d, r)) for d, r in found if d * d + r * r < radius * radius)


def path_affinity(edge: Tensor, link: Link) -> Tensor:
    """Affinity of every place with its neighbour.

    Args:
        edge: boundaries (..., H, W), 0..1.
        link: which neighbour.

    Returns:
        (..., H - down, W - |right|): of the places that have the neighbour, see :func:`ends`.
    """
    height, width = edge.shape[-2] - link.down, edge.shape[-1] - abs(link.right)
    left = max(0, -link.right)
    strongest: Tensor | None = None
    for down, right in link.cells:
        moved = edge[..., down : down + height, left + right : left + right + width]
        strongest = moved if strongest is None else torch.maximum(strongest, moved)
    assert strongest is not None
    return 1 - strongest


def ends(values: Tensor, link: Link) -> tuple[Tensor, Tensor]:
    """Views of (..., H, W) at both ends of every link, in the order of :func:`path_affinity`."""
    height, width = values.shape[-2] - link.down, values.shape[-1] - abs(link.right)
    left = max(0, -link.right)
    start = values[..., :height, left : left + width]
    return start, values[..., link.down :, left + link.right : left + link.right + width]


def _cells(down: int, right: int) -> tuple[tuple[int, int], ...]:
    squared = down * down + right * right
    columns = range(min(0, right), max(0, right) + 1)
    near = [(y, x) for y in range(down + 1) for x in columns if (down * x - right * y) ** 2 < squared]
    return tuple(near)
