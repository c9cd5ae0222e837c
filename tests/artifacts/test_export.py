import tarfile

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from pipeline.artifacts.export import file_name, from_png, to_coco, to_h5, to_png, to_voc
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
    assert to_png(store, tmp_path / "png", IDS) == len(IDS)
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


def test_the_archive_for_voc_comes_back_bit_for_bit(tmp_path):
    draw = np.random.default_rng(3)
    found = {f"2008_{number:06d}": draw.integers(0, 3, (12, 17)).astype(np.uint8) for number in range(5)}
    with MaskWriter(tmp_path / "m.h5", CLASSES, stage="s") as writer:
        for image_id, mask in found.items():
            writer.add(image_id, mask)
    assert to_voc(MaskStore(tmp_path / "m.h5"), tmp_path / "results.tar.gz") == 5
    with tarfile.open(tmp_path / "results.tar.gz") as archive:
        assert archive.getnames() == [f"results/VOC2012/Segmentation/comp6_test_cls/{name}.png" for name in found]
        archive.extractall(tmp_path / "out", filter="data")
    from_png(tmp_path / "out/results/VOC2012/Segmentation/comp6_test_cls", tmp_path / "back.h5", CLASSES)
    assert equal(MaskStore(tmp_path / "back.h5"), MaskStore(tmp_path / "m.h5"))
    first = (tmp_path / "results.tar.gz").read_bytes()
    to_voc(MaskStore(tmp_path / "m.h5"), tmp_path / "results.tar.gz")
    assert (tmp_path / "results.tar.gz").read_bytes() == first


def test_voc_gets_no_pixels_without_a_label(store, tmp_path):
    with pytest.raises(PseudomaskError, match="has pixels without a label"):
        to_voc(store, tmp_path / "results.tar.gz")
    assert not list(tmp_path.glob("*.gz"))


def test_all_of_a_store_comes_back_from_h5(store, tmp_path):
    to_h5(store, tmp_path / "all.h5", IDS)
    assert equal(MaskStore(tmp_path / "all.h5"), store)
    assert MaskStore(tmp_path / "all.h5").classes == store.classes


def test_corrected_masks_take_their_place_among_the_others(store, tmp_path):
    to_png(store, tmp_path / "png", ["plain", "a/b c"])
    mine = np.full((7, 9), 2, np.uint8)
    Image.fromarray(mine).save(tmp_path / "png/plain.png")
    assert from_png(tmp_path / "png", tmp_path / "new.h5", CLASSES, store) == 2
    found = MaskStore(tmp_path / "new.h5")
    assert set(found.ids) == set(IDS)
    np.testing.assert_array_equal(found["plain"], mine)
    assert all(np.array_equal(found[image_id], store[image_id]) for image_id in IDS if image_id != "plain")
    Image.fromarray(mine[:5]).save(tmp_path / "png/plain.png")
    with pytest.raises(PseudomaskError, match=r"plain\.png is 9x5, its mask in .* is 9x7"):
        from_png(tmp_path / "png", tmp_path / "new.h5", CLASSES, store)
    (tmp_path / "png/plain.png").rename(tmp_path / "png/nobody.png")
    with pytest.raises(PseudomaskError, match="holds no image 'nobody'"):
        from_png(tmp_path / "png", tmp_path / "new.h5", CLASSES, store)
