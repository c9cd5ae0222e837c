import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.config.classes import ClassTable
from pipeline.config.runtime import RuntimeSettings
from pipeline.data.folders import folder_files
from pipeline.errors import PseudomaskError
from pipeline.stages.add_images import Inputs, Outputs, Settings, run

CLASSES = ClassTable(names=("background", "bird", "boat"))
FOLDERS = {"207.swan": "bird", "030.canoe": "boat", "060.duck": "bird"}


@pytest.fixture
def world(tmp_path):
    for number, name in enumerate(FOLDERS):
        (tmp_path / "caltech" / name).mkdir(parents=True)
        for count in range(number + 1):
            Image.fromarray(np.zeros((20, 30 + count), np.uint8)).save(tmp_path / f"caltech/{name}/a_{count}.jpg")
    Manifest(CLASSES, (ImageRecord("x", "x.jpg", ("train",), 5, 6, (2,)),)).write(tmp_path / "m.parquet")
    return tmp_path


def _run(folder, **changes):
    settings = Settings(**({"root": "caltech", "folders": FOLDERS} | changes))
    job = Job("extra", "0" * 16, RuntimeSettings(data_root=folder), folder)
    run(settings, Inputs(folder / "m.parquet"), Outputs(folder / "out.parquet"), job)
    return Manifest.read(folder / "out.parquet")


def test_folders_become_a_split_with_one_tag_per_image(world):
    manifest = _run(world)
    assert manifest.records[0].id == "x"
    assert [(r.id, r.tags) for r in manifest.split("extra")] == [
        ("207.swan/a_0", (1,)),
        *(("030.canoe/a_0", (2,)), ("030.canoe/a_1", (2,))),
        *((f"060.duck/a_{n}", (1,)) for n in range(3)),
    ]
    assert len(manifest.split("train+extra")) == 7
    last = manifest.by_id["060.duck/a_2"]
    assert (last.path, last.height, last.width) == ("caltech/060.duck/a_2.jpg", 20, 32)


def test_the_files_that_enter_the_key_are_those_that_are_read(world):
    settings = Settings(root="caltech", folders=FOLDERS, limit=2)
    assert {p.relative_to(world).as_posix() for p in folder_files(settings, world)} == {
        r.path for r in _run(world, limit=2).split("extra")
    }
    assert len(_run(world, limit=2).split("extra")) == 5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"folders": {"207.swan": "brid"}}, "extra.folders.207.swan"),
        ({"folders": {"208.none": "bird"}}, "holds no image"),
        ({"split": "train"}, "has a split 'train' already"),
    ],
)
def test_mistakes_are_explained(world, changes, said):
    with pytest.raises(PseudomaskError, match=said):
        _run(world, **changes)


def test_an_id_is_not_taken_twice(world):
    Manifest(CLASSES, (ImageRecord("207.swan/a_0", "x.jpg", ("train",), 5, 6, (2,)),)).write(world / "m.parquet")
    with pytest.raises(PseudomaskError, match="has an image '207"):
        _run(world)
