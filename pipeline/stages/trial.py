"""A few steps of a training on made-up images: what it costs, before anything runs."""

import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch

from pipeline.artifacts.boxes import Box, write_boxes
from pipeline.artifacts.checkpoint import save_weights
from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.artifacts.masks import MaskWriter
from pipeline.config.classes import ClassTable
from pipeline.config.runtime import RuntimeSettings
from pipeline.config.training import TrainStage
from pipeline.stages.train import Inputs, prepare
from pipeline.training.loop import Trainer

_IMAGES = 8
_STEPS = 3


@dataclass(frozen=True)
class Cost:
    """What a training takes.

    Attributes:
        seconds: of one of the last steps on the machine that tried it, mean of a few.
        memory: bytes on each GPU at most; None on a CPU.
    """

    seconds: float
    memory: int | None


def measure(stage: TrainStage, classes: ClassTable, runtime: RuntimeSettings) -> Cost | None:
    """Cost of a training on one device of this machine, from a few steps in a process of their own.

    Args:
        stage: settings of the training.
        classes: of the data set.
        runtime: devices and precision the run will use; of several devices one is tried, with its share of the batch.

    Returns:
        The cost, or None where the memory did not suffice or the process was killed.

    Raises:
        PseudomaskError: the settings contradict each other.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        try:
            return pool.submit(_measure, stage, classes, runtime).result()
        except BrokenProcessPool:
            return None


def _measure(stage: TrainStage, classes: ClassTable, runtime: RuntimeSettings) -> Cost | None:
    with TemporaryDirectory() as folder:
        try:
            return try_steps(stage, classes, runtime, Path(folder))
        except (MemoryError, torch.OutOfMemoryError):
            return None
        except RuntimeError as error:
            # What torch says where a CPU's memory does not suffice; it has a class of its own for GPUs alone.
            if "can't allocate memory" in str(error):
                return None
            raise


def try_steps(
    stage: TrainStage, classes: ClassTable, runtime: RuntimeSettings, folder: Path, size: tuple[int, int] = (375, 500)
) -> Cost:
    """Train the last few steps, when every loss has set in, from random weights on made-up images, masks and boxes.

    Args:
        stage: settings of the training.
        classes: of the data set.
        runtime: devices and precision of the run.
        folder: where the made-up files go.
        size: height and width of the images, pixels.

    Raises:
        PseudomaskError: the settings contradict each other, or a loss is not finite.
    """
    trainer = late_trainer(stage, classes, runtime, folder, 1 + _STEPS, size)
    trainer.fit(until=trainer.step + 1)
    started = _clock()
    trainer.fit()
    seconds = (_clock() - started) / _STEPS / runtime.processes
    return Cost(seconds, torch.cuda.max_memory_reserved() if trainer.device.type == "cuda" else None)


def late_trainer(
    stage: TrainStage,
    classes: ClassTable,
    runtime: RuntimeSettings,
    folder: Path,
    left: int,
    size: tuple[int, int] = (375, 500),
) -> Trainer:
    """A training with random weights on made-up images, masks and boxes that has only its last steps to take.

    Args:
        stage: settings of the training.
        classes: of the data set.
        runtime: devices and precision of the run.
        folder: where the made-up files go.
        left: steps to take.
        size: height and width of the images, pixels.

    Raises:
        PseudomaskError: the settings contradict each other.
    """
    # On one device, the parts of the batch that others would see follow one another.
    alone = runtime.model_copy(
        update={"devices": 1, "nodes": 1, "workers": 0, "data_root": folder, "checkpoint_seconds": 1e9}
    )
    settings = _from_random_weights(stage.settings)
    training = settings["training"]
    steps = max(training["steps"], left)
    training |= {"steps": steps, "accumulate": training["accumulate"] * runtime.processes}
    training["schedule"] = {**training["schedule"], "length": None}
    stage = TrainStage(objective=stage.objective, split="train", seed=0, settings=settings)
    job = Job("trial", "trial", alone, folder)
    inputs = _made_up(folder, classes, size, "heads" in settings)
    if settings.get("pseudo"):
        # Labels come from a network of the same form, here one that has learnt nothing.
        before = stage.model_copy(update={"settings": settings | {"pseudo": None}})
        trainer, card = prepare(before, inputs, job)
        save_weights(folder / "previous.safetensors", trainer.exported(), card)
        inputs.networks["previous"] = folder / "previous.safetensors"
        del trainer
    trainer, _ = prepare(stage, inputs, job)
    trainer.skip_to(steps - left)
    return trainer


def _clock() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _from_random_weights(settings: dict[str, Any]) -> dict[str, Any]:
    """A copy of an objective's settings that needs no file and no earlier network."""
    copy = settings | {"training": dict(settings["training"]), "network": settings["network"] | {"weights": None}}
    return copy | ({"start": "backbone"} if "start" in settings else {})


def _made_up(folder: Path, classes: ClassTable, size: tuple[int, int], mixed: bool) -> Inputs:
    """Images of coarse noise, each with two of the classes in two boxes.

    Args:
        folder: where they are written.
        classes: of the data set.
        size: height and width, pixels.
        mixed: only half the images have a true mask.
    """
    chance = np.random.default_rng(0)
    height, width = size
    foreground = len(classes) - 1
    records, boxes, masks = [], {}, {}
    for number in range(_IMAGES):
        name = f"image{number}"
        noise = chance.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
        cv2.imwrite(str(folder / f"{name}.jpg"), cv2.resize(noise, (width, height)))
        shift = number % min(2, foreground)
        present = (1 + shift, foreground - shift)
        corners = ((0, 0, width // 2, height // 2), (width // 3, height // 3, width, height))
        boxes[name] = [Box(index, corner) for index, corner in zip(present, corners, strict=True)]
        masks[name] = np.zeros(size, np.uint8)
        for box in boxes[name]:
            x0, y0, x1, y1 = box.corners
            masks[name][y0:y1, x0:x1] = box.class_index
        masks[name][:, -width // 8 :] = classes.ignore
        records.append(ImageRecord(name, f"{name}.jpg", ("train",), height, width, tuple(sorted(set(present)))))
    Manifest(classes, tuple(records)).write(folder / "manifest.parquet")
    write_boxes(folder / "boxes.parquet", boxes)
    for kind in ("mask", "pseudo", "confidence"):
        with MaskWriter(folder / f"{kind}.h5", classes, stage="trial") as writer:
            for number, (name, mask) in enumerate(masks.items()):
                if not (mixed and kind == "mask" and number % 2):
                    writer.add(name, np.minimum(mask, 1) if kind == "confidence" else mask)
    stores = {kind: folder / f"{kind}.h5" for kind in ("mask", "pseudo", "confidence")}
    return Inputs(folder / "manifest.parquet", stores, {}, folder / "boxes.parquet")
