"""Reads a data set's boxes into a table."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.boxes import write_boxes
from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import Manifest
from pipeline.config.data import DataSettings as Settings
from pipeline.data.images import data_root
from pipeline.data.importing import import_boxes
from pipeline.stages.import_data import located

__all__ = ["Inputs", "Outputs", "Settings", "run"]


@dataclass(frozen=True)
class Inputs:
    """Files read; ``folder`` holds the generated scenes, with that source."""

    manifest: Path
    folder: Path | None = None


@dataclass(frozen=True)
class Outputs:
    """Files written."""

    boxes: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Import the boxes of the manifest's images.

    Raises:
        PseudomaskError: a box file is missing or damaged, or a box does not fit its image.
    """
    manifest = Manifest.read(inputs.manifest)
    boxes = import_boxes(located(settings, inputs.folder), data_root(job.runtime), manifest)
    write_boxes(outputs.boxes, boxes)
