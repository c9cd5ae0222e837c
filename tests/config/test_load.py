from pathlib import Path

import pytest
import yaml

from pipeline.config.load import load_run, resolve
from pipeline.errors import PseudomaskError

CONFIGS = Path(__file__).parents[2] / "configs"
ALL = sorted(path for path in CONFIGS.rglob("*.yaml") if path.parent.name not in ("datasets", "own"))


def demo(**changes):
    return {"extends": ["demo/cam.yaml"], **changes}


@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_config_loads_and_its_resolved_form_loads_to_the_same(path):
    config = load_run(yaml.safe_load(path.read_text()), CONFIGS)
    again = load_run(config.model_dump(mode="json"), CONFIGS)
    assert again == config
    if path.parent != CONFIGS:
        assert config.run == f"{path.parent.name}-{path.stem}"


def test_later_wins_and_mappings_merge(tmp_path):
    (tmp_path / "base.yaml").write_text("a: {x: 1, y: 2}\nb: 3\n")
    (tmp_path / "next.yaml").write_text("extends: [base.yaml]\na: {y: 4}\n")
    merged = resolve({"extends": ["next.yaml"], "b": 5, "a__z__q": 6}, tmp_path)
    assert merged == {"a": {"x": 1, "y": 4, "z": {"q": 6}}, "b": 5}


def test_all_mistakes_come_in_one_table():
    with pytest.raises(PseudomaskError) as error:
        load_run(demo(sede=3, run="no/slash", classifier__network__backbon="x", runtime__workers=-1), CONFIGS)
    text = str(error.value)
    assert text.startswith("4 mistake(s)")
    assert "did you mean 'seed'?" in text
    assert "did you mean 'backbone'?" in text
    assert "runtime.workers" in text
    assert "greater than or equal to 0" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"predict__split": "val+later"}, r"predict\.split: the data have no 'later', only train, val"),
        ({"threshold__split": "trainn"}, r"threshold\.split: the data have no 'trainn'"),
        ({"extends": ["mini/dupl.yaml"], "choose_on": "vall"}, r"choose_on: the data have no 'vall'"),
        ({"extends": ["mini/mdh.yaml"], "split": "trainn"}, r"split: the data have no 'trainn'"),
        (
            {"extends": ["voc/mdh-coco.yaml"], "finetune__split": "trainn"},
            r"finetune\.split: the data have no 'trainn'",
        ),
        ({"extends": ["mini/cam.yaml"], "threshold__classes": ["cta"]}, r"threshold\.classes.*did you mean 'cat'"),
        ({"extends": ["mini/cam.yaml"], "evaluation__subsets": {"x": ["cta"]}}, r"evaluation\.subsets\.x.*'cat'"),
    ],
)
def test_images_and_classes_the_data_lack_are_told_before_anything_runs(changes, said):
    with pytest.raises(PseudomaskError, match=said):
        load_run(demo(**changes), CONFIGS)


@pytest.mark.parametrize(
    ("method", "setting"),
    [("cam", "predict__branch"), ("asdt", "cams__branch"), ("asdt", "pseudo_masks__inference__branch")],
)
def test_what_a_method_decides_itself_is_no_setting(method, setting):
    with pytest.raises(PseudomaskError, match="follows from the method"):
        load_run({"extends": [f"demo/{method}.yaml"], setting: 0}, CONFIGS)


def test_extends_is_a_list_that_ends(tmp_path):
    with pytest.raises(PseudomaskError, match="it is a list"):
        load_run({"extends": "demo/cam.yaml"}, CONFIGS)
    (tmp_path / "a.yaml").write_text("extends: [b.yaml]\n")
    (tmp_path / "b.yaml").write_text("extends: [a.yaml]\n")
    with pytest.raises(PseudomaskError, match=r"circle: a\.yaml -> b\.yaml -> a\.yaml"):
        resolve({"extends": ["a.yaml"]}, tmp_path)


def test_an_unknown_method_lists_the_known():
    with pytest.raises(PseudomaskError, match=r"found 'camm'; allowed: .*cam"):
        load_run(demo(method="camm"), CONFIGS)


def test_a_missing_base_is_named():
    with pytest.raises(PseudomaskError, match=r"nowhere\.yaml does not exist"):
        load_run({"extends": ["nowhere.yaml"]}, CONFIGS)


def test_null_on_the_command_line_is_nothing():
    assert resolve({"a": {"b": {"c": 1}}, "a__b": "null"}, CONFIGS) == {"a": {"b": None}}
    assert resolve({"extends": [], "threshold": "null"}, CONFIGS) == {"threshold": None}


def test_devices_never_change_the_batch():
    """The published batch is what counts; devices and micro-batches only split it."""
    split = {"runtime__devices": 4, "segmenter__training__accumulate": 4}
    config = load_run(demo(**split), CONFIGS)
    assert config.segmenter.training.per_device(4) == 2
    assert [name for name, _ in config.trained()] == ["classifier", "segmenter"]
    with pytest.raises(PseudomaskError) as error:
        load_run(demo(runtime__devices=3, segmenter__training__batch_size=12), CONFIGS)
    assert "classifier.training: batch_size 32 is no whole number of images on each of 3 devices" in str(error.value)
    assert "let runtime.devices x runtime.nodes be one of 1, 2, 4, 8, 16, 32, or change accumulate" in str(error.value)
