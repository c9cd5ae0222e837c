"""Numbers from confusion matrices; a class absent from truth and prediction is None, never 0."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def per_class(confusion: NDArray[np.int64]) -> dict[str, list[float | None]]:
    """Scores of every class, in 0..1.

    IoU = TP / (TP + FP + FN); precision = TP / (TP + FP); recall = TP / (TP + FN);
    over-activation = FP / (TP + FP + FN), the share of the union that is wrongly claimed.

    Args:
        confusion: int64 (C, C), rows truth, columns prediction.
    """
    hit = np.diag(confusion).astype(float)
    predicted, true = confusion.sum(0), confusion.sum(1)
    union = predicted + true - hit
    return {
        "iou": _ratio(hit, union),
        "precision": _ratio(hit, predicted),
        "recall": _ratio(hit, true),
        "over_activation": _ratio(predicted - hit, union),
    }


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> list[float | None]:
    return [float(a / b) if b else None for a, b in zip(above, below, strict=True)]


def mean(values: list[float | None], which: list[int] | None = None) -> float | None:
    """Mean of the values that exist, of all classes or those at ``which``."""
    chosen = values if which is None else [values[index] for index in which]
    present = [value for value in chosen if value is not None]
    return sum(present) / len(present) if present else None


def mean_iou(confusion: NDArray[np.int64], which: list[int] | None = None) -> float:
    """Mean IoU over the classes present in truth or prediction; 0 if there is none."""
    return mean(per_class(confusion)["iou"], which) or 0.0
