import numpy as np
import pytest

from pipeline.crf.energy import Energy
from pipeline.errors import PseudomaskError


def test_probabilities_are_clipped():
    values = Energy.from_probabilities(np.array([[[0.0, 0.5]], [[1.0, 0.5]]], np.float16)).values
    np.testing.assert_allclose(values[:, 0], [[-np.log(1e-5), np.log(2)], [0, np.log(2)]], atol=1e-4)


def test_hard_labels_as_pydensecrf():
    utils = pytest.importorskip("pydensecrf.utils")
    labels = np.array([[0, 1, 2], [3, 255, 1]], np.uint8)
    known = utils.unary_from_labels(np.where(labels == 255, 0, labels), 4, 0.7, zero_unsure=False)
    found = Energy.from_labels(labels, 4, gt_prob=0.7, unsure=255).values
    np.testing.assert_allclose(found.reshape(4, -1)[:, [0, 1, 2, 3, 5]], known[:, [0, 1, 2, 3, 5]], rtol=1e-6)
    np.testing.assert_allclose(found[:, 1, 1], np.log(4), rtol=1e-6)
    zero_unsure = utils.unary_from_labels(np.array([[0, 1, 2]]), 2, 0.6, zero_unsure=True)
    shifted = Energy.from_labels(np.array([[0, 1, 2]]) - 1, 2, gt_prob=0.6, unsure=-1).values
    np.testing.assert_allclose(shifted.reshape(2, -1), zero_unsure, rtol=1e-6)


@pytest.mark.parametrize(
    ("labels", "count", "gt_prob"),
    [(np.array([[0, 4]]), 4, 0.7), (np.array([[0, 1]]), 1, 0.7), (np.array([[0, 1]]), 2, 1.0), (np.array([0]), 2, 0.5)],
)
def test_wrong_labels_are_named(labels, count, gt_prob):
    with pytest.raises(PseudomaskError, match="label"):
        Energy.from_labels(labels, count, gt_prob)
