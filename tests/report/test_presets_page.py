"""The page of presets is current, which also builds the networks of every preset through the real entry point."""

from pathlib import Path

import pytest

from pipeline.config.load import load_run, read_yaml
from pipeline.methods.described import described, millions
from pipeline.report.presets import FOLDERS, presets_page

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"


def test_the_page_is_current():
    assert presets_page(CONFIGS) == (ROOT / "docs/presets.md").read_text(), "pseudomask presets --write docs/presets.md"


def test_networks_have_the_size_of_their_parts():
    config = load_run(read_yaml(CONFIGS / "voc/dupl.yaml"), CONFIGS)
    (objective,) = described(config, config.data.classes).values()
    assert all(parameter.is_meta for parameter in objective.parameters())
    # Two students: ViT-B/16 without its classifier, two dilated layers and one 1x1, two classifiers without bias.
    head = 9 * 768 * 512 + 512 + 9 * 512 * 512 + 512 + 512 * 21 + 21
    assert millions(objective) == pytest.approx(2 * (85.80 + (head + 2 * 768 * 20) / 1e6), rel=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "preset",
    sorted(path.relative_to(CONFIGS).as_posix() for folder in FOLDERS for path in CONFIGS.glob(f"{folder}/*.yaml")),
)
def test_every_row_can_be_built(preset):
    rows = load_run(read_yaml(CONFIGS / preset), CONFIGS).expected.rows
    for overrides in {str(row.overrides): row.overrides for row in rows}.values():
        config = load_run({"extends": [preset], **overrides}, CONFIGS)
        if config.data.classes is not None:
            assert described(config, config.data.classes)
