import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from pipeline.artifacts.export import file_name, from_png, to_coco, to_h5, to_png
from pipeline.artifacts.masks import MaskStore, MaskWriter
from pipeline.config.classes import ClassTable
from pipeline.errors import PseudomaskError

CLASSES = ClassTable(names=("background", "cat", "dog"))
IDS = ["plain", "../up", "a/b c", "naïve;$(x)", ".hidden"]


@pytest.fixture
def store(tmp_path):
    with MaskWriter(tmp_path / "m.h5", CLASSES, stage="s") as writer:
        for seed, image_id in enumerate(IDS):
            draw = np.random.default_rng(seed)
            writer.add(image_id, draw.choice(np.array([0, 1, 2, 255], np.uint8), (7, 9)))
    return MaskStore(tmp_path / "m.h5")


def equal(one, other):
    return set(one.ids) == set(other.ids) and all(np.array_equal(one[i], other[i]) for i in one.ids)


def test_png_and_back_is_the_same(store, tmp_path):
    assert to_png(store, tmp_path / "png") == len(IDS)
    assert all(path.parent == tmp_path / "png" for path in (tmp_path / "png").rglob("*"))
    with Image.open(tmp_path / "png/plain.png") as picture:
        assert picture.mode == "P"
        assert picture.getpalette()[3:6] == CLASSES.palette[1].tolist()
    from_png(tmp_path / "png", tmp_path / "back.h5", CLASSES)
    assert equal(MaskStore(tmp_path / "back.h5"), store)


def test_file_names_stay_in_their_folder_and_differ():
    names = [file_name(image_id) for image_id in IDS]
    assert len(set(names)) == len(names)
    assert not any("/" in name or name.startswith(".") for name in names)


def test_coco_is_read_by_pycocotools(store, tmp_path):
    to_coco(store, tmp_path / "c.json")
    coco = COCO(str(tmp_path / "c.json"))
    for image in coco.dataset["images"]:
        mask = np.zeros((7, 9), np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            mask[coco.annToMask(annotation) == 1] = annotation["category_id"]
        expected = store[image["file_name"]]
        np.testing.assert_array_equal(mask, np.where(expected == 255, 0, expected))


def test_h5_keeps_chosen_images(store, tmp_path):
    to_h5(store, tmp_path / "some.h5", IDS[:2])
    assert MaskStore(tmp_path / "some.h5").ids == tuple(IDS[:2])


def test_folders_without_masks_and_rgb_pictures_are_refused(tmp_path):
    with pytest.raises(PseudomaskError, match=r"holds no \.png"):
        from_png(tmp_path, tmp_path / "m.h5", CLASSES)
    Image.new("RGB", (3, 3)).save(tmp_path / "x.png")
    with pytest.raises(PseudomaskError, match=r"x\.png has pixels of type RGB"):
        from_png(tmp_path, tmp_path / "m.h5", CLASSES)
