"""Draws the report page and the contact sheet of a run."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.artifacts.files import atomic_path, write_text
from pipeline.artifacts.job import Job
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
    """Files read; ``masks`` and ``curves`` by the names shown."""

    manifest: Path
    metrics: Path
    truth: Path
    scores: Path
    masks: dict[str, Path]
    curves: dict[str, Path]
    threshold: Path


@dataclass(frozen=True)
class Outputs:
    """Files written: a self-contained page, and its first pictures as one sheet."""

    page: Path
    sheet: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Draw page and sheet."""
    manifest = Manifest.read(inputs.manifest)
    metrics = json.loads(inputs.metrics.read_text())
    gallery = _Gallery(settings, inputs, manifest, data_root(job.runtime))
    groups, rows = [], []
    for split in dict.fromkeys(entry["split"] for entry in metrics["entries"]):
        shown = [
            entry["name"] for entry in metrics["entries"] if entry["split"] == split and entry["name"] in inputs.masks
        ]
        chosen = gallery.choose(split, shown[-1])
        for word, records in chosen.items():
            pictures = [gallery.pictures(record, shown) for record in records]
            titles = [gallery.title(record) for record in records]
            strips = [
                Strip(title, [(name, data_url(picture)) for name, picture in row.items()])
                for title, row in zip(titles, pictures, strict=True)
            ]
            judged = "" if word == "random" else f", by IoU of '{shown[-1]}'"
            groups.append((f"{split}: {word} images{judged}", strips))
            rows += [list(row.values()) for row in pictures]
    page = Page(settings.title, metrics, _colours(manifest.classes), groups, _plots(inputs))
    write_text(outputs.page, page.html())
    with atomic_path(outputs.sheet) as temporary:
        Image.fromarray(sheet(rows, settings.thumbnail)).save(temporary, quality=88)


class _Gallery:
    """Chooses images and makes their pictures."""

    def __init__(self, settings: Settings, inputs: Inputs, manifest: Manifest, root: Path) -> None:
        self._settings, self._manifest, self._root = settings, manifest, root
        self._truth, self._scores = MaskStore(inputs.truth), ScoreStore(inputs.scores)
        self._masks = {name: MaskStore(path) for name, path in inputs.masks.items()}

    def choose(self, split: str, name: str) -> dict[str, list[ImageRecord]]:
        """Worst, best and random images of a split, judged by one mask store; no image twice."""
        store, classes = self._masks[name], self._manifest.classes
        judged = []
        for record in self._manifest.split(split):
            matrix = confusion_matrix(
                self._truth[record.id], store[record.id], len(classes), classes.ignore, "background"
            )
            judged.append((mean_iou(matrix), record))
        judged.sort(key=lambda pair: (pair[0], pair[1].id))
        count = min(self._settings.images, len(judged) // 3)
        worst, best = judged[:count], judged[len(judged) - count :][::-1]
        rest = judged[count : len(judged) - count]
        random = np.random.default_rng(0).permutation(len(rest))[: self._settings.images]
        groups = {"best": best, "random": [rest[index] for index in random], "worst": worst}
        return {word: [record for _, record in pairs] for word, pairs in groups.items() if pairs}

    def pictures(self, record: ImageRecord, names: list[str]) -> dict[str, RGB]:
        """Image, activation maps where there are some, masks, truth."""
        side, classes = self._settings.thumbnail, self._manifest.classes
        image = load_record(record, self._root)
        found = {"image": shrink(image, side)}
        if record.id in self._scores:
            found["activation"] = shrink(heat(image, self._scores[record.id]), side)
        for name in names:
            found[name] = shrink(overlay(image, self._masks[name][record.id], classes), side)
        found["truth"] = shrink(overlay(image, self._truth[record.id], classes), side)
        return found

    def title(self, record: ImageRecord) -> str:
        """Id and tags."""
        tags = ", ".join(self._manifest.classes.names[index] for index in record.tags or ())
        return f"{record.id} ({tags or 'no tags'})"


def _colours(classes: ClassTable) -> dict[str, str]:
    colours = {name: "#{:02x}{:02x}{:02x}".format(*classes.palette[i]) for i, name in enumerate(classes.names) if i}
    return {**colours, "ignored": "#{:02x}{:02x}{:02x}".format(*classes.palette[classes.ignore])}


def _plots(inputs: Inputs) -> list[tuple[str, str]]:
    plots = [
        (f"losses of the {name}", line_plot(_losses(path), "step", "loss")) for name, path in inputs.curves.items()
    ]
    found: dict[str, Any] = json.loads(inputs.threshold.read_text())
    across, up = zip(*found["curve"], strict=True)
    title = f"background threshold of CAMs on {found['split']} ({found['images']} images): best {found['threshold']:g}"
    plots.append((title, line_plot({"mean IoU": (across, up)}, "threshold", "mean IoU", found["threshold"])))
    return plots


def _losses(path: Path) -> dict[str, tuple[list[float], list[float]]]:
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = [name for name in rows[0] if name not in ("step", "lr")]
    steps = [float(row["step"]) for row in rows]
    return {name: (steps, [float(row[name]) for row in rows]) for name in names}
