import json
import shutil

import numpy as np
import pytest
import yaml
from scenes import CLASSES, Scenes, data_of
from typer.testing import CliRunner

from pipeline.artifacts.masks import MaskWriter
from pipeline.cli import app


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs on the same images; the second has better masks on five of them."""
    world = tmp_path_factory.mktemp("world")
    (world / "store").mkdir()
    scenes = Scenes(world / "store", 20)
    found = []
    for name in ("base", "other"):
        if name == "other":
            shutil.copy(world / "store/CAM/masks.h5", world / "store/old.h5")
            with MaskWriter(world / "store/better/masks.h5", CLASSES, stage="s") as writer:
                for number, image_id in enumerate(scenes.ids):
                    shift = 0 if number % 4 == 1 else 4
                    writer.add(image_id, np.roll(scenes.truth(number), shift, 1))
            shutil.copy(world / "store/better/masks.h5", world / "store/CAM/masks.h5")
        metrics = scenes.evaluated()
        run = world / "results" / name
        shutil.copytree(metrics.parent, run / "evaluation")
        masks = "store/old.h5" if name == "base" else "store/better/masks.h5"
        inputs = {"manifest": "store/data/manifest.parquet", "truth": "store/truth/masks.h5", "masks": {"CAM": masks}}
        spec = {"inputs": inputs, "runtime": {"data_root": str(scenes.folder)}}
        (run / "evaluation/stage.json").write_text(json.dumps(spec))
        (run / "config.yaml").write_text(yaml.safe_dump({"run": name, "method": name}))
        found.append(run)
    return scenes, found


def test_the_page_shows_the_images_on_which_runs_disagree(runs, tmp_path):
    scenes, folders = runs
    page = tmp_path / "pages/compare.html"
    done = CliRunner().invoke(app, ["compare", *map(str, folders), "--page", str(page), "--images", "4"])
    assert done.exit_code == 0, done.output
    assert "other minus base" in done.output
    data = data_of(page)
    assert list(data["gallery"]["stores"]) == ["CAM: base", "CAM: other", "truth"]
    shown = set(data["gallery"]["images"]["id"])
    changed = {image_id for number, image_id in enumerate(scenes.ids) if number % 4 == 1}
    assert len(shown & changed) >= 4
    for store, better in (("CAM: base", False), ("CAM: other", True)):
        iou = dict(zip(data["gallery"]["images"]["id"], data["gallery"]["stores"][store]["iou"], strict=True))
        assert all((iou[image_id] == 1000) == better for image_id in shown & changed)
    first = page.parent / data["base"] / data["gallery"]["images"]["path"][0]
    assert first.exists()
    assert "<td>CAM</td>" in page.read_text()
