import numpy as np

from pipeline.artifacts.scores import Scores
from pipeline.config.background import LabelSettings
from pipeline.refine.labels import label_mask


def test_labels_not_above_the_least_probability_are_ignored():
    """Eq. 3 of MDH: strictly above tau."""
    first = np.array([[0.95, 0.75, 0.5, 0.05]], np.float32)
    scores = Scores(np.stack([first, 1 - first]), np.array([0, 2]), (1, 4), "probability")
    assert label_mask(scores, LabelSettings(min_probability=0.75), 0.3, 255).tolist() == [[0, 255, 255, 2]]
    assert label_mask(scores, LabelSettings(), 0.3, 255).tolist() == [[0, 0, 0, 2]]
