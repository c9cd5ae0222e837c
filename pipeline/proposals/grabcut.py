"""GrabCut (Rother et al. 2004) of the object in a box, guarded against what makes it fail."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.boxes import Corners
from pipeline.config.proposals import GrabCutSettings as Settings

_NO_BOX = (0, 0, 0, 0)  # the starting mask says it
_LEAST_OWN = 0.1  # share of a side's pixels that is enough to learn its colours from
_RING = 1  # pixels along the border of the image that are background where the box leaves none


@dataclass(frozen=True)
class Cut:
    """Result of GrabCut.

    Attributes:
        foreground: bool (H, W), within the box.
        collapsed: whether it covers less of the box than ``min_share``, restart included.
    """

    foreground: NDArray[np.bool_]
    collapsed: bool


def grabcut(
    image: NDArray[np.uint8], box: Corners, settings: Settings, name: str, others: Sequence[Corners] = ()
) -> Cut:
    """Foreground of one box: outside is surely background, inside probably foreground.

    Args:
        image: uint8 RGB (H, W, 3).
        box: with area inside the image.
        settings: iterations, restart.
        name: what seeds the clusters of the colour models together with ``settings.seed``, so that the result does not
            depend on what was cut before.
        others: boxes of the image's other objects, whose colours say nothing about this one's (``settings.others``).
    """
    x0, y0, x1, y1 = box
    start = np.full(image.shape[:2], cv2.GC_BGD, np.uint8)
    start[y0:y1, x0:x1] = cv2.GC_PR_FGD
    if (y1 - y0) * (x1 - x0) == start.size:
        # Without any sample of the background OpenCV stops with an assertion.
        for border in (start[:_RING], start[-_RING:], start[:, :_RING], start[:, -_RING:]):
            border[...] = cv2.GC_BGD
    least = settings.min_share * (x1 - x0) * (y1 - y0)
    own = _own_pixels(start, box, others if settings.others else ())
    found = _cut(image, start, own, settings, name)
    if settings.restart and found.sum() < least:
        rows, columns = _core(y0, y1, settings.core), _core(x0, x1, settings.core)
        start[rows, columns] = cv2.GC_FGD
        found = _cut(image, start, own, settings, name)
    return Cut(found, bool(found.sum() < least))


def _own_pixels(start: NDArray[np.uint8], box: Corners, others: Sequence[Corners]) -> NDArray[np.bool_]:
    """Pixels whose colours are taken: outside the box those in no other box, inside those in no smaller one.

    Where that leaves less than ``_LEAST_OWN`` of a side, all of it is taken.
    """
    own = np.ones(start.shape, bool)
    for x0, y0, x1, y1 in others:
        there = (slice(max(y0, 0), max(y1, 0)), slice(max(x0, 0), max(x1, 0)))
        smaller = (x1 - x0) * (y1 - y0) < (box[2] - box[0]) * (box[3] - box[1])
        own[there] &= False if smaller else start[there] != cv2.GC_BGD
    for side in (start == cv2.GC_BGD, start != cv2.GC_BGD):
        if own[side].sum() < _LEAST_OWN * side.sum():
            own |= side
    return own


def _cut(
    image: NDArray[np.uint8], start: NDArray[np.uint8], own: NDArray[np.bool_], settings: Settings, name: str
) -> NDArray[np.bool_]:
    """Fit colours to samples, cut the image with them, as often as asked; nothing where no cut can be made."""
    labels, ground, figure = start.copy(), np.zeros((1, 65)), np.zeros((1, 65))
    seed = hashlib.sha256(f"{settings.seed} {name}".encode()).digest()
    cv2.setRNGSeed(int.from_bytes(seed[:4], "big") >> 1)
    try:
        for mode in (cv2.GC_INIT_WITH_MASK, *[cv2.GC_EVAL] * (settings.iterations - 1)):
            chosen = _samples(_is_foreground(labels), own, settings.samples)
            # One row of pixels; the cut OpenCV makes of it goes unused, the colour models are what counts.
            colours, kinds = image.reshape(1, -1, 3)[:, chosen], labels.reshape(1, -1)[:, chosen]
            cv2.grabCut(colours, kinds, _NO_BOX, ground, figure, 1, mode)
            cv2.grabCut(image, labels, _NO_BOX, ground, figure, 1, cv2.GC_EVAL_FREEZE_MODEL)
    except cv2.error:
        # Too few pixels of one kind, or colours without any spread.
        return np.zeros(start.shape, bool)
    return _is_foreground(labels)


def _samples(foreground: NDArray[np.bool_], own: NDArray[np.bool_], most: int | None) -> NDArray[np.intp]:
    """Indices of own pixels of both kinds, up to ``most`` of each, evenly spread."""
    both = [np.flatnonzero(own & (foreground == kind)) for kind in (False, True)]
    if most is not None:
        both = [found[np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int)] for found in both]
    return np.concatenate(both)


def _is_foreground(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = (labels & 1) == 1  # GC_FGD is 1, GC_PR_FGD is 3
    return result


def _core(start: int, end: int, share: float) -> slice:
    """The middle of a side, at least one pixel."""
    length = max(1, round((end - start) * share))
    first = start + (end - start - length) // 2
    return slice(first, first + length)
