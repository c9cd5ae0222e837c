import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from pipeline.data.sbd import read_sbd_mask, write_trainaug
from pipeline.errors import PseudomaskError


def annotation(path, labels):
    """As SBD has it: a structure with boundaries, the class map, the classes present."""
    present = np.unique(labels[labels > 0])
    savemat(
        path, {"GTcls": {"Boundaries": np.zeros((20, 1), object), "Segmentation": labels, "CategoriesPresent": present}}
    )


@pytest.fixture
def folders(tmp_path):
    voc, sbd = tmp_path / "VOC2012", tmp_path / "sbd"
    for folder in (voc / "ImageSets/Segmentation", voc / "SegmentationClass", sbd / "cls"):
        folder.mkdir(parents=True)
    (voc / "ImageSets/Segmentation/train.txt").write_text("a\nb\n")
    (voc / "ImageSets/Segmentation/val.txt").write_text("v\n")
    (sbd / "train.txt").write_text("b\nc\nv\n")  # one of VOC's own, one new, one that is measured on
    (sbd / "val.txt").write_text("d\n")
    for number, name in enumerate("abv"):
        Image.fromarray(np.array([[number, 255]], np.uint8)).save(voc / f"SegmentationClass/{name}.png")
    for number, name in enumerate("bcvd", 5):
        annotation(sbd / f"cls/{name}.mat", np.array([[number, 0, 20]], np.uint8))
    return voc, sbd


def mask(voc, name):
    with Image.open(voc / f"SegmentationClassAug/{name}.png") as image:
        return np.array(image).tolist()


def test_trainaug_is_both_sets_without_what_is_measured_on(folders):
    voc, sbd = folders
    assert write_trainaug(sbd, voc) == (4, 2)
    assert (voc / "ImageSets/Segmentation/train_aug.txt").read_text().split() == ["a", "b", "c", "d"]
    assert mask(voc, "b") == [[1, 255]], "VOC's mask goes before SBD's"
    assert mask(voc, "v") == [[2, 255]]
    assert mask(voc, "c") == [[6, 0, 20]]


def test_missing_and_foreign_files_are_named(folders, tmp_path):
    voc, sbd = folders
    (sbd / "cls/d.mat").unlink()
    with pytest.raises(PseudomaskError, match=r"d\.mat does not exist; unpack SBD"):
        write_trainaug(sbd, voc)
    savemat(sbd / "cls/d.mat", {"GTinst": 1})
    with pytest.raises(PseudomaskError, match="no annotation of SBD"):
        write_trainaug(sbd, voc)
    annotation(sbd / "cls/d.mat", np.array([[33]], np.uint8))
    with pytest.raises(PseudomaskError, match=r"no class map with values 0\.\.20"):
        read_sbd_mask(sbd / "cls/d.mat")
    (voc / "SegmentationClass/a.png").unlink()
    with pytest.raises(PseudomaskError, match=r"a\.png does not exist; unpack VOC"):
        write_trainaug(sbd, voc)
