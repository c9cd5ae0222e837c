"""From masks of single objects to the mask of an image (MDH, Sec. 3.1)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.boxes import Corners

Mask = NDArray[np.uint8]


def clipped(corners: Corners, size: tuple[int, int]) -> Corners | None:
    """The part of a box inside an image of ``size`` (H, W); None if there is none, as of an inverted box."""
    x0, y0, x1, y1 = max(corners[0], 0), max(corners[1], 0), min(corners[2], size[1]), min(corners[3], size[0])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def fuse(masks: Sequence[Mask], ignore: int) -> Mask:
    """One object as several proposals see it: what they agree on, ``ignore`` where they differ.

    Args:
        masks: uint8 (H, W) of 0, the object's class and ``ignore``; at least one.
        ignore: value of open pixels.
    """
    fused = masks[0].copy()
    for other in masks[1:]:
        fused[fused != other] = ignore
    return fused


def assemble(objects: Sequence[Mask], size: tuple[int, int], ignore: int) -> Mask:
    """All objects of an image: foreground, smaller objects first, then ``ignore``, then background.

    Args:
        objects: uint8 (H, W) of 0, a class and ``ignore``.
        size: (H, W), for an image without objects.
        ignore: value of open pixels.
    """
    result = np.zeros(size, np.uint8)
    for mask in objects:
        result[mask == ignore] = ignore
    foregrounds = [(mask != 0) & (mask != ignore) for mask in objects]
    # Largest first, so that small ones lie on top; of equal ones the later lies on top.
    for index in sorted(range(len(objects)), key=lambda i: -int(foregrounds[i].sum())):
        result[foregrounds[index]] = objects[index][foregrounds[index]]
    return result
