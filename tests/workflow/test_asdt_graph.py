"""Method `asdt`: the whole graph once, and what its switches take away."""

import csv
import json

import numpy as np
from conftest import Workflow
from PIL import Image

TINY = "tests/workflow/tiny_asdt.yaml"


def keys(workflow, *overrides):
    """Keys of the stages each rule would make in an empty folder."""
    done = workflow.dry(*(["--config", *overrides] if overrides else []))
    found, rule = {}, ""
    for line in (done.stdout + done.stderr).splitlines():
        words = line.split()
        if line.startswith(("rule ", "localrule ")):
            rule = words[1].rstrip(":")
        elif words[:1] == ["wildcards:"]:
            found.setdefault(rule, set()).update(w.removeprefix("key=").rstrip(",") for w in words if "key=" in w)
    return found


def test_from_tags_to_the_final_segmenter(tmp_path):
    Workflow(tmp_path, TINY).run()
    results = tmp_path / "results/tiny-asdt"
    metrics = json.loads((results / "evaluation/metrics.json").read_text())
    names = {entry["name"] for entry in metrics["entries"]}
    assert names >= {"CAM", "pseudo-mask", "pseudo-mask + CRF", "seg_teacher", "student", "maximum", "segmenter"}
    with (results / "train/curves.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    taught = "".join("S" if row["student, structure"] else "l" for row in rows)
    assert taught == "lSllSS"
    assert all(bool(row["student, location"]) != bool(row["student, structure"]) for row in rows)


def test_switches_and_methods_share_the_classifier(tmp_path):
    workflow = Workflow(tmp_path, TINY)
    first, second = keys(workflow), keys(workflow, "model__alternation__tau=4")
    assert first["asdt_train_classifier"] == second["asdt_train_classifier"]
    for rule in ("asdt_train", "asdt_score", "asdt_refine_crf", "asdt_train_segmenter"):
        assert not first[rule] & second[rule]
    demo, cam = (Workflow(tmp_path, f"configs/demo/{method}.yaml") for method in ("asdt", "cam"))
    assert keys(demo)["asdt_train_classifier"] == keys(cam)["cam_train_classifier"]


def test_extra_images_are_trained_on_and_get_masks(tmp_path):
    (tmp_path / "more/bus").mkdir(parents=True)
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "more/bus/a.jpg")
    extra = ["extra={root: more, folders: {bus: disc}}", "split=train+extra"]
    workflow = Workflow(tmp_path, TINY)
    first, second = keys(workflow), keys(workflow, *extra)
    assert "data_add_images" in second
    assert first["data_truth"] == second["data_truth"]
    assert not first["asdt_score"] & second["asdt_score"]


def test_parts_can_be_left_out(tmp_path):
    workflow = Workflow(tmp_path, TINY)
    everything = workflow.planned()
    assert everything - workflow.planned("--config", "segmenter=null") == {"asdt_train_segmenter"}
    without_crf = workflow.planned("--config", "pseudo_masks__crf=null")
    assert everything - without_crf == {"asdt_refine_crf", "merge_masks"}
    without = workflow.planned("--config", "classifier=null", "model__start=backbone")
    assert everything - without == {"asdt_train_classifier"}


def test_strategy_i_has_a_student_alone(tmp_path):
    workflow = Workflow(tmp_path, TINY)
    refused = workflow.dry("--config", "model__strategy=I", check=False)
    assert "strategy I has no output 'maximum'" in refused.stdout + refused.stderr
    done = workflow.dry("--config", "model__strategy=I", "pseudo_masks__output=student")
    assert "predict_student" in done.stderr + done.stdout
    assert "predict_maximum" not in done.stderr + done.stdout
