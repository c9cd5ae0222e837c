"""Joins two data sets of the same classes: their manifests, and a mask store of each."""

from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.masks import merge_masks
from pipeline.config.join import JoinSettings as Settings
from pipeline.errors import PseudomaskError

__all__ = ["Inputs", "Outputs", "Settings", "run"]


@dataclass(frozen=True)
class Inputs:
    """Files read."""

    manifest: Path
    masks: Path
    extra_manifest: Path
    extra_masks: Path


@dataclass(frozen=True)
class Outputs:
    """Files written: the images of both sets, and their masks in one store."""

    manifest: Path
    masks: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:  # noqa: ARG001
    """Join; the further images form a split of their own.

    Raises:
        PseudomaskError: classes differ, or an id is in both sets.
    """
    manifest = Manifest.read(inputs.manifest)
    extra = Manifest.read(inputs.extra_manifest).split(settings.split)
    if manifest.classes.names != extra.classes.names:
        raise PseudomaskError(
            f"the two data sets have different classes: {', '.join(manifest.classes.names)} and "
            f"{', '.join(extra.classes.names)}; name the same under data.classes (see data.aliases)"
        )
    if doubles := sorted(manifest.by_id.keys() & extra.by_id.keys()):
        raise PseudomaskError(f"image '{doubles[0]}' is in both data sets; leave it out of one")
    added = tuple(replace(record, splits=(settings.name,)) for record in extra)
    replace(manifest, records=(*manifest.records, *added)).write(outputs.manifest)
    merge_masks([inputs.masks, inputs.extra_masks], outputs.masks)
