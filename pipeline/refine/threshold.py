"""Which background threshold agrees best with the truth, for all thresholds in one pass."""

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.scores import Scores
from pipeline.refine.background import resize_scores

LEVELS = 256


class ThresholdSearch:
    """Counts (truth, best class, level of its map); every threshold's confusion matrix follows from these counts.

    Args:
        classes: number of classes with the background.
        ignore: truth value that does not count.
    """

    def __init__(self, classes: int, ignore: int) -> None:
        self._classes, self._ignore = classes, ignore
        self._counts = np.zeros((classes, classes, LEVELS), np.int64)

    def add(self, scores: Scores, truth: NDArray[np.uint8]) -> None:
        """Count the pixels of one image; truth is uint8 (H, W) at image size."""
        present = scores.classes if len(scores.classes) else np.zeros(1, np.int64)
        # Counted among the image's own classes: few numbers, however many classes the data set has.
        index = truth.astype(np.int32) * (len(present) * LEVELS)
        if len(scores.classes):
            values = resize_scores(scores.values, scores.size)
            index += values.argmax(0).astype(np.int32) * LEVELS
            index += (values.max(0) * LEVELS).astype(np.int32).clip(0, LEVELS - 1)
        shape = (self._classes, len(present), LEVELS)
        found = np.bincount(index[truth != self._ignore], minlength=math.prod(shape))
        self._counts[:, present] += found.reshape(shape)

    def confusion(self, threshold: float) -> NDArray[np.int64]:
        """Confusion matrix (truth, prediction) when maps below ``threshold`` (to 1/256) are background."""
        cut = round(threshold * LEVELS)
        matrix: NDArray[np.int64] = self._counts[:, :, cut:].sum(2)
        matrix[:, 0] += self._counts[:, :, :cut].sum((1, 2))
        return matrix
