import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from pipeline.data.cocostuff import write_voc_masks
from pipeline.errors import PseudomaskError


def test_the_20_classes_of_voc_stay_and_all_else_is_background(tmp_path):
    (tmp_path / "annotations").mkdir()
    # unlabelled, person, bicycle, traffic light, dining table, tv, two kinds of stuff
    labels = np.array([[0, 1, 2, 10], [67, 72, 92, 182]], np.uint8)
    savemat(tmp_path / "annotations/COCO_train2014_000000000077.mat", {"S": labels})
    assert write_voc_masks(tmp_path) == 1
    with Image.open(tmp_path / "masks-voc/COCO_train2014_000000000077.png") as found:
        np.testing.assert_array_equal(np.array(found), [[0, 15, 2, 0], [11, 20, 0, 0]])


def test_mistakes_are_explained(tmp_path):
    with pytest.raises(PseudomaskError, match=r"holds no \.mat file"):
        write_voc_masks(tmp_path)
    (tmp_path / "annotations").mkdir()
    savemat(tmp_path / "annotations/a.mat", {"T": np.zeros((2, 2))})
    with pytest.raises(PseudomaskError, match="no label map 'S'"):
        write_voc_masks(tmp_path)
