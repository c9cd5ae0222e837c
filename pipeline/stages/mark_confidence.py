"""Marks the pixels of masks that are to be trusted: of each class those it wins by the widest margin (BECO, KTSE)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.masks import MaskStore, MaskWriter
from pipeline.artifacts.scores import ScoreStore
from pipeline.config.classes import ClassTable
from pipeline.config.confidence import ConfidenceStage as Settings
from pipeline.data.progress import progress
from pipeline.refine.background import find_threshold, with_background

__all__ = ["Inputs", "Outputs", "Settings", "confident", "run"]

TRUST = ClassTable(names=("uncertain", "trusted"))


@dataclass(frozen=True)
class Inputs:
    """Files read: masks, and the scores they were made of; a found threshold goes before that of the settings."""

    manifest: Path
    scores: Path
    masks: Path
    threshold: Path | None = None


@dataclass(frozen=True)
class Outputs:
    """Files written: masks of 1, trusted, and 0."""

    masks: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Mark the pixels of every image that has scores."""
    manifest, scores, masks = Manifest.read(inputs.manifest), ScoreStore(inputs.scores), MaskStore(inputs.masks)
    threshold = find_threshold(settings.background, inputs.threshold)
    with MaskWriter(outputs.masks, TRUST, stage=job.name, key=job.key) as writer:
        for record in progress(manifest.records, job.name):
            if record.id in scores:
                values, classes = with_background(scores[record.id], settings.background, threshold)
                writer.add(record.id, confident(values, classes, masks[record.id], settings.share))


def confident(
    values: NDArray[np.float32], classes: NDArray[np.int64], mask: NDArray[np.uint8], share: float
) -> NDArray[np.uint8]:
    """1 for the ``share`` of each class's pixels whose score exceeds the best other one's the most, else 0.

    Where a CRF overruled the scores the margin is negative.

    Args:
        values: scores (K, H, W).
        classes: class indices of the scores.
        mask: uint8 (H, W); values that are no class of the scores are never trusted.
        share: 0..1.
    """
    trusted = np.zeros(mask.shape, np.uint8)
    for channel, index in enumerate(classes):
        mine = mask == index
        count = int(np.ceil(share * mine.sum()))
        if not count:
            continue
        others = np.delete(values, channel, 0)
        margin = values[channel][mine] - (others[:, mine].max(0) if len(others) else 0)
        chosen = np.zeros(len(margin), np.uint8)
        chosen[np.argsort(-margin, kind="stable")[:count]] = 1
        trusted[mine] = chosen
    return trusted
