"""`pseudomask plan`: what a run would do and fill, from the real Snakefile."""

import pytest
from conftest import ROOT

from pipeline.config.load import read_yaml
from pipeline.errors import PseudomaskError
from pipeline.report.planned import overview, plan_lines, planned

TINY = ROOT / "tests/workflow/tiny.yaml"


def test_every_stage_has_jobs_and_a_size(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    stages = planned(read_yaml(TINY), ROOT / "configs", overview(TINY, ROOT / "Snakefile", tmp_path / "plan.json"))
    assert not (tmp_path / "results").exists(), "nothing ran"
    found = {stage.name: stage for stage in stages}
    # Two shards and their merge.
    assert [found[name].jobs for name in ("data", "train_classifier", "infer_cams")] == [1, 1, 3]
    # At most: 8 images of the validation split, counted as 500 by 375 pixels, 5 classes, two bytes, stride 2.
    assert found["predict_segmenter"].size == 8 * 5 * 2 * 375 * 500 // 2**2
    assert found["train_segmenter"].size > found["train_classifier"].size > 1e6, "the decoder is larger"
    *_, total = plan_lines(stages)
    assert total[2] == str(sum(stage.jobs for stage in stages))


def test_a_mistake_is_snakemakes_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("extends: [demo/cam.yaml]\nsede: 1\n")
    with pytest.raises(PseudomaskError, match="did you mean 'seed'"):
        overview(tmp_path / "bad.yaml", ROOT / "Snakefile", tmp_path / "plan.json")
