import numpy as np
import pytest


@pytest.fixture
def scene():
    """A function (height, width, labels, seed) -> image, scores: flat regions with noise, so that edges matter."""

    def make(height, width, labels, seed=0):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:height, :width]
        region = ((x * 3 // max(width, 1)) + 2 * (y * 2 // max(height, 1))) % max(labels, 1)
        colours = rng.integers(0, 256, (labels, 3))
        image = np.clip(colours[region] + rng.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8)
        logits = rng.normal(0, 1, (labels, height, width)) + 1.5 * (np.arange(labels)[:, None, None] == region)
        scores = np.exp(logits)
        return image, (scores / scores.sum(0)).astype(np.float32)

    return make
