"""Reads a data set's true masks into a mask store."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.masks import MaskWriter
from pipeline.config.data import DataSettings as Settings
from pipeline.data.images import data_root
from pipeline.data.importing import import_masks
from pipeline.stages.import_data import located

__all__ = ["Inputs", "Outputs", "Settings", "run"]


@dataclass(frozen=True)
class Inputs:
    """Files read; ``folder`` holds the generated scenes, with that source."""

    manifest: Path
    folder: Path | None = None


@dataclass(frozen=True)
class Outputs:
    """Files written: true masks of the images that have one."""

    masks: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Import the masks of the manifest's images.

    Raises:
        PseudomaskError: a mask is damaged, has another size than its image, or a value or colour of no class.
    """
    manifest = Manifest.read(inputs.manifest)
    masks = import_masks(located(settings, inputs.folder), data_root(job.runtime), manifest)
    with MaskWriter(outputs.masks, manifest.classes, stage=job.name, key=job.key) as writer:
        for image_id, mask in masks:
            writer.add(image_id, mask)
