import pickle

import h5py
import numpy as np
import pytest

from pipeline.artifacts.masks import MaskStore, MaskWriter, merge_masks
from pipeline.artifacts.scores import ScoreStore, ScoreWriter, merge_scores
from pipeline.config.classes import ClassTable
from pipeline.errors import PseudomaskError

CLASSES = ClassTable(names=("background", "cat", "dog"))
HOSTILE = ["plain", "../up", "a/b", "with space", "naïve 图", "semi;$(colon)", ".", "a.b"]


def write(path, ids, value=1):
    with MaskWriter(path, CLASSES, stage="test") as writer:
        for image_id in ids:
            writer.add(image_id, np.full((4, 6), value, np.uint8))


def test_masks_come_back_under_their_ids(tmp_path):
    with MaskWriter(tmp_path / "masks.h5", CLASSES) as writer:
        for number, image_id in enumerate(HOSTILE):
            writer.add(image_id, np.full((number + 1, 3), number % 3, np.uint8))
    store = MaskStore(tmp_path / "masks.h5")
    assert list(store.ids) == HOSTILE
    for number, image_id in enumerate(HOSTILE):
        np.testing.assert_array_equal(store[image_id], np.full((number + 1, 3), number % 3))


def test_masks_are_hdf5_images_any_viewer_shows(tmp_path):
    write(tmp_path / "masks.h5", ["x"])
    with h5py.File(tmp_path / "masks.h5") as file:
        image = file["masks/x"]
        assert image.attrs["CLASS"] == b"IMAGE"
        assert image.attrs["IMAGE_SUBCLASS"] == b"IMAGE_INDEXED"
        np.testing.assert_array_equal(file[image.attrs["PALETTE"]][()], CLASSES.palette)
        assert image.chunks == (4, 6)
        assert list(file.attrs["class_names"]) == list(CLASSES.names)


def test_an_error_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeError), MaskWriter(tmp_path / "masks.h5", CLASSES) as writer:
        writer.add("x", np.zeros((2, 2), np.uint8))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.full((2, 2), 3, np.uint8), "holds value 3; allowed: 0..2 and 255"),
        (np.zeros((2, 2), np.int64), "expected uint8"),
        (np.zeros((2, 2, 3), np.uint8), "expected uint8"),
    ],
)
def test_bad_masks_are_named(tmp_path, mask, message):
    with pytest.raises(PseudomaskError, match=f"'im1'.*{message}"), MaskWriter(tmp_path / "m.h5", CLASSES) as writer:
        writer.add("im1", mask)


def test_double_ids_are_refused(tmp_path):
    with pytest.raises(PseudomaskError, match="'a' is listed twice"):
        write(tmp_path / "m.h5", ["a", "a"])


def test_merge_keeps_order_palette_and_bytes(tmp_path):
    write(tmp_path / "0.h5", ["b", "a"], 1)
    write(tmp_path / "1.h5", ["d", "c"], 2)
    merge_masks([tmp_path / "0.h5", tmp_path / "1.h5"], tmp_path / "all.h5")
    merge_masks([tmp_path / "0.h5", tmp_path / "1.h5"], tmp_path / "again.h5")
    store = MaskStore(tmp_path / "all.h5")
    assert store.ids == ("b", "a", "d", "c")
    assert store["c"][0, 0] == 2
    assert (tmp_path / "all.h5").read_bytes() == (tmp_path / "again.h5").read_bytes()
    with h5py.File(tmp_path / "all.h5") as file:
        np.testing.assert_array_equal(file[file["masks/c"].attrs["PALETTE"]][()], CLASSES.palette)


def test_an_image_costs_little_beside_its_pixels(tmp_path):
    for shard in (0, 1):
        write(tmp_path / f"{shard}.h5", [f"image{shard}{number:03d}" for number in range(500)])
    merge_masks([tmp_path / "0.h5", tmp_path / "1.h5"], tmp_path / "all.h5")
    for name, count in (("0.h5", 500), ("all.h5", 1000)):
        with h5py.File(tmp_path / name) as file:
            pixels = sum(image.id.get_storage_size() for image in file["masks"].values())
        assert (tmp_path / name).stat().st_size - pixels < 600 * count, name


def test_merge_refuses_an_image_in_two_shards(tmp_path):
    write(tmp_path / "0.h5", ["a"])
    write(tmp_path / "1.h5", ["a"])
    with pytest.raises(PseudomaskError, match="'a' is in two"):
        merge_masks([tmp_path / "0.h5", tmp_path / "1.h5"], tmp_path / "all.h5")
    assert not (tmp_path / "all.h5").exists()


def test_store_reads_in_another_process_after_pickling(tmp_path):
    write(tmp_path / "m.h5", ["a"])
    store = MaskStore(tmp_path / "m.h5")
    assert store["a"].sum() == 24
    assert pickle.loads(pickle.dumps(store))["a"].sum() == 24  # noqa: S301


def test_errors_of_reading_name_file_and_remedy(tmp_path):
    with pytest.raises(PseudomaskError, match="does not exist"):
        MaskStore(tmp_path / "none.h5")
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n")
    with pytest.raises(PseudomaskError, match=r"cut\.h5 is damaged"):
        MaskStore(tmp_path / "cut.h5")
    write(tmp_path / "m.h5", ["a"])
    with pytest.raises(PseudomaskError, match="is no scores store"):
        ScoreStore(tmp_path / "m.h5")
    with pytest.raises(PseudomaskError, match="holds no image 'z'"):
        MaskStore(tmp_path / "m.h5")["z"]


def test_scores_round_trip_with_empty_and_partial_classes(tmp_path):
    values = np.random.default_rng(0).random((2, 3, 5), np.float32)
    with ScoreWriter(tmp_path / "0.h5", CLASSES, "cam") as writer:
        writer.add("a", values, np.array([1, 2]), (12, 20))
    with ScoreWriter(tmp_path / "1.h5", CLASSES, "cam") as writer:
        writer.add("none", np.zeros((0, 3, 5)), np.array([], int), (12, 20))
    merge_scores([tmp_path / "0.h5", tmp_path / "1.h5"], tmp_path / "s.h5")
    store = ScoreStore(tmp_path / "s.h5")
    found = store["a"]
    np.testing.assert_array_equal(found.values, values.astype(np.float16).astype(np.float32))
    assert (list(found.classes), found.size, found.kind) == ([1, 2], (12, 20), "cam")
    assert store["none"].values.shape == (0, 3, 5)


@pytest.mark.parametrize(
    ("values", "classes", "message"),
    [
        (np.full((1, 2, 2), np.nan), [1], "NaN"),
        (np.zeros((2, 2, 2)), [1], "K = 1"),
        (np.zeros((1, 2, 2)), [3], r"outside 0\.\.2"),
    ],
)
def test_bad_scores_are_named(tmp_path, values, classes, message):
    with pytest.raises(PseudomaskError, match=message), ScoreWriter(tmp_path / "s.h5", CLASSES, "cam") as writer:
        writer.add("im1", values, np.array(classes), (4, 4))


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_damaged_images_are_named_never_returned(tmp_path, damage):
    path = tmp_path / "masks.h5"
    mask = np.random.default_rng(0).integers(0, 3, (60, 80)).astype(np.uint8)
    with MaskWriter(path, CLASSES) as writer:
        writer.add("x", mask)
    with h5py.File(path) as file:
        chunk = file["masks/x"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: chunk.byte_offset + chunk.size // 2]
    else:
        content[chunk.byte_offset + chunk.size // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(PseudomaskError, match=r"masks.h5.* damaged.*verify --remove"):
        MaskStore(path)["x"]
