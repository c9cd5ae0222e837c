import numpy as np
import pytest

from pipeline.config.data import DataSettings
from pipeline.config.scenes import SceneSettings
from pipeline.data.importing import import_manifest, import_masks
from pipeline.data.scenes import class_table, make_scene, write_voc_layout

SETTINGS = SceneSettings(counts={"train": 6, "val": 3}, size=64)


def test_a_scene_depends_on_seed_split_and_index_alone():
    again = make_scene(SceneSettings(counts={"train": 99, "val": 1}, size=64), "train", 3)
    scene = make_scene(SETTINGS, "train", 3)
    np.testing.assert_array_equal(scene.image, again.image)
    assert not np.array_equal(scene.image, make_scene(SETTINGS, "val", 2).image)
    assert not np.array_equal(scene.image, make_scene(SETTINGS.model_copy(update={"seed": 1}), "train", 3).image)


@pytest.mark.parametrize("index", range(20))
def test_labels_agree_with_each_other(index):
    scene = make_scene(SceneSettings(size=96), "train", index)
    painted = np.zeros_like(scene.mask)
    for instance in scene.instances:
        x0, y0, x1, y1 = instance.box
        assert instance.mask[y0:y1, x0:x1].sum() == instance.mask.sum() >= 12
        painted[instance.mask] = instance.class_index
    np.testing.assert_array_equal(painted, scene.mask)


def test_the_voc_layout_reads_back_exactly(tmp_path):
    write_voc_layout(SETTINGS, tmp_path / "scenes")
    data = DataSettings(
        source="voc",
        root="scenes",
        classes=class_table(SETTINGS),
        extension=".png",
        splits={split: f"ImageSets/{split}.txt" for split in SETTINGS.counts},
    )
    manifest, problems = import_manifest(data, tmp_path)
    masks = dict(import_masks(data, tmp_path, manifest))
    assert not problems
    assert [len(manifest.split(split)) for split in ("train", "val")] == [6, 3]
    for record in manifest:
        split, number = record.id.split("_")
        scene = make_scene(SETTINGS, split, int(number))
        np.testing.assert_array_equal(masks[record.id], scene.mask)
        assert record.tags == tuple(sorted({instance.class_index for instance in scene.instances}))
