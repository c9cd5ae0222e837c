import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from pipeline.artifacts.boxes import Box, object_id, write_boxes
from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.artifacts.masks import MaskStore, merge_masks
from pipeline.config.classes import ClassTable
from pipeline.config.runtime import RuntimeSettings
from pipeline.errors import PseudomaskError
from pipeline.stages import fuse_proposals, propose_grabcut, propose_groups, propose_mcg

CLASSES = ClassTable(names=("background", "disc", "square"))
SIZE = (60, 80)
HOSTILE = {
    "good": [Box(1, (16, 16, 64, 44))],
    "all": [Box(1, (0, 0, 80, 60))],
    "pixel": [Box(2, (7, 7, 8, 8))],
    "outside": [Box(1, (90, 70, 99, 99)), Box(2, (-20, -20, 200, 200))],
    "inverted": [Box(1, (50, 40, 10, 5))],
    "none": [],
    "many": [Box(1 + n % 2, (n % 60, n % 40, n % 60 + 9, n % 40 + 9)) for n in range(200)],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A red blob on a green ground under several names, each with boxes of its own kind."""
    folder = tmp_path_factory.mktemp("world")
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    blob = ((y - 30) / 12) ** 2 + ((x - 40) / 22) ** 2 <= 1
    noise = np.random.default_rng(0).normal(0, 6, (*SIZE, 3))
    image = (np.where(blob[..., None], (200, 40, 30), (60, 140, 50)) + noise).clip(0, 255).astype(np.uint8)
    candidates = np.empty(3, object)
    candidates[:] = [np.array([1]), np.array([2]), np.array([1, 2])]
    for name in HOSTILE:
        Image.fromarray(image).save(folder / f"{name}.png")
        savemat(folder / f"{name}.mat", {"superpixels": 1 + blob, "labels": candidates})
    records = tuple(ImageRecord(name, f"{name}.png", ("train",), *SIZE, None) for name in HOSTILE)
    Manifest(CLASSES, records).write(folder / "manifest.parquet")
    write_boxes(folder / "boxes.parquet", HOSTILE)
    return folder, blob


def job(folder, shard=(0, 1)):
    return Job("propose", "0" * 16, RuntimeSettings(device="cpu", threads=1, data_root=folder), folder, shard)


def propose(folder, stage, target, shard=(0, 1), /, **settings):
    inputs = stage.Inputs(folder / "manifest.parquet", folder / "boxes.parquet")
    stage.run(stage.Settings(split="train", **settings), inputs, stage.Outputs(target), job(folder, shard))
    return target


@pytest.fixture(scope="module")
def stores(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    return {
        stage.__name__.rpartition("_")[2]: propose(world[0], stage, folder / f"{stage.__name__}.h5", **settings)
        for stage, settings in ((propose_grabcut, {}), (propose_groups, {}), (propose_mcg, {"folder": "."}))
    }


@pytest.mark.parametrize("source", ["grabcut", "groups", "mcg"])
def test_every_box_gets_a_mask_of_its_class_within_itself(stores, source):
    found = MaskStore(stores[source])
    assert list(found.ids) == [object_id(name, n) for name, boxes in HOSTILE.items() for n in range(len(boxes))]
    for name, boxes in HOSTILE.items():
        for number, box in enumerate(boxes):
            mask = found[object_id(name, number)]
            assert set(np.unique(mask)) <= {0, box.class_index, 255}
            frame = np.zeros(SIZE, bool)
            x0, y0, x1, y1 = (max(0, side) for side in box.corners)
            frame[y0:y1, x0:x1] = True
            assert not mask[~frame].any()


def test_boxes_without_area_inside_the_image_are_background(stores):
    for path in stores.values():
        assert not MaskStore(path)[object_id("inverted", 0)].any()
        assert not MaskStore(path)[object_id("outside", 0)].any()


@pytest.mark.parametrize("stage", [propose_grabcut, propose_groups])
def test_shards_make_the_same_bytes(world, stores, tmp_path, stage):
    parts = [propose(world[0], stage, tmp_path / f"{part}.h5", (part, 3)) for part in range(3)]
    merge_masks(parts, tmp_path / "all.h5")
    whole = MaskStore(stores[stage.__name__.rpartition("_")[2]])
    merged = MaskStore(tmp_path / "all.h5")
    assert merged.ids == whole.ids
    assert all(np.array_equal(merged[name], whole[name]) for name in whole.ids)


def test_fused_masks_find_the_object_and_leave_doubt_open(world, stores, tmp_path):
    folder, blob = world
    two = {source: stores[source] for source in ("grabcut", "groups")}
    inputs = fuse_proposals.Inputs(folder / "manifest.parquet", folder / "boxes.parquet", two)
    outputs = fuse_proposals.Outputs(tmp_path / "fused.h5")
    fuse_proposals.run(fuse_proposals.Settings(split="train"), inputs, outputs, job(folder))
    fused = MaskStore(tmp_path / "fused.h5")
    assert list(fused.ids) == list(HOSTILE)
    assert not fused["none"].any()
    good = fused["good"]
    assert ((good == 1) & blob).sum() > 0.9 * blob.sum()
    assert (good[~blob] == 1).mean() < 0.02
    first, second = (MaskStore(path)[object_id("good", 0)] for path in two.values())
    assert np.array_equal(good == 255, (first != second) | (first == 255))


def test_a_collapsed_cut_is_ignored_filled_or_kept(world, tmp_path):
    """A single pixel of ground cannot be told from the ground around it."""
    write_boxes(tmp_path / "boxes.parquet", {"pixel": HOSTILE["pixel"]})
    found = {}
    for fallback in ("ignore", "box", "keep"):
        target = tmp_path / f"{fallback}.h5"
        inputs = propose_grabcut.Inputs(world[0] / "manifest.parquet", tmp_path / "boxes.parquet")
        settings = propose_grabcut.Settings(split="train", restart=False, fallback=fallback)
        propose_grabcut.run(settings, inputs, propose_grabcut.Outputs(target), job(world[0]))
        found[fallback] = int(MaskStore(target)[object_id("pixel", 0)][7, 7])
    assert found == {"ignore": 255, "box": 2, "keep": 0}


def test_an_edge_map_of_another_size_is_refused(world, tmp_path):
    edges = world[0] / "edges"
    edges.mkdir(exist_ok=True)
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(edges / "good.png")
    with pytest.raises(PseudomaskError, match=r"edge map of 'good' .* is 5x5, the image 80x60"):
        propose(world[0], propose_groups, tmp_path / "x.h5", edges="edges")
