"""The one evaluator: for activation maps, pseudo-masks and predictions alike."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config.classes import ClassTable
from pipeline.config.evaluation import Protocol
from pipeline.evaluation.boundary import boundary_counts
from pipeline.evaluation.confusion import centre_crop, confusion_of, joint_counts
from pipeline.evaluation.metrics import mean, per_class

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True)
class Measurement:
    """Counts over a set of images.

    Attributes:
        confusion: int64 (C, C), rows truth, columns prediction.
        boundary: int64 (C, 2), intersection and union of boundary bands, or None.
        images: their number.
        per_image: int64 (M, 5), a row for each class that occurs in an image: number of the image, class, pixels in
            the truth, in the mask, and in both.
        coverage: share of pixels the masks label at all, 0..1.
        labelled: int64 (C, 2), of the true pixels of each class those the masks label at all, and all.
    """

    confusion: NDArray[np.int64]
    boundary: NDArray[np.int64] | None
    images: int
    per_image: NDArray[np.int64]
    coverage: float
    labelled: NDArray[np.int64]

    def per_class(self) -> dict[str, list[float | None]]:
        """IoU, precision, recall, over-activation, coverage and boundary IoU of each class."""
        values = per_class(self.confusion)
        values["coverage"] = [float(a / b) if b else None for a, b in self.labelled]
        if self.boundary is not None:
            values["boundary_iou"] = [float(a / b) if b else None for a, b in self.boundary]
        return values

    def mean_iou(self, which: list[int] | None = None) -> float | None:
        """Mean IoU of all classes, or those at ``which``, that occur; None if none does."""
        return mean(per_class(self.confusion)["iou"], which)


def measure(pairs: Iterable[Pair], classes: ClassTable, protocol: Protocol) -> Measurement:
    """Count over (truth, predicted) masks, uint8 (H, W) each.

    Raises:
        PseudomaskError: a pair differs in size or holds an unknown class.
    """
    count = len(classes)
    confusion = np.zeros((count, count), np.int64)
    boundary = np.zeros((count, 2), np.int64) if protocol.boundary else None
    per_image: list[NDArray[np.int64]] = []
    of_class = np.zeros((count, 2), np.int64)
    labelled = pixels = 0
    for truth, predicted in pairs:
        if protocol.size == "center_crop":
            truth, predicted = (centre_crop(mask, protocol.crop_size) for mask in (truth, predicted))
        joint = joint_counts(truth, predicted)
        matrix = confusion_of(joint, count, classes.ignore, protocol.ignored_as)
        whole = joint[:count].sum(1)
        of_class += np.stack([whole - joint[:count, classes.ignore], whole], 1)
        confusion += matrix
        per_image.append(_occurring(len(per_image), matrix))
        left_open = predicted == classes.ignore
        labelled += predicted.size - int(np.count_nonzero(left_open))
        if boundary is not None:
            if protocol.ignored_as == "background":
                predicted = np.where(left_open, 0, predicted).astype(np.uint8)
            else:
                truth = np.where(left_open, classes.ignore, truth).astype(np.uint8)
            boundary += boundary_counts(truth, predicted, count, classes.ignore)
        pixels += predicted.size
    counts = np.concatenate(per_image) if per_image else np.zeros((0, 5), np.int64)
    return Measurement(confusion, boundary, len(per_image), counts, labelled / pixels if pixels else 0.0, of_class)


def _occurring(image: int, matrix: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of ``per_image`` for the confusion matrix of one image; few, however many classes there are."""
    counts = np.stack([matrix.sum(1), matrix.sum(0), np.diag(matrix)], 1)
    classes = np.flatnonzero(counts.any(1))
    return np.column_stack([np.full(len(classes), image), classes, counts[classes]])
