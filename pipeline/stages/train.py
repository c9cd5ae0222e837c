"""Trains the networks of any objective."""

import importlib
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.artifacts.boxes import read_box_table
from pipeline.artifacts.checkpoint import save_weights
from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.masks import MaskStore
from pipeline.config.training import TrainStage as Settings
from pipeline.data.images import data_root
from pipeline.data.mixed import FirstOf, MixedSamples
from pipeline.data.samples import INITIAL, Normalisation, TrainingSamples, seed_torch
from pipeline.training.loop import Trainer

__all__ = ["Inputs", "Outputs", "Settings", "run"]


@dataclass(frozen=True)
class Inputs:
    """Files read: ``masks`` by the field of the batch they fill, ``networks`` by what they are to the objective, and
    ``boxes`` for a network that sees priors.
    """

    manifest: Path
    masks: dict[str, Path] = field(default_factory=dict)
    networks: dict[str, Path] = field(default_factory=dict)
    boxes: Path | None = None


@dataclass(frozen=True)
class Outputs:
    """Files written: the trained network with a card, and losses over time."""

    weights: Path
    curves: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Train, going on from the checkpoint in the job's scratch folder if there is one.

    Raises:
        PseudomaskError: images, tags or masks are missing, or the loss is not finite.
    """
    trainer, card = prepare(settings, inputs, job)
    trainer.fit(outputs.curves)
    if trainer.is_main:
        save_weights(outputs.weights, trainer.exported(), card)
    trainer.finish()


def prepare(settings: Settings, inputs: Inputs, job: Job) -> tuple[Trainer, dict[str, Any]]:
    """Objective and samples in a trainer, and the card of the network it will export.

    Raises:
        PseudomaskError: images, tags or masks are missing, or a network cannot be built.
    """
    # Imported by name, so that a stage's code digest holds its own objective and no other.
    module = importlib.import_module(f"pipeline.methods.{settings.objective}")
    objective_settings = module.Settings.model_validate(settings.settings)
    training = objective_settings.training
    manifest = Manifest.read(inputs.manifest).split(settings.split)
    root = data_root(job.runtime)
    seed_torch(settings.seed, INITIAL)
    objective = module.build(objective_settings, manifest.classes, root, inputs.networks)
    network = objective_settings.network
    parts = training.accumulate * job.runtime.processes
    make = partial(
        TrainingSamples,
        root=root,
        fields=objective.fields,
        augmentation=training.augment,
        normalisation=Normalisation(network.mean, network.std),
        seed=settings.seed,
        partners=objective.partners,
        micro_batch=training.batch_size // parts,
        priors=network.priors,
        boxes=None if inputs.boxes is None else read_box_table(inputs.boxes),
    )
    stores = {name: MaskStore(path) for name, path in inputs.masks.items()}

    def of_stream(images: Manifest, masks: FirstOf, number: int) -> TrainingSamples:
        return make(images, masks={"mask": masks}, stream=number)

    samples: TrainingSamples | MixedSamples
    if objective.streams:
        samples = MixedSamples(objective.streams, manifest, stores, parts, of_stream)
    else:
        samples = make(manifest, masks=stores)
    card = {
        "objective": settings.objective,
        "settings": objective_settings.model_dump(mode="json"),
        "classes": manifest.classes.model_dump(mode="json"),
        "seed": settings.seed,
        "split": settings.split,
        "images": len(manifest),
        "torch": version("torch"),
    }
    return Trainer(objective, samples, training, settings.seed, job), card
