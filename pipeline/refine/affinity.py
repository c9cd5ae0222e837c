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
    strongest: Tensor = _Strongest.apply(edge, link)
    return 1 - strongest


def ends(values: Tensor, link: Link) -> tuple[Tensor, Tensor]:
    """Views of (..., H, W) at both ends of every link, in the order of :func:`path_affinity`."""
    return _at(values, link, (0, 0)), _at(values, link, (link.down, link.right))


class _Strongest(torch.autograd.Function):
    """The strongest boundary on the way to a neighbour; its gradient goes to the first of the cells that have it.

    By autograd's own rules each of the 2,000 cells of radius 10 would cost a gradient of the size of the map.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, edge: Tensor, link: Link) -> Tensor:
        first, *others = (_at(edge, link, cell) for cell in link.cells)
        strongest = first.clone()
        for moved in others:
            torch.maximum(strongest, moved, out=strongest)
        ctx.save_for_backward(edge, strongest)
        ctx.link = link  # type: ignore[attr-defined]
        return strongest

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        edge, strongest = ctx.saved_tensors  # type: ignore[attr-defined]
        link: Link = ctx.link  # type: ignore[attr-defined]
        result, left, given = torch.zeros_like(edge), gradient.clone(), torch.empty_like(gradient)
        for cell in link.cells:
            torch.eq(_at(edge, link, cell), strongest, out=given).mul_(left)
            _at(result, link, cell).add_(given)
            left -= given
        return result, None


def _at(values: Tensor, link: Link, cell: tuple[int, int]) -> Tensor:
    """View of (..., H, W) at one cell of the way, for every place that has the neighbour."""
    height, width = values.shape[-2] - link.down, values.shape[-1] - abs(link.right)
    left = max(0, -link.right) + cell[1]
    return values[..., cell[0] : cell[0] + height, left : left + width]


def _cells(down: int, right: int) -> tuple[tuple[int, int], ...]:
    squared = down * down + right * right
    columns = range(min(0, right), max(0, right) + 1)
    near = [(y, x) for y in range(down + 1) for x in columns if (down * x - right * y) ** 2 < squared]
    return tuple(near)
