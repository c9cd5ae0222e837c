"""Method `mdh`: the whole graph once, and what its switches change."""

import json

import numpy as np
import pytest
from conftest import Workflow

from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.masks import MaskStore

DEMO = "configs/demo/mdh.yaml"


def test_from_boxes_to_a_fine_tuned_network(tmp_path):
    Workflow(tmp_path, "tests/workflow/tiny_mdh.yaml").run()
    results = tmp_path / "results/tiny-mdh"
    rows = {row["name"]: row for row in json.loads((results / "evaluation/metrics.json").read_text())["entries"]}
    own = {"grabcut", "grouping", "proposals", "pseudo-masks 1", "pseudo-masks 2"}
    assert rows.keys() == own | {"all background", "segnet_2", "finetuned"}
    assert all(rows[name]["images"] == 8 for name in own), "measured where no mask was given"
    assert rows["proposals"]["supervision"] == "boxes; masks of 4, subset seed 0"
    splits = Manifest.read(results / "labelled/manifest.parquet")
    labelled = MaskStore(results / "labelled/masks.h5")
    assert set(labelled.ids) == {record.id for record in splits.split("labelled")}
    assert len(splits.split("weak")) == 8
    # An object is where both sources say so, open where they differ.
    fused, cut, grouped = (
        MaskStore(results / f"masks_{name}/masks.h5") for name in ("proposals", "grabcut", "grouping")
    )
    for image_id in fused.ids:
        sure = (fused[image_id] != 255) & (fused[image_id] != 0)
        assert np.isin(fused[image_id][sure], splits.by_id[image_id].tags).all()
        both_empty = (cut[image_id] == 0) & (grouped[image_id] == 0)
        assert (fused[image_id][both_empty] == 0).all()
    assert set(MaskStore(results / "pseudo_masks_2/masks.h5").ids) == {record.id for record in splits.split("weak")}
    joined = Manifest.read(results / "joined_sets/manifest.parquet")
    assert len(joined.split("extra")) == 6
    assert len(joined) == 12 + 4 + 6


def test_rounds_are_a_chain(tmp_path):
    workflow = Workflow(tmp_path, DEMO)
    for rounds in (1, 3):
        rules = workflow.counted("--config", f"rounds={rounds}")
        assert rules["mdh_train_annnet"] == rules["mdh_pseudo_masks"] == rules["mdh_train_segnet"] == rounds
    assert workflow.counted("--config", "rounds=3", "segnets=last")["mdh_train_segnet"] == 1


def test_sources_of_proposals_can_be_chosen(tmp_path):
    rules = Workflow(tmp_path, DEMO).counted("--config", "proposals={sources: [grouping]}")
    assert "mdh_grabcut" not in rules
    assert rules["mdh_fuse_proposals"] == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("segnet__network__priors={}", "SegNet sees no boxes"),
        ("proposals__sources=[mcg]", "needs the section mcg"),
        ("annnet__heads__kind=dual", "batch_size is 15, but heads asks for 16"),
        ("data__masks=null evaluation=null", "some images need true masks"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, override, message):
    done = Workflow(tmp_path, DEMO).dry("--config", *override.split(), check=False)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
