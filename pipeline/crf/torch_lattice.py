"""The permutohedral lattice in torch: any device, several images of any size at once.

Adams, Baek, Davis: Fast High-Dimensional Filtering Using the Permutohedral Lattice (Eurographics 2010). Pixels of all
images form one list; the index of the image is part of every lattice key, so images never mix.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import PseudomaskError


@dataclass(frozen=True)
class TorchLattice:
    """Which of ``count`` lattice points each of N pixels touches, with what weight, and the neighbours of the points.

    Attributes:
        rows: int64 (N, d + 1).
        weights: (N, d + 1), barycentric; normalise by multiplying.
        neighbours: int64 (d + 1, 2, count); ``count`` where there is none.
        count: number of lattice points.
    """

    rows: Tensor
    weights: Tensor
    neighbours: Tensor
    count: int

    def filter(self, values: Tensor, adjoint: bool = False) -> Tensor:
        """Filter ``values`` (N, C); ``adjoint`` multiplies by the transposed matrix (blur directions reversed)."""
        weights = self.weights.to(values.dtype)
        points = values.new_zeros(self.count + 1, values.shape[1])  # the last row is the absent neighbour
        for vertex in range(self.rows.shape[1]):
            points.index_add_(0, self.rows[:, vertex], weights[:, vertex, None] * values)
        for near, far in self.neighbours.flip(0) if adjoint else self.neighbours:
            points[:-1] += 0.5 * (points[near] + points[far])
        out = torch.zeros_like(values)
        for vertex in range(self.rows.shape[1]):
            out.addcmul_(weights[:, vertex, None], points[self.rows[:, vertex]])
        return out / (1 + 2.0 ** -(self.rows.shape[1] - 1))


def build(features: Tensor, image: Tensor) -> TorchLattice:
    """Lattice over ``features`` (N, d), divided by their sigmas; ``image`` int64 (N,) says whose pixel each is.

    Raises:
        PseudomaskError: the features span too many lattice cells, that is, a sigma is too small.
    """
    cells, rank, residual = _embed(features)
    units, least = _units(cells, int(image.max()) + 1)
    key = ((cells[:, :-1] - least) * cells.new_tensor(units[:-1])).sum(1) + image * units[-1]
    dimension = features.shape[1]
    by_rank = rank.argsort(1)
    ranked = residual.gather(1, by_rank)  # falling
    unit_of_rank = cells.new_tensor([*units[:-1], 0])[by_rank]
    keys = [key]
    for step in range(1, dimension + 1):
        keys.append(keys[-1] + 1 - unit_of_rank[:, dimension + 1 - step])
    head = ranked[:, -1:] + 1 - ranked[:, :1]
    weights = torch.cat([head, (ranked[:, :-1] - ranked[:, 1:]).flip(1)], 1)
    points, rows = torch.unique(torch.stack(keys, 1), return_inverse=True)
    return TorchLattice(rows, weights, _neighbours(points, units[:-1]), len(points))


def features_of(image: Tensor, sxy: float, srgb: float | None) -> Tensor:
    """(H * W, 2 or 5) features of ``image`` (H, W, 3) with values 0..255, divided by their sigmas."""
    height, width = image.shape[:2]
    y, x = torch.meshgrid(
        torch.arange(height, device=image.device, dtype=torch.float32),
        torch.arange(width, device=image.device, dtype=torch.float32),
        indexing="ij",
    )
    place = torch.stack([x, y], -1) / sxy
    parts = [place] if srgb is None else [place, image.float() / srgb]
    return torch.cat(parts, -1).flatten(0, 1)


def _embed(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Nearest remainder-0 point (cells), rank of each residual (0 the largest) and the residuals, all (N, d + 1)."""
    dimension = features.shape[1]
    scale = [math.sqrt(2 / 3) * (dimension + 1) / math.sqrt((i + 1) * (i + 2)) for i in range(dimension)]
    scaled = features * features.new_tensor(scale)
    if not bool(scaled.isfinite().all()) or float(scaled.abs().max()) > 2**20:
        raise PseudomaskError("sigma is too small for this image, or a value is not finite: the lattice gets too fine")
    above = scaled.flip(1).cumsum(1).flip(1)  # sum over this and all later axes
    zero = scaled.new_zeros(len(scaled), 1)
    later = torch.cat([above, zero], 1)
    index = torch.arange(1, dimension + 1, device=features.device)
    elevated = torch.cat([later[:, :1], later[:, 1:] - index * scaled], 1)
    cells = (elevated / (dimension + 1)).round()
    residual = elevated - cells * (dimension + 1)
    rank = residual.argsort(dim=1, descending=True, stable=True).argsort(1) + cells.sum(1, keepdim=True).long()
    low, high = rank < 0, rank > dimension
    cells = cells.long() + low.long() - high.long()
    rank = rank + (low.long() - high.long()) * (dimension + 1)
    return cells, rank, elevated / (dimension + 1) - cells


def _units(cells: Tensor, images: int) -> tuple[list[int], Tensor]:
    """Place value of each cell index and of the image in a 64-bit key, and the least cell indices."""
    if not len(cells):
        raise PseudomaskError("an image for the CRF has no pixels")
    least, most = cells.amin(0) - 4, cells.amax(0) + 4
    units = [8]  # below it: the remainder 0..d of a point
    for span in (most - least + 1)[:-1].tolist():
        units.append(units[-1] * span)
    if units[-1] * images >= 2**63:
        raise PseudomaskError("sigma is too small for these images: the lattice gets too fine")
    return units, least[:-1]


def _neighbours(points: Tensor, units: list[int]) -> Tensor:
    """Indices (d + 1, 2, count) of the points one step back and forth in each direction, among sorted ``points``."""
    count, dimension = len(points), len(units)
    found = points.new_full((dimension + 1, 2, count), count)
    first = points % 8 == 0
    itself = torch.arange(count, device=points.device)
    for direction, unit in enumerate([*units, 0]):
        key = torch.where(first, points + dimension - (sum(units) - unit), points - 1 + unit)
        near = torch.searchsorted(points, key).clamp_(max=count - 1)
        exists = points[near] == key
        found[direction, 0] = near.where(exists, count)
        found[direction, 1].index_copy_(0, near[exists], itself[exists])
    return found
