"""Real Snakemake runs of the tiny configuration."""

import base64
import json
import random
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Workflow, copy_of, kill_session, losses

from pipeline.artifacts.export import from_png, to_png
from pipeline.artifacts.masks import MaskStore, MaskWriter
from pipeline.config.classes import ClassTable

STORES = ("infer_cams/scores.h5", "label_cams/masks.h5", "pseudo_masks/masks.h5", "crf_segmenter/masks.h5")
WEIGHTS = ("train_classifier/weights.safetensors", "train_segmenter/weights.safetensors")


def contents(workflow: Workflow) -> dict[str, bytes]:
    results = workflow.folder / "results/tiny"
    return {name: (results / name).read_bytes() for name in (*STORES, *WEIGHTS)}


def test_every_stage_leaves_its_files_and_provenance(finished):
    results = finished.folder / "results/tiny"
    metrics = json.loads((results / "evaluation/metrics.json").read_text())
    assert {entry["name"] for entry in metrics["entries"]} >= {"CAM", "pseudo-mask", "segmenter", "segmenter + CRF"}
    for entry in metrics["entries"]:
        assert entry["split"]
        assert entry["images"] > 0
        assert "seed" in entry
    assert "<html" in (results / "report/index.html").read_text()
    for link in results.iterdir():
        if link.is_symlink():
            facts = json.loads((link / "provenance.json").read_text())
            assert facts["key"] == link.resolve().name
            assert facts["wall_seconds"] >= 0


def test_running_again_does_nothing(finished):
    assert "Nothing to be done" in finished.run().stderr


def test_lost_metadata_changes_nothing(finished):
    shutil.rmtree(finished.folder / ".snakemake/metadata")
    assert finished.planned() == set()


def test_the_dry_run_says_which_setting_changed(finished):
    done = finished.dry("--config", "classifier__training__steps=3")
    said = done.stdout + done.stderr
    assert "train_classifier: setting settings.training.steps: 6 -> 3" in said
    assert "infer_cams: input weights" in said


def test_a_failed_stage_says_why_on_screen_and_in_its_log(finished, tmp_path):
    workflow = copy_of(finished, tmp_path, without=("infer_cams",))
    image = min((tmp_path / "results/tiny/scenes/scenes/JPEGImages").iterdir())
    image.write_bytes(image.read_bytes()[:200])
    done = workflow.run("--keep-going", check=False)
    assert done.returncode
    logs = {log.name: log.read_text() for log in (tmp_path / "results/tiny/infer_cams/shards").glob("*.log")}
    (said,) = [line for line in logs["0-of-2.log"].splitlines() if image.stem in line]
    assert said in done.stdout + done.stderr
    assert "results/tiny/<stage>/log.txt" in done.stderr
    assert (tmp_path / "results/tiny/infer_cams/shards/1-of-2.h5").exists()


def test_mistakes_are_shown_as_a_table(finished):
    done = finished.dry("--config", "sede=1", check=False)
    assert done.returncode != 0
    assert "did you mean 'seed'?" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


def test_a_failing_stage_fails_the_run(finished):
    done = finished.run("--config", "classifier__training__optimiser__lr=1e30", "run=broken", check=False)
    assert done.returncode != 0
    assert "is not finite" in done.stdout + done.stderr


def test_sharding_changes_no_content(finished, tmp_path):
    other = copy_of(finished, tmp_path / "copy", without=("infer_cams", "label_cams"))
    other.run("--config", "runtime__shards=1", "--until", "pseudo_label")
    assert len(list((other.folder / "results/tiny/infer_cams/shards").glob("*.json"))) == 1
    name = "results/tiny/label_cams/masks.h5"
    assert (other.folder / name).read_bytes() == (finished.folder / name).read_bytes()


def test_rulegraph_names_the_stages_of_the_method(finished):
    graph = finished.run("--rulegraph").stdout
    assert "cam_train_classifier" in graph
    assert "pseudo_crf" in graph


def test_lint_is_clean():
    done = subprocess.run(Workflow(ROOT).command("--lint"), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_killed_at_any_moment_it_ends_with_the_same_bytes(finished, tmp_path):
    """SIGKILL of Snakemake and all its jobs at random moments, then run again."""
    workflow = Workflow(tmp_path)
    chance = random.Random(7)
    for _ in range(2):
        process = workflow.start()
        time.sleep(chance.uniform(5, 11))
        kill_session(process)
        workflow.run("--unlock")
    workflow.run()
    assert contents(workflow) == contents(finished)
    assert not list((Path(tmp_path) / "store").rglob(".*.h5"))


def test_snakemakes_marks_of_incomplete_files_stop_nothing(finished, tmp_path):
    """A killed run leaves marks; with them Snakemake 9.27 made one file, called the run finished and left the rest."""
    copy = copy_of(finished, tmp_path / "copy")
    (scores,) = (copy.folder / "store/infer_cams").glob("*/scores.h5")
    scores.unlink()
    shard = scores.parent / "shards/0-of-2.h5"
    shard.touch()
    mark = base64.b64encode(str(shard.relative_to(copy.folder)).encode()).decode()
    (copy.folder / ".snakemake/incomplete").mkdir(exist_ok=True)
    (copy.folder / ".snakemake/incomplete" / mark).touch()
    shutil.rmtree(copy.folder / "store/report")
    assert {"merge_scores", "report_the_run"} <= copy.planned()
    assert {"merge_scores", "report_the_run"} <= copy.planned("--rerun-incomplete")


def test_two_processes_train_as_one(finished, tmp_path, monkeypatch):
    """Same effective batch, same losses within rounding: batch norm sees all images.

    Also within a job of SLURM's: Fabric by itself would take its one task for both.
    """
    for name, value in (("JOB_NAME", "stage"), ("NTASKS", "1"), ("PROCID", "0"), ("LOCALID", "0"), ("NODEID", "0")):
        monkeypatch.setenv(f"SLURM_{name}", value)

    def trained(name, **settings):
        workflow = copy_of(finished, tmp_path / name, without=("train_classifier",))
        overrides = [f"{key}={value}" for key, value in settings.items()]
        workflow.run("--config", *overrides, "--until", "cam_train_classifier")
        return losses(workflow)

    assert trained("two", runtime__devices=2) == pytest.approx(trained("one", runtime__devices=1), rel=1e-5)


def test_corrected_masks_rerun_only_what_learns_from_them(finished, tmp_path):
    store = finished.folder / "results/tiny/pseudo_masks/masks.h5"
    to_png(MaskStore(store), tmp_path / "png", MaskStore(store).ids[:2])
    from_png(tmp_path / "png", tmp_path / "mine.h5", MaskStore(store).classes, MaskStore(store))
    planned = finished.planned("--config", f"given_masks={tmp_path / 'mine.h5'}")
    assert planned == {
        "cam_train_segmenter", "predict", "merge_scores", "label_predictions", "predict_crf", "merge_masks",
        "evaluation_table", "report_the_run",
    }  # fmt: skip


def test_a_run_may_end_with_its_masks(finished):
    assert finished.planned("--config", "segmenter=null") == {"evaluation_table", "report_the_run"}
    remade = {"pseudo_label", "pseudo_par", "pseudo_crf", "merge_scores", "merge_masks", "report_the_run"}
    assert finished.planned("--config", "segmenter=null", "threshold=null") == remade


def test_a_seminar_has_as_many_primary_models_as_asked_for(tmp_path):
    workflow = Workflow(tmp_path, "configs/demo/seminar.yaml")
    for modules in (0, 3):
        rules = workflow.counted("--config", f"modules={modules}")
        assert rules["seminar_train_ancillary"] == 1
        assert rules["seminar_train_primary"] == modules
        assert rules["seminar_heterogeneous_labels"] == modules
        assert rules["predict"] == modules + 1


def test_given_masks_take_the_place_of_the_ancillary_models(tmp_path):
    with MaskWriter(tmp_path / "mine.h5", ClassTable(names=("background", "cat")), stage="s") as writer:
        writer.add("a", np.zeros((4, 4), np.uint8))
    workflow = Workflow(tmp_path, "configs/demo/seminar.yaml")
    rules = workflow.counted("--config", "given_masks=mine.h5", "pseudo__mode=offline")
    assert rules["seminar_train_primary"] == 1
    assert rules["seminar_heterogeneous_labels"] == 0
