"""Picks the images whose true masks a method may use, at random or all; the others have boxes alone."""

import hashlib
import logging
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.masks import MaskStore, MaskWriter
from pipeline.config.mdh import LabelledSettings
from pipeline.config.mdh import LabelledStage as Settings
from pipeline.errors import PseudomaskError

__all__ = ["Inputs", "Outputs", "Settings", "picked", "run"]

LABELLED, WEAK = "labelled", "weak"
"""Splits added: images with masks, and the others."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """Files read."""

    manifest: Path
    truth: Path


@dataclass(frozen=True)
class Outputs:
    """Files written: a manifest with the further splits ``labelled`` and ``weak``, and masks of the labelled images."""

    manifest: Path
    masks: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Pick.

    Raises:
        PseudomaskError: the split has fewer images with a mask than asked for, or none is left without.
    """
    manifest, truth = Manifest.read(inputs.manifest), MaskStore(inputs.truth)
    ids = picked([record.id for record in manifest.split(settings.split) if record.id in truth], settings)
    trained = {record.id for record in manifest.split(settings.among)} | set(ids)
    weak = trained - set(ids)
    if not weak:
        raise PseudomaskError(
            f"no image of '{settings.among}' is left without a mask, {len(ids)} are picked; lower labelled.count or "
            "labelled.fraction"
        )
    _log.info("%s: %d images with masks, %d with boxes alone", job.name, len(ids), len(weak))
    splits = {**dict.fromkeys(ids, LABELLED), **dict.fromkeys(weak, WEAK)}
    records = [
        replace(record, splits=(*record.splits, splits[record.id])) if record.id in splits else record
        for record in manifest
    ]
    replace(manifest, records=tuple(records)).write(outputs.manifest)
    with MaskWriter(outputs.masks, manifest.classes, stage=job.name, key=job.key) as writer:
        for image_id in ids:
            writer.add(image_id, truth[image_id])


def picked(ids: list[str], settings: LabelledSettings) -> list[str]:
    """The first of a random order that depends on seed and ids alone, so that smaller sets lie in larger ones.

    Raises:
        PseudomaskError: there are fewer than asked for.
    """
    count = settings.count if settings.count is not None else max(1, round(settings.fraction * len(ids)))
    if count > len(ids):
        raise PseudomaskError(f"split '{settings.split}' has {len(ids)} images with a mask, labelled asks for {count}")
    order = sorted(ids, key=lambda image_id: hashlib.sha256(f"{settings.seed} {image_id}".encode()).digest())
    chosen = set(order[:count])
    return [image_id for image_id in ids if image_id in chosen]
