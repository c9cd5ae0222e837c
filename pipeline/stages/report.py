"""Draws the report page and the contact sheet of a run."""

import csv
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.artifacts.files import atomic_path, write_text
from pipeline.artifacts.job import Job
from pipeline.artifacts.layout import SET_ASIDE
from pipeline.artifacts.lineage import MadeStage, lineage
from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.artifacts.masks import MaskStore
from pipeline.artifacts.scores import ScoreStore
from pipeline.config.report import ReportStage as Settings
from pipeline.data.images import data_root, load_record
from pipeline.data.progress import progress
from pipeline.report.curves import histogram, line_plot
from pipeline.report.gallery import BINS, TRUTH, Gallery, Sources, last_iou, make_gallery
from pipeline.report.page import Page, Part, classes_part, figures, gallery_part, overview, table
from pipeline.report.pictures import RGB, heat, overlay, sheet, shrink
from pipeline.report.stages import run_graph, stage_list, warning_table

__all__ = ["Inputs", "Outputs", "Settings", "run"]

_log = logging.getLogger(__name__)
_CELL = 200


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

    @property
    def stores(self) -> dict[str, Path]:
        """All mask stores, the truth last."""
        return self.masks if self.truth is None else {**self.masks, TRUTH: self.truth}

    @property
    def layers(self) -> dict[str, Path]:
        """All files with something to lay over an image, by the name the page has for it."""
        return self.stores if self.scores is None else {"activation": self.scores, **self.stores}

    @property
    def files(self) -> list[Path]:
        """Everything."""
        single = (self.manifest, self.scores, self.metrics, self.truth, self.threshold)
        return [path for path in (*single, *self.masks.values(), *self.curves.values()) if path is not None]


@dataclass(frozen=True)
class Outputs:
    """Files written: a self-contained page, and some of its pictures as one sheet."""

    page: Path
    sheet: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Draw page and sheet.

    Raises:
        PseudomaskError: an image cannot be read, or no image has a mask.
    """
    manifest, root = Manifest.read(inputs.manifest), data_root(job.runtime)
    sources = _sources(manifest, inputs, root)
    gallery = make_gallery(sources, settings.thumbnail, settings.megabytes, job.runtime.threads, progress)
    _log.info("%d of %d images shown, %d pixels", gallery.shown, len(sources.records), gallery.side)
    made = lineage(inputs.files)
    entries = None if inputs.metrics is None else json.loads(inputs.metrics.read_text())["entries"]
    data = {
        "gallery": gallery.document,
        "entries": entries,
        "commands": {name: _path_to_show(path, made, settings.run) for name, path in inputs.layers.items()},
        # The page lies three folders below the working folder, in the store as in results/.
        "base": f"../../../{os.path.relpath(root)}/",
    }
    parts = list(_parts(inputs, sources, gallery, entries, made))
    write_text(outputs.page, Page(settings.title, _summary(sources, manifest), parts, data).html())
    rows = [list(_pictures(record, sources, _CELL)) for record in _chosen(settings, sources, gallery)]
    with atomic_path(outputs.sheet) as temporary:
        Image.fromarray(sheet(rows, _CELL)).save(temporary, quality=88)


def _sources(manifest: Manifest, inputs: Inputs, root: Path) -> Sources:
    masks = {name: MaskStore(path) for name, path in inputs.masks.items()}
    truth = None if inputs.truth is None else MaskStore(inputs.truth)
    scores = None if inputs.scores is None else ScoreStore(inputs.scores)
    stores = [*masks.values(), *([] if scores is None else [scores])] or ([] if truth is None else [truth])
    records = [record for record in manifest if any(record.id in store for store in stores)]
    return Sources(records, manifest.classes, root, masks, truth, scores)


def _summary(sources: Sources, manifest: Manifest) -> str:
    splits = ", ".join(f"{split} {len(manifest.split(split))}" for split in manifest.splits)
    return f"{len(manifest)} images ({splits}), {len(sources.classes.foreground)} classes"


def _parts(
    inputs: Inputs, sources: Sources, gallery: Gallery, entries: list[dict[str, Any]] | None, made: list[MadeStage]
) -> Iterator[Part]:
    if entries is None:
        yield Part("Results", "<p class='note'>No true masks were given, so nothing was measured.</p>")
    else:
        yield Part("Results", overview(entries))
    if made:
        yield Part("Stages", run_graph(made))
    if entries is not None:
        yield classes_part()
    yield gallery_part(_gallery_note(sources, gallery))
    yield Part("Curves", figures(_curves(inputs)))
    yield Part("Distributions", figures(_distributions(sources, gallery)))
    yield Part(
        "Warnings", warning_table({name: column.warnings(sources.records) for name, column in gallery.columns.items()})
    )
    set_aside = _set_aside(inputs.manifest)
    if set_aside:
        yield Part("Set aside", table(["image", "reason"], set_aside))
    if made:
        yield Part("Provenance", stage_list(made))


def _gallery_note(sources: Sources, gallery: Gallery) -> str:
    count = len(sources.records)
    shown = f"All {count} images of the run that have masks"
    if gallery.shown < count:
        shown = f"The worst, the best and random ones, {gallery.shown} of the {count} images of the run that have masks"
    return (
        f"{shown}, at most {gallery.side} pixels wide or high so that the page stays small; numbers are of the masks "
        "in full size. IoU of an image is the mean over the classes in its truth or mask. Choose an image to compare "
        "two of its layers; ? lists the keys."
    )


def _path_to_show(path: Path, made: list[MadeStage], run_name: str) -> str:
    """The path a person would type for a store: through ``results/`` where a stage of the run made it."""
    names = {stage.folder: stage.name for stage in made}
    return f"results/{run_name}/{names[path.parent]}/{path.name}" if path.parent in names else str(path)


def _chosen(settings: Settings, sources: Sources, gallery: Gallery) -> Iterator[ImageRecord]:
    """Best, random and worst images of each split for the sheet."""
    iou = last_iou(gallery.columns)
    draw = np.random.default_rng(0)
    for split in sorted({split for record in sources.records for split in record.splits}):
        own = [number for number, record in enumerate(sources.records) if split in record.splits]
        order = sorted(own, key=lambda number: -iou[number] if np.isfinite(iou[number]) else np.inf)
        known = int(np.isfinite(iou[own]).sum())
        count = min(settings.images, known // 3)
        rest = order[count : known - count] + order[known:]
        random = [rest[place] for place in draw.permutation(len(rest))[: settings.images]]
        for number in order[:count] + random + order[known - count : known][::-1]:
            yield sources.records[number]


def _pictures(record: ImageRecord, sources: Sources, side: int) -> Iterator[RGB]:
    """Image, activation maps where there are some, masks, truth."""
    image = load_record(record, sources.root)
    yield shrink(image, side)
    if sources.scores is not None and record.id in sources.scores:
        yield shrink(heat(image, sources.scores[record.id]), side)
    for store in sources.stores.values():
        if record.id in store:
            yield shrink(overlay(image, store[record.id], sources.classes), side)


def _set_aside(manifest: Path) -> list[list[str]]:
    """Bad items the import left out."""
    path = manifest.with_name(SET_ASIDE)
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        return [[row["id"], row["reason"]] for row in csv.DictReader(stream)]


def _curves(inputs: Inputs) -> list[tuple[str, str]]:
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


def _distributions(sources: Sources, gallery: Gallery) -> Iterator[tuple[str, str]]:
    """Image IoU and ignored share of every mask store, confidence of the scores."""
    masks = {name: column for name, column in gallery.columns.items() if name != TRUTH}
    iou = {name: _shares(column.iou) for name, column in masks.items()}
    if sources.truth is not None:
        known = {name: shares for name, shares in iou.items() if shares.any()}
        yield "mean IoU of an image", histogram(known, "mean IoU", "share of images")
    ignored = {name: _shares(column.ignored) for name, column in masks.items() if np.nansum(column.ignored) > 0}
    if ignored:
        yield "ignored pixels of an image", histogram(ignored, "share of pixels ignored", "share of images")
    if sources.scores is not None:
        title = f"strongest {sources.scores.score_kind} value of a pixel"
        yield title, histogram({"scores": gallery.confidence}, "value", "share of pixels")


def _shares(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Share of the known values in each of ``BINS`` equal parts of 0..1."""
    known = values[np.isfinite(values)]
    counts, _ = np.histogram(known, BINS, (0, 1))
    shares: NDArray[np.float64] = counts / max(1, len(known))
    return shares
