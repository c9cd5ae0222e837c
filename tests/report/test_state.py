"""How far a run is, told from its folder alone."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.artifacts.masks import MaskWriter
from pipeline.artifacts.scores import ScoreWriter
from pipeline.cli import app
from pipeline.config.classes import ClassTable
from pipeline.report.address import page_address
from pipeline.report.terminal import look

CLASSES = ClassTable(names=("background", "cat"))


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A run of four stages: two done, one at work, one not begun."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PSEUDOMASK_DATA", raising=False)
    run = tmp_path / "results/mine"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("method: cam\n")
    manifest = "store/import_data/1/manifest.parquet"
    stages = {
        "data": ("import_data/1", {}),
        "cams": ("infer_cams/2", {"manifest": manifest}),
        "masks": ("refine_crf/3", {"manifest": manifest, "scores": "store/infer_cams/2/scores.h5"}),
        "report": ("report/4", {"masks": {"mask": "store/refine_crf/3/masks.h5"}}),
    }
    for name, (place, inputs) in stages.items():
        folder = tmp_path / "store" / place
        folder.mkdir(parents=True)
        kind, key = place.split("/")
        spec = {"name": name, "kind": kind, "key": key, "settings": {}, "code": {}, "inputs": inputs}
        (folder / "stage.json").write_text(json.dumps(spec | {"runtime": {}}))
        (run / name).symlink_to(f"../../store/{place}")
    facts = {"wall_seconds": 2, "peak_memory_mib": 1, "device": "CPU", "started": "", "name": "data", "key": "1"}
    for done in ("import_data/1", "infer_cams/2"):
        (tmp_path / "store" / done / "provenance.json").write_text(json.dumps(facts))
    (tmp_path / "store/refine_crf/3/log.txt").write_text("3 of 8 images\n")
    Image.fromarray(np.full((8, 8, 3), 128, np.uint8)).save(tmp_path / "a.png")
    Manifest(CLASSES, (ImageRecord("a", "a.png", ("train",), 8, 8, (1,)),)).write(tmp_path / manifest)
    return tmp_path


def test_every_stage_says_its_state(world):
    said = CliRunner().invoke(app, ["inspect", "results/mine"]).output
    assert [line.strip().split(maxsplit=1) for line in said.splitlines()] == [
        ["data", "2.0 s"],
        ["cams", "2.0 s"],
        ["masks", "begun, not done"],
        ["report", "waiting"],
    ]


def test_a_run_without_a_report_shows_its_graph(world):
    address = page_address(Path("results/mine"), None)
    page = (world / "results/mine/state.html").read_text()
    assert address.endswith("results/mine/state.html")
    assert "2 of 4 stages done" in page
    assert [page.count(f"<g class='{state}'") for state in ("done", "begun", "waiting")] == [2, 1, 1]
    (world / "store/report/4/index.html").touch()
    assert page_address(Path("results/mine"), None).endswith("results/mine/report/index.html")


def test_masks_and_activations_lie_over_the_photograph(world):
    file = world / "results/mine/masks/masks.h5"
    with MaskWriter(file, CLASSES) as masks:
        masks.add("a", np.eye(8, dtype=np.uint8))
        masks.add("b", np.eye(8, dtype=np.uint8))
    with ScoreWriter(world / "store/infer_cams/2/scores.h5", CLASSES, "cam") as scores:
        scores.add("a", np.full((1, 2, 2), 0.5, np.float32), np.array([1]), (8, 8))
    drawn, facts = look(file, "a")
    assert drawn[0, 1].tolist() == [128, 128, 128]
    assert drawn[0, 0].tolist() != [128, 128, 128]
    assert ("cat", "12.50 %") in facts
    assert look(file, "b")[0][0, 1].tolist() == [0, 0, 0]  # an image the manifest does not know: colours alone
    _, facts = look(world / "store/infer_cams/2/scores.h5", "a")
    assert ("cat", "up to 0.50, mean 0.50") in facts
