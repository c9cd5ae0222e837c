"""Draws the generated scenes as a data set in VOC layout."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.job import Job
from pipeline.config.scenes import SceneSettings as Settings
from pipeline.data.scenes import write_voc_layout

__all__ = ["Inputs", "Outputs", "Settings", "run"]


@dataclass(frozen=True)
class Inputs:
    """Nothing is read."""


@dataclass(frozen=True)
class Outputs:
    """A folder in VOC layout."""

    folder: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:  # noqa: ARG001
    """Write the folder; it appears under its name when it is complete."""
    temporary = outputs.folder.with_name(f".{outputs.folder.name}.{os.getpid()}")
    write_voc_layout(settings, temporary)
    if outputs.folder.exists():
        shutil.rmtree(outputs.folder)
    temporary.rename(outputs.folder)
