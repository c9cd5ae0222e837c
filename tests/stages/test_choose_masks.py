import json

import numpy as np
import pytest

from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.artifacts.masks import MaskStore, MaskWriter
from pipeline.config.classes import ClassTable
from pipeline.config.runtime import RuntimeSettings
from pipeline.errors import PseudomaskError
from pipeline.stages.choose_masks import Inputs, Outputs, Settings, run

CLASSES = ClassTable(names=("background", "cat"))
TRUTH = np.eye(6, dtype=np.uint8)


def store(path, mask):
    with MaskWriter(path, CLASSES, stage="s") as writer:
        writer.add("a", mask)
    return path


def test_the_better_masks_are_handed_on_and_the_choice_is_written_down(tmp_path):
    Manifest(CLASSES, (ImageRecord("a", "a.png", ("val",), 6, 6, (1,)),)).write(tmp_path / "m.parquet")
    judged = {
        "one": store(tmp_path / "1.h5", np.zeros_like(TRUTH)),
        "two": store(tmp_path / "2.h5", TRUTH),
    }
    masks = {
        "one": store(tmp_path / "3.h5", np.zeros_like(TRUTH)),
        "two": store(tmp_path / "4.h5", np.ones_like(TRUTH)),
    }
    inputs = Inputs(tmp_path / "m.parquet", store(tmp_path / "t.h5", TRUTH), judged, masks)
    outputs = Outputs(tmp_path / "masks.h5", tmp_path / "choice.json")
    job = Job("choice", "0" * 16, RuntimeSettings(), tmp_path)
    run(Settings(split="val"), inputs, outputs, job)
    np.testing.assert_array_equal(MaskStore(outputs.masks)["a"], 1)
    choice = json.loads(outputs.choice.read_text())
    assert choice["chosen"] == "two"
    assert choice["mean_iou"]["two"] == 1
    assert choice["images"] == 1
    with pytest.raises(PseudomaskError, match="candidates differ"):
        run(Settings(split="val"), Inputs(inputs.manifest, inputs.truth, judged, {"one": masks["one"]}), outputs, job)
