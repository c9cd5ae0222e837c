"""Compares mask stores with the truth; every number comes with what it was measured on."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.counts import ImageCounts
from pipeline.artifacts.files import write_text
from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.masks import MaskStore
from pipeline.config.classes import ClassTable
from pipeline.config.evaluation import Entry, Protocol
from pipeline.config.evaluation import EvaluateStage as Settings
from pipeline.data.progress import progress
from pipeline.errors import PseudomaskError
from pipeline.evaluation.measure import Measurement, measure
from pipeline.evaluation.table import markdown

__all__ = ["Inputs", "Outputs", "Settings", "run"]


@dataclass(frozen=True)
class Inputs:
    """Files read; ``masks`` by entry name."""

    manifest: Path
    truth: Path
    masks: dict[str, Path]


@dataclass(frozen=True)
class Outputs:
    """Files written: all numbers, one row per class and entry, a table to read, pixel counts of every image."""

    metrics: Path
    csv: Path
    table: Path
    images: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Measure every entry, and an all-background mask on each split beside them.

    Raises:
        PseudomaskError: a split has an image without truth or mask, or sizes differ.
    """
    manifest, truth = Manifest.read(inputs.manifest), MaskStore(inputs.truth)
    rows: list[dict[str, Any]] = []
    counts = ImageCounts()
    splits = dict.fromkeys(entry.split for entry in settings.entries)
    for protocol, split in product(settings.protocols, splits):
        nothing = Entry(name="all background", split=split, crf=False)
        found = _measured(nothing, lambda image_id: np.zeros_like(truth[image_id]), protocol, manifest, truth, job)
        rows.append(_row(nothing, found, protocol, settings, manifest.classes))
        for entry in (entry for entry in settings.entries if entry.split == split):
            store = MaskStore(inputs.masks[entry.name])
            found = _measured(entry, store.__getitem__, protocol, manifest, truth, job)
            rows.append(_row(entry, found, protocol, settings, manifest.classes))
            ids = [record.id for record in manifest.split(split)]
            counts.add((entry.name, split, protocol.name), ids, found.per_image)
    document = {
        "classes": list(manifest.classes.names),
        "protocols": [protocol.model_dump() for protocol in settings.protocols],
        "entries": rows,
    }
    write_text(outputs.metrics, json.dumps(document, indent=1))
    write_text(outputs.csv, _per_class_csv(rows, manifest.classes))
    write_text(outputs.table, markdown(rows))
    counts.write(outputs.images)


def _measured(
    entry: Entry,
    predicted: Callable[[str], NDArray[np.uint8]],
    protocol: Protocol,
    manifest: Manifest,
    truth: MaskStore,
    job: Job,
) -> Measurement:
    records = manifest.split(entry.split).records
    missing = [record.id for record in records if record.id not in truth]
    if missing:
        raise PseudomaskError(
            f"{len(missing)} of {len(records)} images of split '{entry.split}' have no true mask, such as "
            f"'{missing[0]}'; evaluate on another split or add the masks"
        )
    pairs = ((truth[record.id], predicted(record.id)) for record in progress(records, f"{job.name}, {entry.name}"))
    return measure(pairs, manifest.classes, protocol)


def _row(
    entry: Entry, found: Measurement, protocol: Protocol, settings: Settings, classes: ClassTable
) -> dict[str, Any]:
    subsets = {
        name: found.mean_iou([classes.index(each, f"evaluation.subsets.{name}") for each in members])
        for name, members in settings.subsets.items()
    }
    return {
        **entry.model_dump(),
        "protocol": protocol.name,
        "supervision": settings.supervision,
        "images": found.images,
        "seed": settings.seed,
        "mean_iou": found.mean_iou(),
        "published": entry.published.get(protocol.name),
        "subsets": subsets,
        "coverage": found.coverage,
        "per_class": {"class": list(classes.names), **found.per_class()},
    }


def _per_class_csv(rows: list[dict[str, Any]], classes: ClassTable) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [name for name in rows[0]["per_class"] if name != "class"]
    writer.writerow(["entry", "split", "images", "seed", "supervision", "crf", "protocol", "class", *names])
    for row in rows:
        fixed = [row[name] for name in ("name", "split", "images", "seed", "supervision", "crf", "protocol")]
        for index, label in enumerate(classes.names):
            values = (row["per_class"][name][index] for name in names)
            writer.writerow([*fixed, label, *("" if value is None else f"{value:.6f}" for value in values)])
    return text.getvalue()
