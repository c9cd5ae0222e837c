"""Chooses the mask store, of several candidates, that agrees best with the truth of a labelled split."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.files import atomic_path, write_text
from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.masks import MaskStore
from pipeline.config.choice import ChoiceSettings as Settings
from pipeline.config.evaluation import Protocol
from pipeline.data.progress import progress
from pipeline.errors import PseudomaskError
from pipeline.evaluation.measure import measure

__all__ = ["Inputs", "Outputs", "Settings", "run"]


@dataclass(frozen=True)
class Inputs:
    """Files read: ``judged`` decides, ``masks`` are handed on, both by the candidates' names."""

    manifest: Path
    truth: Path
    judged: dict[str, Path]
    masks: dict[str, Path]


@dataclass(frozen=True)
class Outputs:
    """Files written: the chosen masks, and why."""

    masks: Path
    choice: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Copy the masks of the best candidate; the first of equals.

    Raises:
        PseudomaskError: candidates differ between ``judged`` and ``masks``, or masks are missing.
    """
    if inputs.judged.keys() != inputs.masks.keys():
        raise PseudomaskError(f"candidates differ: {sorted(inputs.judged)} and {sorted(inputs.masks)}")
    manifest, truth = Manifest.read(inputs.manifest), MaskStore(inputs.truth)
    found: dict[str, float] = {}
    for name, path in inputs.judged.items():
        store = MaskStore(path)
        records = progress(manifest.split(settings.split).records, f"{job.name}, {name}")
        pairs = ((truth[record.id], store[record.id]) for record in records)
        found[name] = measure(pairs, manifest.classes, Protocol()).mean_iou() or 0.0
    chosen = max(found, key=lambda name: found[name])
    with atomic_path(outputs.masks) as temporary:
        shutil.copyfile(inputs.masks[chosen], temporary)
    images = len(manifest.split(settings.split))
    facts = {"chosen": chosen, "split": settings.split, "images": images, "mean_iou": found}
    write_text(outputs.choice, json.dumps(facts, indent=1))
