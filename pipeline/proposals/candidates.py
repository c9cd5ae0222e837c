"""Candidate regions made of small ones, and how well each fits a box, without painting any."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.artifacts.boxes import Corners
from pipeline.config.proposals import ChoiceOfCandidate

Floats = NDArray[np.float64]
_NOWHERE = 1e6


@dataclass(frozen=True)
class Measures:
    """What is known of regions with respect to a box; of a union it follows from that of its parts.

    Attributes:
        sums: (K, 3): pixels, pixels inside the box, sum of the soft ellipse over these.
        corners: (K, 8): least x0, y0, -x1, -y1 of the region, and of its part inside the box.
    """

    sums: Floats
    corners: Floats

    def __getitem__(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> "Measures":
        return Measures(self.sums[index], self.corners[index])

    def joined(self, other: "Measures") -> "Measures":
        """Of the unions of disjoint regions, pair by pair."""
        return Measures(self.sums + other.sums, np.minimum(self.corners, other.corners))


class Partition:
    """An image cut into small regions.

    Args:
        labels: int32 (H, W), regions 0..n-1, none empty.
    """

    def __init__(self, labels: NDArray[np.int32]) -> None:
        self.labels = labels
        self.area = np.bincount(labels.ravel()).astype(np.float64)
        self._tight = _tight_corners(labels, len(self))

    def __len__(self) -> int:
        return len(self.area)

    def measures(self, box: Corners) -> Measures:
        """Of every small region, for a box with area inside the image."""
        x0, y0, x1, y1 = box
        part = np.ascontiguousarray(self.labels[y0:y1, x0:x1])
        inside = np.bincount(part.ravel(), minlength=len(self)).astype(np.float64)
        soft = np.bincount(part.ravel(), soft_ellipse(y1 - y0, x1 - x0).ravel(), len(self))
        clipped = _tight_corners(part, len(self)) + np.array([x0, y0, -x0, -y0])
        return Measures(np.stack([self.area, inside, soft], 1), np.hstack([self._tight, clipped]))

    def mask(self, chosen: NDArray[np.bool_], box: Corners | None) -> NDArray[np.bool_]:
        """Pixels of the chosen small regions (n,), cut at the box if there is one."""
        covered: NDArray[np.bool_] = chosen[self.labels]
        if box is not None:
            x0, y0, x1, y1 = box
            inside = np.zeros_like(covered)
            inside[y0:y1, x0:x1] = covered[y0:y1, x0:x1]
            return inside
        return covered


def fitness(measures: Measures, box: Corners, choice: ChoiceOfCandidate) -> Floats:
    """How well candidates fit the box, higher is better; (K,)."""
    width, height = box[2] - box[0], box[3] - box[1]
    area, inside, soft = measures.sums.T
    filled: Floats = inside / (width * height + area - inside)
    if choice.by == "filled_box":
        return filled
    if choice.by == "tight_box":
        # Of equal tight boxes, the one that fills the box better.
        tight: Floats = _iou_with_box(measures.corners[:, :4], box) + 1e-3 * filled
        return tight
    spanned = _sides(measures.corners[:, 4:]).prod(1) / (width * height)
    overlap = soft / (soft_ellipse(height, width).sum() + area - soft)
    result: Floats = spanned + inside / area + overlap
    return result


def soft_ellipse(height: int, width: int) -> Floats:
    """How likely a pixel of a box is the object's: 1 in the middle, falling to 0.05 in the corners; (H, W)."""
    y, x = ((np.arange(side) + 0.5) / side * 2 - 1 for side in (height, width))
    result: Floats = np.clip(1.25 - 0.75 * (y[:, None] ** 2 + x**2), 0.05, 1)
    return result


def _tight_corners(labels: NDArray[np.int32], count: int) -> Floats:
    """x0, y0, -x1, -y1 of each region, (count, 4); far outside where it has no pixel."""
    corners = np.full((count, 4), _NOWHERE)
    for index, place in enumerate(ndimage.find_objects(labels + 1, count)):
        if place is not None:
            rows, columns = place
            corners[index] = columns.start, rows.start, -columns.stop, -rows.stop
    return corners


def _sides(corners: Floats) -> Floats:
    """Width and height of tight boxes (K, 4); 0 of empty ones."""
    result: Floats = np.maximum(-corners[:, 2:] - corners[:, :2], 0)
    return result


def _iou_with_box(corners: Floats, box: Corners) -> Floats:
    limits = np.array([box[0], box[1], -box[2], -box[3]], np.float64)
    common = _sides(np.maximum(corners, limits)).prod(1)
    result: Floats = common / (_sides(corners).prod(1) + _sides(limits[None]).prod(1) - common)
    return result
