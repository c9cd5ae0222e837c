import numpy as np

from pipeline.artifacts.scores import Scores
from pipeline.config.irn import IrnLabelStage
from pipeline.stages.label_irn import join, strict_and_lenient


def test_sure_foreground_sure_background_and_the_open_rest():
    values = np.array([[[0.9, 0.2, 0.01]], [[0.1, 0.1, 0.02]]], np.float32)
    scores = Scores(values, np.array([3, 5]), (1, 3), "cam")
    (strict, lenient), classes = strict_and_lenient(scores, IrnLabelStage())
    assert classes.tolist() == [0, 3, 5]
    assert join(strict, lenient, classes, 255).tolist() == [[3, 255, 0]]
