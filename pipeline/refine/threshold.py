"""Which background threshold agrees best with the truth, for all thresholds in one pass."""

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
        best, level = np.zeros(truth.shape, np.int64), np.zeros(truth.shape, np.int64)
        if len(scores.classes):
            values = resize_scores(scores.values, scores.size)
            best = scores.classes[values.argmax(0)]
            level = (values.max(0) * LEVELS).astype(np.int64).clip(0, LEVELS - 1)
        known = truth != self._ignore
        index = (truth[known].astype(np.int64) * self._classes + best[known]) * LEVELS + level[known]
        self._counts += np.bincount(index, minlength=self._counts.size).reshape(self._counts.shape)

    def confusion(self, threshold: float) -> NDArray[np.int64]:
        """Confusion matrix (truth, prediction) when maps below ``threshold`` (to 1/256) are background."""
        cut = round(threshold * LEVELS)
        matrix: NDArray[np.int64] = self._counts[:, :, cut:].sum(2)
        matrix[:, 0] += self._counts[:, :, :cut].sum((1, 2))
        return matrix
