import json
import pickle

import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.boxes import Box
from pipeline.artifacts.files import DigestCache
from pipeline.config.classes import ClassTable
from pipeline.config.data import DataSettings
from pipeline.data.importing import import_boxes, import_manifest, import_masks, source_files
from pipeline.data.tags import read_table
from pipeline.errors import PseudomaskError

CLASSES = ClassTable(names=("background", "cat", "dog"))
BOX = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"


@pytest.fixture
def voc(tmp_path):
    """Two images in VOC layout: `a` with a cat, `b b` (a blank in its id) with a cat and a dog."""
    for name in ("JPEGImages", "SegmentationClass", "Annotations", "ImageSets"):
        (tmp_path / name).mkdir()
    for number, image_id in enumerate(("a", "b b")):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"JPEGImages/{image_id}.jpg")
        mask = np.zeros((20, 30), np.uint8)
        mask[2:8, 3:9] = 1
        mask[10:12, 10:12] = 2 * number
        picture = Image.fromarray(mask)
        picture.putpalette(CLASSES.palette.ravel().tolist())
        picture.save(tmp_path / f"SegmentationClass/{image_id}.png")
        objects = BOX.format("cat", 4, 3, 9, 8) + (BOX.format("dog", 11, 11, 12, 12) if number else "")
        (tmp_path / f"Annotations/{image_id}.xml").write_text(f"<annotation>{objects}</annotation>")
    (tmp_path / "ImageSets/train.txt").write_text("a\nb b\n")
    return tmp_path


def settings(**changes):
    base = {"source": "voc", "classes": CLASSES, "splits": {"train": "ImageSets/train.txt"}, "tags": "boxes"}
    return DataSettings.model_validate({**base, **changes})


@pytest.mark.parametrize("tags", ["boxes", "masks"])
def test_voc_is_read(voc, tags):
    manifest, _ = import_manifest(settings(tags=tags), voc)
    assert [(r.id, r.height, r.width, r.tags) for r in manifest] == [("a", 20, 30, (1,)), ("b b", 20, 30, (1, 2))]
    assert dict(import_masks(settings(), voc, manifest))["a"][2, 3] == 1
    boxes = import_boxes(settings(), voc, manifest)
    assert boxes["a"] == [Box(1, (3, 2, 9, 8))]
    assert boxes["b b"] == [Box(1, (3, 2, 9, 8)), Box(2, (10, 10, 12, 12))]


def test_source_files_are_those_that_are_read(voc):
    def names(what, **changes):
        return [str(path.relative_to(voc)) for path in source_files(settings(**changes), voc, what)]

    assert names("images") == [
        "ImageSets/train.txt", "JPEGImages/a.jpg", "JPEGImages/b b.jpg", "Annotations/a.xml", "Annotations/b b.xml",
    ]  # fmt: skip
    assert names("boxes") == ["ImageSets/train.txt", "Annotations/a.xml", "Annotations/b b.xml"]
    assert names("masks") == ["ImageSets/train.txt", "SegmentationClass/a.png", "SegmentationClass/b b.png"]
    assert "SegmentationClass/a.png" in names("images", tags="masks")


@pytest.mark.parametrize("what", ["images", "masks", "boxes"])
def test_what_may_be_missing_stops_no_planning(voc, what, tmp_path):
    cache = DigestCache(tmp_path / "digests.sqlite")

    def plan(**changes):
        return cache.digests(source_files(settings(**changes), voc, what))

    (voc / "SegmentationClass/a.png").unlink()
    plan()
    no_jpeg(voc)
    (voc / "Annotations/a.xml").unlink()
    if what != "masks":
        with pytest.raises(PseudomaskError, match="does not exist"):
            plan()
    plan(bad_items="set_aside")
    manifest, _ = import_manifest(settings(bad_items="set_aside"), voc)
    assert set(dict(import_masks(settings(), voc, manifest))) == {"b b"}


def corrupt_jpeg(voc):
    content = (voc / "JPEGImages/a.jpg").read_bytes()
    (voc / "JPEGImages/a.jpg").write_bytes(content[:10])


def empty_jpeg(voc):
    (voc / "JPEGImages/a.jpg").write_bytes(b"")


def no_jpeg(voc):
    (voc / "JPEGImages/a.jpg").unlink()


def annotation(*box, name="cat"):
    def write(voc):
        (voc / "Annotations/a.xml").write_text(f"<annotation>{BOX.format(name, *box)}</annotation>")

    return write


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (corrupt_jpeg, "cannot be read"),
        (empty_jpeg, "is empty"),
        (no_jpeg, "does not exist"),
        (annotation(5, 5, 4, 9), "empty or inverted"),
        (annotation(1, 1, 31, 5), "leaves the image"),
        (annotation(0, 1, 5, 5), "leaves the image"),
        (annotation("x", 1, 5, 5), "lacks a number"),
        (annotation(1, 1, 5, 5, name="cta"), "did you mean 'cat'"),
    ],
)
def test_a_bad_item_is_named_or_set_aside(voc, damage, message):
    damage(voc)
    with pytest.raises(PseudomaskError, match=rf"'a'.*{message}"):
        import_manifest(settings(), voc)
    manifest, problems = import_manifest(settings(bad_items="set_aside"), voc)
    assert [record.id for record in manifest] == ["b b"]
    assert [problem.image_id for problem in problems] == ["a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("a\na\n", "line 2: id 'a' is listed twice"), ("\n", "is empty"), ("../a\n", "leads out of")],
)
def test_bad_id_lists_are_named(voc, text, message):
    (voc / "ImageSets/train.txt").write_text(text)
    with pytest.raises(PseudomaskError, match=message):
        import_manifest(settings(), voc)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((20, 31), np.uint8), "is 31x20, the image 30x20"),
        (np.full((20, 30), 9, np.uint8), None),
        (np.full((20, 30, 3), 7, np.uint8), r"colour \(7, 7, 7\)"),
        (np.zeros((20, 30), np.uint16), "pixels of type I;16"),
    ],
)
def test_bad_masks_are_named(voc, mask, message, tmp_path):
    manifest, _ = import_manifest(settings(), voc)
    Image.fromarray(mask).save(voc / "SegmentationClass/a.png")
    if message is None:  # an out-of-range index is found where masks are stored
        from pipeline.artifacts.masks import MaskWriter

        with pytest.raises(PseudomaskError, match="'a' holds value 9"), MaskWriter(tmp_path / "m.h5", CLASSES) as out:
            for image_id, found in import_masks(settings(), voc, manifest):
                out.add(image_id, found)
        return
    with pytest.raises(PseudomaskError, match=rf"'a'.*{message}"):
        dict(import_masks(settings(), voc, manifest))


def test_rgb_masks_in_class_colours_are_translated(voc):
    manifest, _ = import_manifest(settings(), voc)
    before = dict(import_masks(settings(), voc, manifest))["b b"]
    Image.fromarray(CLASSES.palette[before]).save(voc / "SegmentationClass/b b.png")
    np.testing.assert_array_equal(dict(import_masks(settings(), voc, manifest))["b b"], before)


@pytest.mark.parametrize("text", ["id,tags\na,cat\nb b,dog;cat\n", "id,cat,dog\na,1,0\nb b,1,1\n"])
def test_tag_tables(voc, text):
    (voc / "tags.csv").write_text(text)
    manifest, _ = import_manifest(settings(tags="table", table="tags.csv"), voc)
    assert [record.tags for record in manifest] == [(1,), (1, 2)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,tags\na,cow\n", r"line 2: class 'cow'"),
        ("id,cat,cow\na,1,0\n", "column 'cow'"),
        ("id,cat\na,yes\n", r"line 2: column 'cat' holds 'yes'"),
        ("name,tags\na,cat\n", "no column 'id'"),
        ("id,tags\na,cat\na,dog\n", "line 3: id 'a' is listed twice"),
        ("id,tags\nb b,cat\n", "'a' is not in the tag table"),
    ],
)
def test_bad_tag_tables_are_named(voc, text, message):
    (voc / "tags.csv").write_text(text)
    with pytest.raises(PseudomaskError, match=message):
        import_manifest(settings(tags="table", table="tags.csv"), voc)


def test_npy_dictionaries_are_read_without_running_anything(tmp_path):
    labels = {2007000032: np.array([1, 0], np.float32), "x": np.array([0, 1], np.float32)}
    np.save(tmp_path / "labels.npy", labels)
    assert read_table(tmp_path / "labels.npy", CLASSES) == {"2007_000032": (1,), "x": (2,)}

    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    content = np.empty((), object)
    content[()] = Evil()
    with (tmp_path / "evil.npy").open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump(content, stream)
    with pytest.raises(PseudomaskError, match=r"wants to run 'builtins\.print'"):
        read_table(tmp_path / "evil.npy", CLASSES)


def test_coco_is_read(tmp_path):
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((10, 12, 3), np.uint8)).save(tmp_path / "images/7.jpg")
    square = [2, 2, 6, 2, 6, 6, 2, 6]
    small = {"size": [10, 12], "counts": [41, 1, 78]}
    crowd = {"size": [10, 12], "counts": [0, 120]}
    rows = [
        {"id": 1, "category_id": 18, "segmentation": [square], "area": 16, "iscrowd": 0, "bbox": [2.4, 2.4, 3.2, 3.2]},
        {"id": 2, "category_id": 90, "segmentation": small, "area": 1, "iscrowd": 0, "bbox": [4, 1, 1, 1]},
        {"id": 3, "category_id": 18, "segmentation": crowd, "area": 120, "iscrowd": 1, "bbox": [0, 0, 12, 10]},
    ]
    rows = [row | {"image_id": 7} for row in rows]
    content = {
        "images": [{"id": 7, "file_name": "7.jpg", "height": 10, "width": 12}],
        "annotations": rows,
        "categories": [{"id": 18, "name": "dog"}, {"id": 90, "name": "brush"}],
    }
    (tmp_path / "train.json").write_text(json.dumps(content))
    data = DataSettings(source="coco", images="images", splits={"train": "train.json"})
    manifest, _ = import_manifest(data, tmp_path)
    assert manifest.classes.names == ("background", "dog", "brush")
    assert manifest.records[0].tags == (1, 2)
    mask = dict(import_masks(data, tmp_path, manifest))["7"]
    assert mask[3, 3] == 1
    assert mask[1, 4] == 2  # column-major run: pixel 41 is row 1 of column 4
    assert mask[9, 11] == 1  # the crowd, where nothing else is
    assert import_boxes(data, tmp_path, manifest) == {"7": [Box(1, (2, 2, 6, 6)), Box(2, (4, 1, 5, 2))]}
    twice = data.model_copy(update={"splits": {"train": "train.json", "again": "train.json"}})
    shared, _ = import_manifest(twice, tmp_path)
    assert shared.records[0].splits == ("train", "again")
    assert [image_id for image_id, _ in import_masks(twice, tmp_path, shared)] == ["7"]
    renamed = data.model_copy(
        update={"classes": ClassTable(names=("background", "hound")), "aliases": {"dog": "hound"}}
    )
    assert import_manifest(renamed, tmp_path)[0].records[0].tags == (1,)
    assert import_boxes(renamed, tmp_path, manifest) == {"7": [Box(1, (2, 2, 6, 6))]}
    absent = renamed.model_copy(update={"aliases": {}})
    assert import_manifest(absent, tmp_path)[0].records[0].tags == ()
    assert not len(import_manifest(absent.model_copy(update={"only_with_objects": True}), tmp_path)[0])
    reduced = data.model_copy(update={"classes": CLASSES})
    assert import_manifest(reduced, tmp_path)[0].records[0].tags == (2,)


def test_voc_mini_has_the_counts_of_its_readme(real_data):
    from pathlib import Path

    import yaml

    from pipeline.config.load import load_data

    config = yaml.safe_load((Path(__file__).parents[2] / "configs/datasets/voc-mini.yaml").read_text())
    manifest, _ = import_manifest(load_data(config), real_data)
    assert [len(manifest.split(split)) for split in ("train", "train_official", "val")] == [538, 298, 265]
    assert len(manifest) == 803
