"""`pseudomask plan`: what a run would do and fill, from the real Snakefile."""

import pytest
from conftest import ROOT
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.config.load import load_run, read_yaml
from pipeline.errors import PseudomaskError
from pipeline.report.planned import class_table, plan_lines, planned, planned_stages, training_cost

TINY = ROOT / "tests/workflow/tiny.yaml"


def test_every_stage_has_jobs_and_a_size(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    stages = planned(
        read_yaml(TINY), ROOT / "configs", planned_stages(TINY, ROOT / "Snakefile", tmp_path / "plan.json")
    )
    assert not (tmp_path / "results").exists(), "nothing ran"
    found = {stage.name: stage for stage in stages}
    # Two shards and their merge.
    assert [found[name].jobs for name in ("data", "train_classifier", "infer_cams")] == [1, 1, 3]
    # At most: 8 images of the validation split, counted as 500 by 375 pixels, 5 classes, two bytes, stride 2.
    assert found["predict_segmenter"].size == 8 * 5 * 2 * 375 * 500 // 2**2
    assert found["train_segmenter"].size > found["train_classifier"].size > 1e6, "the decoder is larger"
    *_, total = plan_lines(stages)
    assert total[2] == str(sum(stage.jobs for stage in stages))


@pytest.mark.parametrize(
    "text",
    [
        "extends: [demo/seminar.yaml]\npredict: {split: train}",
        "extends: [demo/dupl.yaml]\nchoose_on: val\n"
        "final: {masks: {multi_scale: {scales: [1.0], flip: true}, stride: 2}}",
        "extends: [demo/asdt.yaml]\npredict: {split: train}\n"
        "pseudo_masks: {inference: {use_tags: false, multi_scale: {scales: [1.0], flip: true}}}",
    ],
)
def test_of_two_equal_stages_one_rule_makes_the_file(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "equal.yaml").write_text(text)
    stages = planned_stages(tmp_path / "equal.yaml", ROOT / "Snakefile", tmp_path / "plan.json")
    folders = [stage["outputs"][0].rpartition("/")[0] for stage in stages]
    assert len(set(folders)) < len(folders), "two stages are equal"


def test_trainings_are_tried_on_request(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    config = tmp_path / "one.yaml"
    config.write_text(
        "extends: [demo/supervised.yaml]\nruntime: {device: cpu, threads: 1}\n"
        "segmenter: {training: {steps: 6, batch_size: 4, augment: {long_side: [64, 80], crop: 64}}}\n"
    )
    arguments = ["plan", str(config), "--snakefile", str(ROOT / "Snakefile"), "--measure"]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    (line,) = (line for line in done.output.splitlines() if line.strip().startswith("train_segmenter"))
    assert " s (6 x " in line
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("preset", "count", "first"),
    [("voc/dupl-reference", 21, "aeroplane"), ("demo/dupl", 5, "heron"), ("coco/dupl", 81, "class 1")],
)
def test_settings_of_single_classes_find_their_class(preset, count, first):
    classes = class_table(load_run(read_yaml(ROOT / f"configs/{preset}.yaml"), ROOT / "configs"))
    assert len(classes) == count
    assert classes.names[1] == first


@pytest.mark.parametrize(
    ("seconds", "steps", "memory", "words"),
    [
        (0.5, 600, None, ("at most 5 min (600 x 0.5 s)", "")),
        (1.234, 20_000, 3 << 30, ("at most 6 h 51 min (20,000 x 1.2 s)", "3.0 GiB")),
    ],
)
def test_costs_in_words(seconds, steps, memory, words):
    assert training_cost(seconds, steps, memory) == words


def test_a_mistake_is_snakemakes_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("extends: [demo/cam.yaml]\nsede: 1\n")
    with pytest.raises(PseudomaskError, match="did you mean 'seed'"):
        planned_stages(tmp_path / "bad.yaml", ROOT / "Snakefile", tmp_path / "plan.json")
