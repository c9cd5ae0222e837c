"""GrabCut (Rother et al. 2004) of the object in a box, guarded against what makes it fail."""

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.config.proposals import GrabCutSettings as Settings
from pipeline.proposals.candidates import Corners

_NO_BOX = (0, 0, 0, 0)  # the starting mask says it
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


def grabcut(image: NDArray[np.uint8], box: Corners, settings: Settings, name: str) -> Cut:
    """Foreground of one box: outside is surely background, inside probably foreground.

    Args:
        image: uint8 RGB (H, W, 3).
        box: with area inside the image.
        settings: iterations, restart.
        name: what seeds the clusters of the colour models together with ``settings.seed``, so that the result does not
            depend on what was cut before.
    """
    x0, y0, x1, y1 = box
    start = np.full(image.shape[:2], cv2.GC_BGD, np.uint8)
    start[y0:y1, x0:x1] = cv2.GC_PR_FGD
    if (y1 - y0) * (x1 - x0) == start.size:
        # Without any sample of the background OpenCV stops with an assertion.
        for border in (start[:_RING], start[-_RING:], start[:, :_RING], start[:, -_RING:]):
            border[...] = cv2.GC_BGD
    least = settings.min_share * (x1 - x0) * (y1 - y0)
    found = _cut(image, start, settings, name)
    if settings.restart and found.sum() < least:
        rows, columns = _core(y0, y1, settings.core), _core(x0, x1, settings.core)
        start[rows, columns] = cv2.GC_FGD
        found = _cut(image, start, settings, name)
    return Cut(found, bool(found.sum() < least))


def _cut(image: NDArray[np.uint8], start: NDArray[np.uint8], settings: Settings, name: str) -> NDArray[np.bool_]:
    if not (start != cv2.GC_BGD).any():
        return np.zeros(start.shape, bool)
    mask = start.copy()
    seed = hashlib.sha256(f"{settings.seed} {name}".encode()).digest()
    cv2.setRNGSeed(int.from_bytes(seed[:4], "big") >> 1)
    try:
        cv2.grabCut(
            image, mask, _NO_BOX, np.zeros((1, 65)), np.zeros((1, 65)), settings.iterations, cv2.GC_INIT_WITH_MASK
        )
    except cv2.error:
        # Too few pixels of one kind, or colours without any spread: no cut can be made.
        return np.zeros(start.shape, bool)
    result: NDArray[np.bool_] = (mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)
    return result


def _core(start: int, end: int, share: float) -> slice:
    """The middle of a side, at least one pixel."""
    length = max(1, round((end - start) * share))
    first = start + (end - start - length) // 2
    return slice(first, first + length)
