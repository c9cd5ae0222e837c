"""What a change makes invalid, exactly: the stages `snakemake -n` names, with the reason it gives."""

import os
import re
import shutil
import time
from functools import cache

import numpy as np
import pytest
import yaml
from conftest import ROOT, Workflow, copy_of
from PIL import Image

AFTER_PREDICTION = {"label_segmenter", "crf_segmenter", "evaluation", "report"}
AFTER_SEGMENTER = {"predict_segmenter", *AFTER_PREDICTION}
AFTER_MASKS = {"train_segmenter", *AFTER_SEGMENTER}
AFTER_PAR = {"label_refined", "pseudo_masks", *AFTER_MASKS}
AFTER_THRESHOLD = {"label_cams", "refine_par", *AFTER_PAR}
AFTER_CAMS = {"search_threshold", *AFTER_THRESHOLD}
AFTER_CLASSIFIER = {"infer_cams", *AFTER_CAMS}
EVERYTHING = {"scenes", "data", "truth", "train_classifier", *AFTER_CLASSIFIER}


def reasons(workflow: Workflow, *arguments: str, tree=ROOT) -> dict[str, str]:
    """Stages a dry run would make, with the reasons it prints."""
    at_tree = Workflow(workflow.folder, workflow.config, tree)
    at_tree.data = workflow.data
    done = at_tree.dry(*arguments)
    printed = [line.partition(": ") for line in done.stderr.partition("SNAKEMAKE\n")[0].splitlines()]
    return {name: reason for name, _, reason in printed if name in EVERYTHING}


@pytest.mark.parametrize(
    ("override", "first", "others"),
    [
        ("data__scenes__context=0.4", "scenes", EVERYTHING - {"scenes"}),
        ("classifier__lr_scale=2", "train_classifier", AFTER_CLASSIFIER),
        ("cams__stride=4", "infer_cams", AFTER_CAMS),
        ("threshold__stop=0.6", "search_threshold", AFTER_THRESHOLD),
        ("refine__par__par__iterations=3", "refine_par", AFTER_PAR),
        ("refine__crf__temperature=0.5", "pseudo_masks", AFTER_MASKS),
        ("segmenter__lr_scale=2", "train_segmenter", AFTER_SEGMENTER),
        ("predict__stride=1", "predict_segmenter", AFTER_PREDICTION),
        ("predict_crf__temperature=0.5", "crf_segmenter", {"evaluation", "report"}),
        ("report__images=3", "report", set()),
        ("runtime__workers=1", None, set()),
        ("runtime__shards=5", None, set()),
    ],
)
def test_one_setting(finished, override, first, others):
    said = reasons(finished, "--config", override)
    assert said.keys() == (others if first is None else others | {first})
    if first is not None:
        assert said[first].startswith("setting ")
        assert all("input" in said[name] or "setting" in said[name] for name in others)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The project cloned again: other place, other time stamps."""
    tree = tmp_path_factory.mktemp("clone")
    for name in ("pipeline", "workflow", "configs", "Snakefile", "profiles"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tree / name)
    for path in tree.rglob("*.py"):
        os.utime(path, (time.time(), time.time()))
    return tree


@pytest.mark.parametrize(
    ("module", "code", "expected"),
    [
        (None, "", set()),
        ("data/scenes.py", "_X = 1", EVERYTHING),
        ("methods/classifier.py", "_X = 1", {"train_classifier", *AFTER_CLASSIFIER}),
        ("refine/par.py", "_X = 1", {"refine_par", *AFTER_PAR}),
        ("crf/native.py", "_X = 1", {"pseudo_masks", "crf_segmenter", *AFTER_MASKS}),
        ("methods/segmenter.py", "_X = 1", AFTER_MASKS),
        ("evaluation/metrics.py", "_X = 1", {"search_threshold", *AFTER_THRESHOLD}),
        ("report/page.py", "_X = 1", {"report"}),
        ("config/cams.py", "_X = 1", AFTER_CLASSIFIER),
        ("artifacts/scores.py", "_X = 1", AFTER_CLASSIFIER),
        ("nets/inference.py", "_X = 1", AFTER_CLASSIFIER),
        ("training/schedule.py", "_X = 1", {"train_classifier", *AFTER_CLASSIFIER}),
        (
            "stages/label_scores.py",
            "_X = 1",
            {"label_cams", "label_refined", "label_segmenter", "evaluation", "report"},
        ),
        ("methods/ktse.py", "_X = 1", set()),
        ("proposals/grabcut.py", "_X = 1", set()),
        ("training/loop.py", "# a comment, and a blank line\n", set()),
    ],
)
def test_one_module(finished, tree, module, code, expected):
    if module is None:
        assert reasons(finished, tree=tree).keys() == expected
        return
    path = tree / "pipeline" / module
    before = path.read_text()
    path.write_text(f"{before}\n{code}\n")
    try:
        said = reasons(finished, tree=tree)
    finally:
        path.write_text(before)
    assert said.keys() == expected
    if expected:
        assert any(f"code pipeline.{module[:-3].replace('/', '.')}" in reason for reason in said.values())


@pytest.fixture(scope="module")
def plan_of(tmp_path_factory):
    """Keys of the stages of a demo, by method and overrides."""

    @cache
    def keys(method, *overrides):
        return Workflow(tmp_path_factory.mktemp(method), f"configs/demo/{method}.yaml").keys(*overrides)

    return keys


@pytest.mark.parametrize(
    ("method", "override", "first", "others_kept"),
    [
        ("ktse", "refine__irn__labels__foreground=0.35", "irn_labels", ""),
        ("ktse", "refine__irn__walk__beta=9", "irn_walk", ""),
        ("ktse", "confidence__share=0.4", "confidence", ""),
        ("mdh", "proposals__grabcut__iterations=2", "objects_grabcut", "objects_grouping masks_grouping"),
        ("mdh", "labelled__seed=5", "labelled", r"objects_\w+ masks_\w+"),
        ("mdh", "pseudo__tau=0.5", "pseudo_masks_1", ""),
        ("seminar", "labels__size=5", "labels", ""),
        ("seminar", "heterogeneous__stride=1", "scores_ancillary", r"train_\w+ predict_\w+ label_\w+"),
        ("dupl", "threshold__stop=0.6", "threshold_student_1", r"cams_student_2 predict_\w+ label_student_\d crf_\w+"),
        ("asdt", "model__lr_scale=2", "train", ""),
    ],
)
def test_one_setting_of_a_method(plan_of, method, override, first, others_kept):
    """The stage whose setting it is and all after it in the plan, but for branches that do not see it."""
    before, after = plan_of(method), plan_of(method, override)
    names = list(before)
    assert list(after) == names
    later = names[names.index(first) :]
    kept = {name for name in later if re.fullmatch(others_kept.replace(" ", "|"), name)}
    assert {name for name in names if before[name] != after[name]} == set(later) - kept


def test_methods_share_what_is_equal(plan_of):
    """Data and true masks of equal data, and equally trained classifiers, whatever the method."""
    for name in ("scenes", "data", "truth"):
        assert len({plan_of(method)[name] for method in ("ktse", "seminar", "dupl", "asdt")}) == 1, name
    assert plan_of("asdt")["train_classifier"] == plan_of("cam")["train_classifier"]


def test_changed_and_changed_back(finished, tmp_path):
    copy = copy_of(finished, tmp_path / "copy")
    copy.run("--config", "report__images=3")
    assert reasons(copy) == {}
    assert "Nothing to be done" in copy.run().stderr
    shutil.rmtree(copy.folder / ".snakemake")
    assert reasons(copy) == {}


def test_time_stamps_decide_nothing(finished, tmp_path):
    copy = copy_of(finished, tmp_path / "copy")
    for number, path in enumerate(sorted((copy.folder / "store").rglob("*"))):
        then = time.time() + (86400 if number % 2 else -86400)  # also what a clock set back leaves behind
        os.utime(path, (then, then))
    assert "Nothing to be done" in copy.run().stderr


@pytest.fixture
def own(tmp_path):
    """Four images of one's own with masks and tags; the import has run."""
    chance = np.random.default_rng(0)
    (tmp_path / "data/images").mkdir(parents=True)
    (tmp_path / "data/masks").mkdir()
    for name in "abcd":
        _add_image(tmp_path / "data", name, chance)
    _list_images(tmp_path / "data", "abcd")
    config = yaml.safe_load((ROOT / "tests/workflow/tiny.yaml").read_text())
    config["data"] = {
        "source": "csv",
        "root": "data",
        "images": "images",
        "extension": ".png",
        "masks": "masks",
        "tags": "table",
        "table": "tags.csv",
        "splits": {"train": "train.txt", "val": "val.txt"},
        "classes": {"names": ["background", "cat", "dog"]},
        "scenes": None,
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    workflow = Workflow(tmp_path)
    workflow.config = tmp_path / "own.yaml"
    workflow.data = tmp_path
    workflow.run("--until", "data_truth")
    return workflow


def _add_image(folder, name, chance):
    Image.fromarray(chance.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / f"images/{name}.png")
    Image.fromarray(chance.integers(0, 3, (40, 50)).astype(np.uint8)).save(folder / f"masks/{name}.png")


def _list_images(folder, names):
    (folder / "tags.csv").write_text("id,tags\n" + "".join(f"{name},cat;dog\n" for name in names))
    (folder / "train.txt").write_text("\n".join(names))
    (folder / "val.txt").write_text("a\nb\n")


def changed(workflow):
    """Stages whose content reason is not that they never ran."""
    return {name: reason for name, reason in reasons(workflow).items() if reason != "no result yet"}


def test_an_edited_mask_touches_only_what_is_measured_on_it(own):
    assert changed(own) == {}
    mask = own.folder / "data/masks/c.png"
    content = np.asarray(Image.open(mask)).copy()
    mask.touch()
    assert changed(own) == {}
    content[:5] = 0
    Image.fromarray(content).save(mask)
    said = changed(own)
    assert said["truth"] == "content of the data files"
    assert said.keys() == {"truth", "search_threshold", "evaluation", "report", *AFTER_THRESHOLD}


def test_an_added_image_changes_everything(own):
    _add_image(own.folder / "data", "e", np.random.default_rng(1))
    _list_images(own.folder / "data", "abcde")
    assert changed(own).keys() == EVERYTHING - {"scenes"}
