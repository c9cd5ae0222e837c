"""Refines scores by a dense CRF and labels the pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.masks import MaskWriter
from pipeline.artifacts.scores import ScoreStore
from pipeline.config.refine import CrfStage as Settings
from pipeline.crf.dense import dense_crf_batch
from pipeline.data.images import data_root, load_record
from pipeline.data.progress import progress
from pipeline.refine.background import find_threshold, normalise, with_background

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
    """Refine this job's images that have scores."""
    manifest, scores = Manifest.read(inputs.manifest), ScoreStore(inputs.scores)
    threshold = find_threshold(settings.background, inputs.threshold)
    root = data_root(job.runtime)
    records = job.part(manifest.only(scores)).records
    present: list[NDArray[np.int64]] = []

    def items() -> Iterator[tuple[NDArray[np.uint8], list[NDArray[np.float32]]]]:
        for record in records:
            values, classes = with_background(scores[record.id], settings.background, threshold)
            present.append(classes)
            yield load_record(record, root), [normalise(values, settings.temperature)]

    results = dense_crf_batch(items(), settings.crf, threads=job.runtime.threads, names=[r.id for r in records])
    with MaskWriter(outputs.masks, manifest.classes, stage=job.name, key=job.key) as writer:
        for number, (record, (values,)) in enumerate(zip(progress(records, job.name), results, strict=True)):
            mask = present[number].astype(np.uint8)[values.argmax(0)]
            mask[values.max(0) < settings.confidence] = manifest.classes.ignore
            writer.add(record.id, mask)
