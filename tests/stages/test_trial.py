"""Every training of every preset takes a few steps, with the preset's own networks, on small made-up images."""

import math
from pathlib import Path

import pytest

from pipeline.config.classes import ClassTable
from pipeline.config.load import load_run, read_yaml
from pipeline.config.runtime import RuntimeSettings
from pipeline.config.training import TrainStage
from pipeline.methods.described import objective_name
from pipeline.stages.trial import measure, try_steps

CONFIGS = Path(__file__).parents[2] / "configs"
CLASSES = ClassTable(names=("background", "disc", "square", "star"))
RUNTIME = RuntimeSettings(device="cpu", threads=1, workers=0)


DEMOS, PRESETS = (
    sorted(path.relative_to(CONFIGS).as_posix() for folder in folders for path in CONFIGS.glob(f"{folder}/*.yaml"))
    for folders in (["demo"], ["mini", "voc", "coco", "cocostuff"])
)
DONE = []


def trainings(config):
    """Objective and settings of everything a configuration trains."""
    for _, settings in load_run(read_yaml(CONFIGS / config), CONFIGS).trained():
        yield objective_name(settings), settings.model_dump(mode="json")


def small(settings):
    """The same networks and losses, fewer and smaller images."""
    training = settings["training"] | {"accumulate": 1}
    training["augment"] = training["augment"] | {"crop": 64, "long_side": (64, 80), "short_side": None}
    if "heads" not in settings:
        training["batch_size"] = 2
    return settings | {"training": training}


@pytest.mark.parametrize("config", [*DEMOS, *(pytest.param(name, marks=pytest.mark.slow) for name in PRESETS)])
def test_every_training_takes_steps(tmp_path, config):
    classes = load_run(read_yaml(CONFIGS / config), CONFIGS).data.classes or CLASSES
    for number, (objective, settings) in enumerate(trainings(config)):
        settings["network"]["weights"] = None
        if (objective, settings, classes) in DONE:
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        stage = TrainStage(objective=objective, split="train", seed=0, settings=small(settings))
        cost = try_steps(stage, classes, RUNTIME, folder, (64, 80))
        assert cost.seconds > 0
        assert cost.memory is None
        DONE.append((objective, settings, classes))


def test_one_class_is_enough(tmp_path):
    objective, settings = next(trainings("demo/cam.yaml"))
    stage = TrainStage(objective=objective, split="train", seed=0, settings=small(settings))
    assert try_steps(stage, ClassTable(names=("background", "only")), RUNTIME, tmp_path, (64, 80)).seconds > 0


def test_a_share_of_the_batch_is_tried_where_there_are_several_devices(tmp_path):
    objective, settings = next(trainings("demo/cam.yaml"))
    stage = TrainStage(objective=objective, split="train", seed=0, settings=small(settings))
    cost = try_steps(stage, CLASSES, RUNTIME.model_copy(update={"devices": 2}), tmp_path, (64, 80))
    assert math.isfinite(cost.seconds)


def test_the_steps_tried_have_every_loss(tmp_path, caplog):
    caplog.set_level("INFO")
    objective, settings = next(trainings("demo/dupl.yaml"))
    stage = TrainStage(objective=objective, split="train", seed=0, settings=small(settings))
    try_steps(stage, CLASSES, RUNTIME, tmp_path, (64, 80))
    for loss in ("classification", "segmentation", "regularisation"):
        assert loss in caplog.text


@pytest.mark.slow
def test_too_little_memory_is_no_error():
    """An image of 2.7 TiB, which numpy refuses; a decoder of 4 TiB, which torch does."""
    objective, settings = next(trainings("demo/supervised.yaml"))
    wide = settings["network"] | {"decoder_channels": 1_000_000_000}
    large = settings["training"] | {"augment": settings["training"]["augment"] | {"crop": 1_000_000}}
    for too_much in ({"network": wide}, {"training": large}):
        stage = TrainStage(objective=objective, split="train", seed=0, settings=settings | too_much)
        assert measure(stage, CLASSES, RUNTIME) is None
