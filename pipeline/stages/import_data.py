"""Reads a data set's images, splits and tags into a manifest."""

import csv
import io
import logging
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.files import write_text
from pipeline.artifacts.job import Job
from pipeline.artifacts.layout import SET_ASIDE
from pipeline.config.data import DataSettings as Settings
from pipeline.data.images import data_root
from pipeline.data.importing import import_manifest
from pipeline.data.scenes import class_table
from pipeline.errors import PseudomaskError

__all__ = ["Inputs", "Outputs", "Settings", "located", "run"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """``folder`` holds the generated scenes, with that source."""

    folder: Path | None = None


@dataclass(frozen=True)
class Outputs:
    """Files written; ``set_aside.csv`` beside the manifest lists bad items that were left out."""

    manifest: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Import.

    Raises:
        PseudomaskError: a bad item, unless those are set aside; no image is left.
    """
    classes = class_table(settings.scenes) if settings.scenes is not None else None
    manifest, problems = import_manifest(located(settings, inputs.folder), data_root(job.runtime), classes)
    if problems:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("id", "reason"), *((p.image_id, p.reason) for p in problems)])
        write_text(outputs.manifest.with_name(SET_ASIDE), text.getvalue())
        _log.warning("%d items were set aside: see %s", len(problems), outputs.manifest.with_name(SET_ASIDE))
    if not len(manifest):
        raise PseudomaskError("no usable image is left; check data.root, data.images and data.splits")
    for split in manifest.splits:
        _log.info("split %s: %d images", split, len(manifest.split(split)))
    manifest.write(outputs.manifest)


def located(settings: Settings, folder: Path | None) -> Settings:
    """The settings, for generated scenes those of the VOC-layout folder they were drawn into."""
    if folder is None or settings.scenes is None:
        return settings
    splits = {split: f"ImageSets/{split}.txt" for split in settings.scenes.counts}
    return settings.model_copy(update={"source": "voc", "root": str(folder), "extension": ".png", "splits": splits})
