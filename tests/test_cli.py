import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pipeline.artifacts.masks import MaskStore, MaskWriter
from pipeline.artifacts.scores import ScoreWriter
from pipeline.cli import app
from pipeline.config.classes import ClassTable
from pipeline.config.load import load_run, read_yaml
from pipeline.errors import PseudomaskError

ROOT = Path(__file__).parents[1]
CLASSES = ClassTable(names=("background", "cat"))
run = CliRunner().invoke


@pytest.fixture
def masks(tmp_path):
    with MaskWriter(tmp_path / "m.h5", CLASSES, stage="s") as writer:
        writer.add("a", np.eye(8, dtype=np.uint8))
    return str(tmp_path / "m.h5")


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from typer.testing import CliRunner; from pipeline.cli import app; "
        "r = CliRunner().invoke(app, ['stage', '--help']); assert r.exit_code == 0; "
        "sys.exit(str(sorted({'torch', 'numpy', 'pandas', 'snakemake', 'cv2', 'h5py'} & set(sys.modules))) "
        "if {'torch', 'numpy', 'pandas', 'snakemake', 'cv2', 'h5py'} & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_inspect_says_what_a_store_holds(masks):
    done = run(app, ["inspect", masks])
    assert "images" in done.output
    assert "12.50 %" in done.output
    assert "8 x 8" in run(app, ["inspect", masks, "a"]).output


def test_export_and_import_masks(masks, tmp_path):
    assert run(app, ["export", masks, str(tmp_path / "png")]).exit_code == 0
    done = run(app, ["import", "masks", str(tmp_path / "png"), str(tmp_path / "b.h5"), "--like", masks])
    assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(MaskStore(tmp_path / "b.h5")["a"], np.eye(8))


def test_export_takes_the_images_asked_for(tmp_path):
    with MaskWriter(tmp_path / "m.h5", CLASSES, stage="s") as writer:
        for image_id in ("a", "b", "c"):
            writer.add(image_id, np.eye(8, dtype=np.uint8))
    some = ["--only", "a", "--only", "c"]
    assert run(app, ["export", str(tmp_path / "m.h5"), str(tmp_path / "png"), *some]).output.startswith("2 masks")
    assert sorted(path.name for path in (tmp_path / "png").iterdir()) == ["a.png", "c.png"]
    run(app, ["export", str(tmp_path / "m.h5"), str(tmp_path / "some.h5"), "--to", "h5", *some])
    assert set(MaskStore(tmp_path / "some.h5").ids) == {"a", "c"}
    done = run(app, ["export", str(tmp_path / "m.h5"), str(tmp_path / "m.json"), "--to", "coco", *some])
    assert "leave it out with --to coco" in str(done.exception)


def test_evaluate_against_itself_is_perfect(masks):
    assert "mean IoU 100.00 %" in run(app, ["evaluate", masks, masks]).output


def test_evaluate_refuses_other_classes(masks, tmp_path):
    with MaskWriter(tmp_path / "dogs.h5", ClassTable(names=("background", "dog")), stage="s") as writer:
        writer.add("a", np.eye(8, dtype=np.uint8))
    done = run(app, ["evaluate", masks, str(tmp_path / "dogs.h5")])
    assert "has the classes background, cat, " in str(done.exception)
    assert isinstance(done.exception, PseudomaskError)


def test_the_crf_of_one_image_is_written_where_it_is_wanted(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    with ScoreWriter(tmp_path / "s.h5", CLASSES, "cam", stage="s") as writer:
        writer.add("a", np.eye(8, dtype=np.float32)[None], np.array([1]), (8, 8))
    target = tmp_path / "new/mask.png"
    command = ["crf", str(tmp_path / "a.png"), str(tmp_path / "s.h5"), "a", str(target)]
    done = run(app, [*command, "--preset", "foo"])
    assert isinstance(done.exception, PseudomaskError)
    assert "preset" in str(done.exception)
    assert run(app, command).exit_code == 0
    assert Image.open(target).size == (8, 8)


def test_a_mistake_is_one_line_without_traceback(tmp_path):
    command = [sys.executable, "-m", "pipeline.cli", "inspect", str(tmp_path / "none.h5")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_voc_and_coco_layouts_become_data_sets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PSEUDOMASK_DATA", raising=False)
    for folder in ("v/JPEGImages", "v/ImageSets/Segmentation", "v/SegmentationClass"):
        (tmp_path / folder).mkdir(parents=True)
    done = run(app, ["import", "voc", "v", "--name", "mine"])
    assert "VOC's layout" in str(done.exception)
    for split, image_id in (("train", "a"), ("val", "b")):
        (tmp_path / f"v/ImageSets/Segmentation/{split}.txt").write_text(f"{image_id}\n")
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / f"v/JPEGImages/{image_id}.jpg")
        Image.fromarray(np.eye(8, dtype=np.uint8) * 2).save(tmp_path / f"v/SegmentationClass/{image_id}.png")
    done = run(app, ["import", "voc", "v", "--name", "mine", "--classes", "cat,dog"])
    assert "configs/mine.yaml" in done.output
    done = run(app, ["import", "check", "configs/datasets/mine.yaml"])
    assert "split train: 1 images\n  cat 0, dog 1" in done.output

    annotation = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 1, 4, 4], "area": 16, "iscrowd": 0}
    instances = {
        "images": [{"id": 7, "file_name": "a.jpg", "height": 8, "width": 8}],
        "annotations": [annotation | {"segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]]}],
        "categories": [{"id": 3, "name": "dog"}],
    }
    (tmp_path / "one.json").write_text(json.dumps(instances))
    command = ["import", "coco", "--images", "v/JPEGImages", "--train", "one.json", "--val", "one.json", "--name", "c"]
    assert run(app, command).exit_code == 0
    done = run(app, ["import", "check", "configs/datasets/c.yaml"])
    assert "split val: 1 images\n  dog 1" in done.output


def test_own_images_become_a_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PSEUDOMASK_DATA", raising=False)
    (tmp_path / "photos").mkdir()
    for number in range(12):
        Image.new("RGB", (9, 7)).save(tmp_path / f"photos/p {number}.png")
    rows = "".join(f"p {number},{'cat;dog' if number % 3 else 'dog'}\n" for number in range(12))
    (tmp_path / "tags.csv").write_text("id,tags\n" + rows)
    done = run(app, ["import", "csv", "--images", "photos", "--table", "tags.csv", "--name", "mine"])
    assert done.exit_code == 0, done.output
    done = run(app, ["import", "check", "configs/datasets/mine.yaml"])
    assert done.exit_code == 0, done.output
    assert "split train: " in done.output
    (tmp_path / "tags.csv").write_text("id,tags\nnobody,cat\n")
    done = run(app, ["import", "csv", "--images", "photos", "--table", "tags.csv", "--name", "mine"])
    assert isinstance(done.exception, PseudomaskError)
    assert "'nobody'" in str(done.exception)
    for text, said in (
        ("id,tags\np 1\n", "names no class"),
        ("id,tags\na,cat\na,dog\n", "line 3: id 'a' is listed twice"),
    ):
        (tmp_path / "tags.csv").write_text(text)
        done = run(app, ["import", "csv", "--images", "photos", "--table", "tags.csv", "--name", "mine"])
        assert isinstance(done.exception, PseudomaskError)
        assert said in str(done.exception)
    (tmp_path / "tags.csv").unlink()
    done = run(app, ["import", "csv", "--images", "photos", "--table", "tags.csv", "--name", "mine"])
    assert "tags.csv does not exist" in str(done.exception)


def test_own_images_of_several_kinds_are_named_whole_and_none_need_be_kept_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PSEUDOMASK_DATA", raising=False)
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.jpg"):
        Image.new("RGB", (9, 7)).save(tmp_path / "photos" / name)
    (tmp_path / "photos/a.txt").write_text("no image")
    command = ["import", "csv", "--images", "photos", "--table", "tags.csv", "--name", "mine", "--val", "0"]
    (tmp_path / "tags.csv").write_text("id,tags\na,cat\nb,cat\n")
    assert "such as a.png" in str(run(app, command).exception)
    (tmp_path / "tags.csv").write_text("id,tags\na.png,cat\nb.jpg,cat\n")
    assert run(app, command).exit_code == 0
    assert "split train: 2 images" in run(app, ["import", "check", "configs/datasets/mine.yaml"]).output
    configs = tmp_path / "configs"
    shutil.copytree(ROOT / "configs/own", configs / "own")
    assert load_run(read_yaml(configs / "mine.yaml"), configs).predict.split == "train"


def test_doctor_names_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PSEUDOMASK_DATA", str(tmp_path / "nowhere"))
    done = run(app, ["doctor"])
    assert done.exit_code == 1
    assert "nowhere, which does not exist" in done.output
    assert "CRF pydensecrf" in done.output


def test_committed_schemas_are_current():
    from pathlib import Path

    from pipeline.config.load import schema_files

    folder = Path(__file__).parents[1] / "workflow/schemas"
    for name, text in schema_files().items():
        assert (folder / name).read_text() == text, "run `make schema`"
