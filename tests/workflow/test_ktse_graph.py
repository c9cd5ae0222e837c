"""Method `ktse`: the whole graph once, and what its switches take away."""

import csv
import json

from conftest import Workflow

from pipeline.artifacts.masks import MaskStore


def planned(folder, *overrides, config="configs/demo/ktse.yaml"):
    return Workflow(folder, config).planned("--config", "seed=0", *overrides)


def test_from_tags_to_joined_networks(tmp_path):
    Workflow(tmp_path, "tests/workflow/tiny_ktse.yaml").run()
    results = tmp_path / "results/tiny-ktse"
    metrics = json.loads((results / "evaluation/metrics.json").read_text())
    names = {entry["name"] for entry in metrics["entries"]}
    assert names >= {"CAM", "CAM + IRN", "pseudo-mask", "segmenter", "segmenter + CRF"}
    with (results / "train_classifier/curves.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    parts = {"transfer", "anchor", "inter", "simulated", "global", "local"}
    assert all(rows[0][name] == "" for name in parts), "the warm-up knows the tags alone"
    assert all(rows[-1][name] != "" for name in parts)
    trust = MaskStore(results / "confidence/masks.h5")
    assert trust.classes.names == ("uncertain", "trusted")
    assert len(trust.ids) == 12


def test_every_way_from_maps_to_masks_can_be_left_out(tmp_path):
    maps = {"pseudo_infer_cams", "pseudo_search_threshold", "pseudo_label"}
    irn = {"pseudo_irn_labels", "pseudo_irn_train", "pseudo_irn_walk"}

    def pseudo(*overrides, method="ktse"):
        rules = planned(tmp_path, *overrides, config=f"configs/demo/{method}.yaml")
        return {name for name in rules if name.startswith("pseudo_")}

    assert pseudo() == maps | irn | {"pseudo_crf"}
    assert pseudo("refine__crf=null") == maps | irn
    assert pseudo("refine__crf=null", method="cam") == maps
    assert pseudo("refine__crf=null", "refine__par={}", method="cam") == maps | {"pseudo_par"}


def test_the_background_score_after_irn_is_searched_or_given(tmp_path):
    workflow = Workflow(tmp_path, "configs/demo/ktse.yaml")
    assert workflow.counted("--config", "seed=0")["pseudo_search_threshold"] == 2
    assert workflow.counted("--config", "refine__irn__threshold=0.3")["pseudo_search_threshold"] == 1
    done = workflow.dry("--config", "threshold=null", check=False)
    assert "refine.irn.threshold: null needs a labelled split" in done.stdout + done.stderr


def test_batch_norm_without_statistics_is_refused(tmp_path):
    done = Workflow(tmp_path, "configs/demo/ktse.yaml").dry("--config", "classifier__warmup_steps=0", check=False)
    assert "set classifier.warmup_steps" in done.stdout + done.stderr


def test_one_network_on_the_masks_needs_no_trust(tmp_path):
    rules = planned(tmp_path, "cotraining=null", "segmenter={network: {decoder: deeplabv2}}")
    assert "ktse_confidence" not in rules
    assert "ktse_train_segmenter" in rules
    assert "ktse_confidence" in planned(tmp_path, "cotraining__networks=1")
