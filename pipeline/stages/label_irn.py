"""Sure labels of activation maps, that IRN learns from (``cam_to_ir_label`` of its code)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.masks import MaskWriter
from pipeline.artifacts.scores import Scores, ScoreStore
from pipeline.config.background import BackgroundSettings
from pipeline.config.irn import IrnLabelStage as Settings
from pipeline.crf.dense import dense_crf_batch
from pipeline.crf.energy import Energy
from pipeline.data.images import data_root, load_record
from pipeline.data.progress import progress
from pipeline.refine.background import with_background

__all__ = ["Inputs", "Outputs", "Settings", "join", "run", "strict_and_lenient"]


@dataclass(frozen=True)
class Inputs:
    """Files read: activation maps."""

    manifest: Path
    scores: Path


@dataclass(frozen=True)
class Outputs:
    """Files written: classes where sure, the ignore value elsewhere."""

    masks: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Label this job's images that have maps; two label maps share one lattice of the CRF."""
    manifest, scores = Manifest.read(inputs.manifest), ScoreStore(inputs.scores)
    root, ignore = data_root(job.runtime), manifest.classes.ignore
    records = job.part(manifest.only(scores)).records
    present: list[NDArray[np.int64]] = []

    def items() -> Iterator[tuple[NDArray[np.uint8], list[Energy]]]:
        for record in records:
            labels, classes = strict_and_lenient(scores[record.id], settings)
            present.append(classes)
            count = max(2, len(classes))
            yield load_record(record, root), [Energy.from_labels(each, count, settings.gt_prob) for each in labels]

    refined = None
    if settings.crf is not None:
        names = [record.id for record in records]
        refined = dense_crf_batch(items(), settings.crf, threads=job.runtime.threads, names=names)
    with MaskWriter(outputs.masks, manifest.classes, stage=job.name, key=job.key) as writer:
        for number, record in enumerate(progress(records, job.name)):
            if refined is not None:
                strict, lenient = (values.argmax(0) for values in next(refined))
                classes = present[number]
            else:
                (strict, lenient), classes = strict_and_lenient(scores[record.id], settings)
            writer.add(record.id, join(strict, lenient, classes, ignore))


def strict_and_lenient(scores: Scores, settings: Settings) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    """Indices (H, W) into the classes, once against the high and once against the low background; and the classes."""
    labels = []
    classes = np.zeros(1, np.int64)
    for threshold in (settings.foreground, settings.background):
        values, classes = with_background(scores, BackgroundSettings(), threshold)
        labels.append(values.argmax(0))
    return labels, classes


def join(
    strict: NDArray[np.integer], lenient: NDArray[np.integer], classes: NDArray[np.int64], ignore: int
) -> NDArray[np.uint8]:
    """Foreground where the strict labels say so, background where both do, ``ignore`` elsewhere."""
    named = np.append(classes, 0).astype(np.uint8)  # one class alone has a stand-in beside it in the CRF
    sure: NDArray[np.uint8] = named[strict]
    sure[(strict == 0) & (lenient != 0)] = ignore
    return sure
