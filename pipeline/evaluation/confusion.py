"""Confusion matrices of masks."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.config.evaluation import IgnoredAs
from pipeline.errors import PseudomaskError


def joint_counts(truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many pixels of two masks (H, W) have each pair of values: int64 (256, 256), rows truth, columns prediction.

    Raises:
        PseudomaskError: sizes differ.
    """
    if truth.shape != predicted.shape:
        raise PseudomaskError(f"the mask is {predicted.shape}, the truth {truth.shape} (height, width)")
    # One 16-bit index per pixel, then one histogram: several times faster than numpy's bincount on 64-bit indices.
    index = truth.astype(np.uint16) << 8
    index |= predicted
    return np.bincount(index.ravel(), minlength=65536).reshape(256, 256).astype(np.int64)


def confusion_of(joint: NDArray[np.int64], classes: int, ignore: int, ignored_as: IgnoredAs) -> NDArray[np.int64]:
    """The confusion matrix, int64 (classes, classes), of what :func:`joint_counts` counted.

    Args:
        joint: pairs of values; a truth outside the classes does not count.
        classes: number of classes with the background.
        ignore: value that stands for "no label" in the prediction.
        ignored_as: pixels without a predicted label count as background (IRN) or not at all.

    Raises:
        PseudomaskError: the prediction holds an unknown class.
    """
    known = joint[:classes]
    matrix = known[:, :classes].copy()
    if ignored_as == "background":
        matrix[:, 0] += known[:, ignore]
    strange = np.flatnonzero(joint[:, classes:].sum(0)) + classes
    strange = strange[strange != ignore]
    if len(strange):
        raise PseudomaskError(f"the mask holds value {strange[0]}; allowed: 0..{classes - 1} and {ignore}")
    return matrix


def centre_crop(mask: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Short side resized to ``side`` (nearest neighbour), then the central square (rloss's validation protocol)."""
    height, width = mask.shape
    factor = side / min(height, width)
    size = (max(side, round(width * factor)), max(side, round(height * factor)))
    resized = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT)
    top, left = (resized.shape[0] - side) // 2, (resized.shape[1] - side) // 2
    square: NDArray[np.uint8] = np.asarray(resized, np.uint8)[top : top + side, left : left + side]
    return square
