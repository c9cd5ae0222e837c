"""Draws the report page and the contact sheet of a run."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.artifacts.files import atomic_path, write_text
from pipeline.artifacts.job import Job
from pipeline.artifacts.layout import SET_ASIDE
from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.artifacts.masks import MaskStore
from pipeline.artifacts.scores import ScoreStore
from pipeline.config.classes import ClassTable
from pipeline.config.report import ReportStage as Settings
from pipeline.data.images import data_root, load_record
from pipeline.evaluation.confusion import confusion_matrix
from pipeline.evaluation.metrics import mean_iou
from pipeline.report.curves import line_plot
from pipeline.report.page import Page, Strip
from pipeline.report.pictures import RGB, data_url, heat, overlay, sheet, shrink

__all__ = ["Inputs", "Outputs", "Settings", "run"]


@dataclass(frozen=True)
class Inputs:
    """Files read; ``masks`` and ``curves`` by the names shown; the rest where there is any."""

    manifest: Path
    masks: dict[str, Path]
    curves: dict[str, Path]
    scores: Path | None = None
    metrics: Path | None = None
    truth: Path | None = None
    threshold: Path | None = None


@dataclass(frozen=True)
class Outputs:
    """Files written: a self-contained page, and its first pictures as one sheet."""

    page: Path
    sheet: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Draw page and sheet."""
    manifest = Manifest.read(inputs.manifest)
    metrics = None if inputs.metrics is None else json.loads(inputs.metrics.read_text())
    gallery = _Gallery(settings, inputs, manifest, data_root(job.runtime))
    groups, rows = [], []
    for heading, records, names in gallery.groups():
        pictures = [gallery.pictures(record, names) for record in records]
        strips = [
            Strip(gallery.title(record), [(name, data_url(picture)) for name, picture in row.items()])
            for record, row in zip(records, pictures, strict=True)
        ]
        groups.append((heading, strips))
        rows += [list(row.values()) for row in pictures]
    page = Page(
        settings.title, metrics, _colours(manifest.classes), groups, _plots(inputs), _set_aside(inputs.manifest)
    )
    write_text(outputs.page, page.html())
    with atomic_path(outputs.sheet) as temporary:
        Image.fromarray(sheet(rows, settings.thumbnail)).save(temporary, quality=88)


class _Gallery:
    """Chooses images and makes their pictures."""

    def __init__(self, settings: Settings, inputs: Inputs, manifest: Manifest, root: Path) -> None:
        self._settings, self._manifest, self._root = settings, manifest, root
        self._truth = None if inputs.truth is None else MaskStore(inputs.truth)
        self._scores = None if inputs.scores is None else ScoreStore(inputs.scores)
        self._masks = {name: MaskStore(path) for name, path in inputs.masks.items()}

    def groups(self) -> Iterator[tuple[str, list[ImageRecord], list[str]]]:
        """Heading, images and names of masks to show, for each set of images that has the same masks."""
        for split in self._manifest.splits:
            records = self._manifest.split(split).records
            names = [name for name, store in self._masks.items() if all(record.id in store for record in records)]
            if not names:
                continue
            for word, chosen in self._choose(list(records), names[-1]).items():
                judged = "" if word == "random" else f", by IoU of '{names[-1]}'"
                yield f"{split}: {word} images{judged}", chosen, names

    def _choose(self, records: list[ImageRecord], name: str) -> dict[str, list[ImageRecord]]:
        """Best, random and worst images, judged by one mask store; without truth random ones; no image twice."""
        count = 0
        if self._truth is not None:
            records.sort(key=lambda record: (-self._iou(record, name), record.id))
            count = min(self._settings.images, len(records) // 3)
        rest = records[count : len(records) - count]
        random = [rest[index] for index in np.random.default_rng(0).permutation(len(rest))[: self._settings.images]]
        groups = {"best": records[:count], "random": random, "worst": records[len(records) - count :][::-1]}
        return {word: chosen for word, chosen in groups.items() if chosen}

    def _iou(self, record: ImageRecord, name: str) -> float:
        assert self._truth is not None
        classes = self._manifest.classes
        if record.id not in self._truth:
            return 0.0
        masks = self._truth[record.id], self._masks[name][record.id]
        return mean_iou(confusion_matrix(*masks, len(classes), classes.ignore, "background"))

    def pictures(self, record: ImageRecord, names: list[str]) -> dict[str, RGB]:
        """Image, activation maps where there are some, masks, truth."""
        side, classes = self._settings.thumbnail, self._manifest.classes
        image = load_record(record, self._root)
        found = {"image": shrink(image, side)}
        if self._scores is not None and record.id in self._scores:
            found["activation"] = shrink(heat(image, self._scores[record.id]), side)
        for name in names:
            found[name] = shrink(overlay(image, self._masks[name][record.id], classes), side)
        if self._truth is not None and record.id in self._truth:
            found["truth"] = shrink(overlay(image, self._truth[record.id], classes), side)
        return found

    def title(self, record: ImageRecord) -> str:
        """Id and tags."""
        tags = ", ".join(self._manifest.classes.names[index] for index in record.tags or ())
        return f"{record.id} ({tags or 'no tags'})"


def _set_aside(manifest: Path) -> list[tuple[str, str]]:
    """Bad items the import left out."""
    path = manifest.with_name(SET_ASIDE)
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        return [(row["id"], row["reason"]) for row in csv.DictReader(stream)]


def _colours(classes: ClassTable) -> dict[str, str]:
    colours = {name: "#{:02x}{:02x}{:02x}".format(*classes.palette[i]) for i, name in enumerate(classes.names) if i}
    return {**colours, "ignored": "#{:02x}{:02x}{:02x}".format(*classes.palette[classes.ignore])}


def _plots(inputs: Inputs) -> list[tuple[str, str]]:
    plots = [
        (f"losses of the {name}", line_plot(_losses(path), "step", "loss")) for name, path in inputs.curves.items()
    ]
    if inputs.threshold is None:
        return plots
    found: dict[str, Any] = json.loads(inputs.threshold.read_text())
    across, up = zip(*found["curve"], strict=True)
    title = f"background threshold of CAMs on {found['split']} ({found['images']} images): best {found['threshold']:g}"
    plots.append((title, line_plot({"mean IoU": (across, up)}, "threshold", "mean IoU", found["threshold"])))
    return plots


def _losses(path: Path) -> dict[str, tuple[list[float], list[float]]]:
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = [name for name in rows[0] if name not in ("step", "lr")]
    # A part that sets in later has no value before.
    there = {name: [row for row in rows if row[name]] for name in names}
    return {name: ([float(r["step"]) for r in kept], [float(r[name]) for r in kept]) for name, kept in there.items()}
