from pathlib import Path

import pytest

from pipeline.config.load import load_run, read_yaml
from pipeline.errors import PseudomaskError

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.glob("*/asdt*.yaml"))


@pytest.mark.parametrize("name", FILES)
def test_every_preset_is_valid(name):
    config = load_run(read_yaml(CONFIGS / name), CONFIGS)
    assert config.run == name.removesuffix(".yaml").replace("/", "-")
    assert config.classifier.network.backbone == config.model.network.backbone


def test_presets_differ_where_paper_text_and_code_do():
    paper, text, code = (
        load_run(read_yaml(CONFIGS / f"voc/asdt{name}.yaml"), CONFIGS).model for name in ("", "-text", "-reference")
    )
    assert paper.alternation.structure_steps == 25
    assert text.alternation.structure_steps == 120
    assert (paper.training.optimiser.momentum, code.training.optimiser.momentum) == (0.9, 0)
    assert (code.alternation.warmup_steps, code.weights.student, code.weights.distillation) == (1000, 0.5, 0.1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classifier": None}, "need each other"),
        ({"model__strategy": "I"}, "has no output 'maximum'"),
        ({"model__alternation__tau": 1.0}, "0 location steps"),
        ({"model__reliable__low_alpha": 40}, "must not be above"),
        ({"data__masks": None, "evaluation": None}, "set threshold: null"),
    ],
)
def test_contradictions_are_refused(change, said):
    with pytest.raises(PseudomaskError, match=said):
        load_run({"extends": ["demo/asdt.yaml"], **change, "run": "x", "method": "asdt"}, CONFIGS)
