"""Method `asdt`: the whole graph once, and what its switches take away."""

import csv
import json

import pytest
from conftest import Workflow

TINY = "tests/workflow/tiny_asdt.yaml"


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    workflow = Workflow(tmp_path_factory.mktemp("asdt"), TINY)
    workflow.run()
    return workflow


def test_from_tags_to_the_final_segmenter(done):
    results = done.folder / "results/tiny-asdt"
    metrics = json.loads((results / "evaluation/metrics.json").read_text())
    names = {entry["name"] for entry in metrics["entries"]}
    assert names >= {"CAM", "pseudo-mask", "pseudo-mask + CRF", "seg_teacher", "student", "maximum", "segmenter"}
    with (results / "train/curves.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    taught = "".join("S" if row["student, structure"] else "l" for row in rows)
    assert taught == "lSllSS"
    assert all(bool(row["student, location"]) != bool(row["student, structure"]) for row in rows)


def test_a_switch_of_the_network_trains_no_classifier_again(done):
    planned = done.planned("--config", "model__alternation__tau=4")
    assert {"asdt_train", "asdt_score", "asdt_train_segmenter"} <= planned
    assert "asdt_train_classifier" not in planned
    assert not done.planned("--config", "segmenter__training__steps=2") & {"asdt_train", "asdt_refine_crf"}


def test_the_classifier_is_that_of_the_baseline(done):
    baseline = ["classifier__training__steps=3", "classifier__training__batch_size=8", "run=base"]
    baseline += ["classifier__training__augment={long_side: [64, 80], crop: 64}", "runtime__workers=0"]
    cam = Workflow(done.folder, "configs/demo/cam.yaml")
    planned = cam.planned("--config", "data={scenes: {counts: {train: 16, val: 6}, size: 64}}", *baseline)
    assert "pseudo_infer_cams" in planned
    assert "cam_train_classifier" not in planned


def test_parts_can_be_left_out(tmp_path):
    workflow = Workflow(tmp_path, TINY)
    everything = workflow.planned()
    assert everything - workflow.planned("--config", "segmenter=null") == {"asdt_train_segmenter"}
    assert everything - workflow.planned("--config", "pseudo_masks__crf=null") == {"asdt_refine_crf"}
    without = workflow.planned("--config", "classifier=null", "model__start=backbone")
    assert everything - without == {"asdt_train_classifier"}


def test_strategy_i_has_a_student_alone(tmp_path):
    workflow = Workflow(tmp_path, TINY)
    refused = workflow.run("-n", "--config", "model__strategy=I", check=False)
    assert "strategy I has no output 'maximum'" in refused.stdout + refused.stderr
    done = workflow.run("-n", "--config", "model__strategy=I", "pseudo_masks__output=student")
    assert "predict_student" in done.stderr + done.stdout
    assert "predict_maximum" not in done.stderr + done.stdout
