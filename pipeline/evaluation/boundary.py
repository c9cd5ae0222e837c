"""Boundary IoU (Cheng et al., CVPR 2021): IoU of the bands along the outlines."""

import cv2
import numpy as np
from numpy.typing import NDArray

_SQUARE = np.ones((3, 3), np.uint8)


def boundary_counts(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int, ignore: int, width: float = 0.02
) -> NDArray[np.int64]:
    """Pixels in the intersection and the union of the boundary bands, per class.

    Args:
        truth: uint8 (H, W); pixels with the ignore value do not count.
        predicted: uint8 (H, W).
        classes: number of classes.
        ignore: value without a label.
        width: width of the band as a share of the image diagonal.

    Returns:
        int64 (classes, 2).
    """
    distance = max(1, round(width * float(np.hypot(*truth.shape))))
    counts = np.zeros((classes, 2), np.int64)
    known = truth != ignore
    for index in np.union1d(np.unique(truth), np.unique(predicted)):
        if index >= classes:
            continue
        ours, theirs = (_band((mask == index).astype(np.uint8), distance) & known for mask in (truth, predicted))
        counts[index] = (ours & theirs).sum(), (ours | theirs).sum()
    return counts


def _band(region: NDArray[np.uint8], distance: int) -> NDArray[np.bool_]:
    """Pixels of the region nearer than ``distance`` to its outline; the image border counts as outside."""
    inner = cv2.erode(region, _SQUARE, iterations=distance, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return (region - inner).astype(bool)
