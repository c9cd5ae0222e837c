"""Turns scores into masks: the strongest class per pixel."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.masks import MaskWriter
from pipeline.artifacts.scores import ScoreStore
from pipeline.config.background import LabelSettings as Settings
from pipeline.data.progress import progress
from pipeline.refine.background import find_threshold
from pipeline.refine.labels import label_mask

__all__ = ["Inputs", "Outputs", "Settings", "run"]


@dataclass(frozen=True)
class Inputs:
    """Files read; a found threshold goes before that of the settings."""

    manifest: Path
    scores: Path
    threshold: Path | None = None


@dataclass(frozen=True)
class Outputs:
    """Files written."""

    masks: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Label every image that has scores."""
    manifest, scores = Manifest.read(inputs.manifest), ScoreStore(inputs.scores)
    threshold = find_threshold(settings.background, inputs.threshold)
    with MaskWriter(outputs.masks, manifest.classes, stage=job.name, key=job.key) as writer:
        for record in progress(manifest.records, job.name):
            if record.id in scores:
                mask = label_mask(scores[record.id], settings, threshold, manifest.classes.ignore)
                writer.add(record.id, mask)
