import json

import torch
import yaml
from typer.testing import CliRunner

from pipeline.artifacts.checkpoint import save_weights
from pipeline.cli import app

CARD = {
    "objective": "segmenter", "seed": 4, "split": "train", "images": 12,
    "settings": {"network": {"backbone": "resnet50", "weights": "weights/start.pth"}, "training": {"steps": 7}},
    "classes": {"names": ["background", "cat"]},
}  # fmt: skip
ENTRY = {
    "name": "segmenter", "split": "val", "images": 3, "crf": False, "seed": 4, "protocol": "full",
    "supervision": "tags", "mean_iou": 0.512, "subsets": {}, "coverage": 1.0,
}  # fmt: skip


def made(folder):
    stage = folder / "store/train/1"
    save_weights(stage / "weights.safetensors", {"a": torch.zeros(3, 4)}, CARD)
    spec = {"name": "train_segmenter", "kind": "train", "key": "1", "settings": {}, "code": {}, "inputs": {}}
    (stage / "stage.json").write_text(json.dumps(spec))
    run = folder / "results/mine"
    (run / "evaluation").mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump({"run": "mine", "method": "cam"}))
    (run / "evaluation/metrics.json").write_text(json.dumps({"entries": [ENTRY]}))
    (run / "train_segmenter").symlink_to("../../store/train/1")
    return run


def test_a_card_tells_data_method_numbers_and_licences(tmp_path):
    weights = made(tmp_path) / "train_segmenter/weights.safetensors"
    done = CliRunner().invoke(app, ["export", str(weights), str(tmp_path / "card.md"), "--to", "card"])
    assert done.exit_code == 0, done.output
    card = (tmp_path / "card.md").read_text()
    assert card.startswith("# mine: segmenter\n")
    for expected in ("12 parameters", "background, cat", "12 images of split `train`, seed 4", "steps: 7",
                     "- train_segmenter (train)", "51.2", "weights/start.pth", "Apache-2.0"):  # fmt: skip
        assert expected in card, expected


def test_without_a_run_there_are_no_numbers(tmp_path):
    save_weights(tmp_path / "x/net.safetensors", {"a": torch.zeros(1)}, CARD)
    CliRunner().invoke(app, ["export", str(tmp_path / "x/net.safetensors"), str(tmp_path / "card.md"), "--to", "card"])
    card = (tmp_path / "card.md").read_text()
    assert card.startswith("# net: segmenter\n")
    assert "None were measured" in card
