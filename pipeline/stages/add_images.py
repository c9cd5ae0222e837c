"""Adds folders of single-label images to a manifest."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import Manifest
from pipeline.config.extra import ExtraSettings as Settings
from pipeline.data.folders import folder_records
from pipeline.data.images import data_root
from pipeline.errors import PseudomaskError

__all__ = ["Inputs", "Outputs", "Settings", "run"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """Files read."""

    manifest: Path


@dataclass(frozen=True)
class Outputs:
    """Files written: the manifest with a split more."""

    manifest: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Append the images of the folders.

    Raises:
        PseudomaskError: an image cannot be read, a class is unknown, or the split or an id exists already.
    """
    manifest = Manifest.read(inputs.manifest)
    if settings.split in manifest.splits:
        raise PseudomaskError(f"extra.split: the data set has a split '{settings.split}' already; name it otherwise")
    added = folder_records(settings, data_root(job.runtime), manifest.classes)
    for record in added:
        if record.id in manifest.by_id:
            raise PseudomaskError(f"extra.folders: the data set has an image '{record.id}' already; rename the folder")
    _log.info("split %s: %d images", settings.split, len(added))
    replace(manifest, records=(*manifest.records, *added)).write(outputs.manifest)
