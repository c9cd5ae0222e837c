"""The one evaluator: for activation maps, pseudo-masks and predictions alike."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config.classes import ClassTable
from pipeline.config.evaluation import Protocol
from pipeline.evaluation.boundary import boundary_counts
from pipeline.evaluation.confusion import centre_crop, confusion_matrix
from pipeline.evaluation.metrics import mean, per_class

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True)
class Measurement:
    """Counts over a set of images.

    Attributes:
        confusion: int64 (C, C), rows truth, columns prediction.
        boundary: int64 (C, 2), intersection and union of boundary bands, or None.
        images: number of images.
        coverage: share of pixels the masks label at all, 0..1.
    """

    confusion: NDArray[np.int64]
    boundary: NDArray[np.int64] | None
    images: int
    coverage: float

    def per_class(self) -> dict[str, list[float | None]]:
        """IoU, precision, recall, over-activation and boundary IoU of each class."""
        values = per_class(self.confusion)
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
    images = labelled = pixels = 0
    for truth, predicted in pairs:
        if protocol.size == "center_crop":
            truth, predicted = (centre_crop(mask, protocol.crop_size) for mask in (truth, predicted))
        confusion += confusion_matrix(truth, predicted, count, classes.ignore, protocol.ignored_as)
        if boundary is not None:
            boundary += boundary_counts(truth, predicted, count, classes.ignore)
        images += 1
        labelled += int(np.count_nonzero(predicted != classes.ignore))
        pixels += predicted.size
    return Measurement(confusion, boundary, images, labelled / pixels if pixels else 0.0)
