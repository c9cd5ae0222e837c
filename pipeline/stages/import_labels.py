"""Reads or simulates clicks and scribbles as sparse masks: a class where labelled, the ignore value elsewhere."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.boxes import read_box_table
from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.artifacts.masks import MaskStore, MaskWriter
from pipeline.config.labels import SparseLabelSettings as Settings
from pipeline.data.images import data_root
from pipeline.data.sparse import (
    Click,
    draw_clicks,
    read_clicks,
    read_scribbles,
    simulate_box_clicks,
    simulate_clicks,
    simulate_scribbles,
)
from pipeline.data.voc import read_mask
from pipeline.errors import PseudomaskError

__all__ = ["Inputs", "Outputs", "Settings", "run"]


@dataclass(frozen=True)
class Inputs:
    """Files read; ``truth`` or ``boxes`` to simulate from."""

    manifest: Path
    truth: Path | None = None
    boxes: Path | None = None


@dataclass(frozen=True)
class Outputs:
    """Files written: a sparse mask per image that has labels."""

    masks: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Write the sparse masks; their store says whether people or a simulation made them.

    Raises:
        PseudomaskError: a label file is missing, damaged or does not fit its image.
    """
    manifest = Manifest.read(inputs.manifest)
    reader = _Reader(settings, inputs, manifest, data_root(job.runtime))
    facts = {
        "stage": job.name,
        "key": job.key,
        "labels": f"{settings.kind}, size {settings.size}, from {settings.source}",
    }
    with MaskWriter(outputs.masks, manifest.classes, **facts) as writer:
        for record in manifest:
            mask = reader.mask(record)
            if mask is not None:
                writer.add(record.id, mask)


class _Reader:
    """Makes the sparse mask of one image after the other."""

    def __init__(self, settings: Settings, inputs: Inputs, manifest: Manifest, root: Path) -> None:
        self._settings, self._classes, self._root = settings, manifest.classes, root
        self._truth = MaskStore(inputs.truth) if inputs.truth is not None else None
        if settings.source == "masks" and self._truth is None:
            raise PseudomaskError("labels simulated from masks need them; connect the stage to import_truth")
        if settings.source == "boxes" and inputs.boxes is None:
            raise PseudomaskError("labels simulated from boxes need them; connect the stage to import_boxes")
        self._boxes = read_box_table(inputs.boxes) if inputs.boxes is not None else {}
        self._clicks: dict[str, list[Click]] = {}
        if settings.source == "files" and settings.clicks is not None:
            self._clicks = read_clicks(root / settings.clicks, self._classes, settings.max_rank)
            extra = settings.background_clicks
            for image_id, clicks in read_clicks(root / extra, self._classes, None, True).items() if extra else ():
                self._clicks[image_id] = self._clicks.get(image_id, []) + clicks

    def mask(self, record: ImageRecord) -> NDArray[np.uint8] | None:
        """Sparse mask, or None for an image without labels."""
        settings, ignore, size = self._settings, self._classes.ignore, (record.height, record.width)
        if settings.source == "masks":
            assert self._truth is not None
            if record.id not in self._truth:
                return None
            truth = self._truth[record.id]
            if settings.kind == "scribbles":
                return simulate_scribbles(truth, settings.size, settings.seed, record.id, ignore)
            clicks = simulate_clicks(truth, settings.background_points, settings.seed, record.id, ignore)
            return draw_clicks(clicks, size, settings.size, ignore, record.id)
        if settings.source == "boxes":
            boxes = self._boxes.get(record.id, [])
            clicks = simulate_box_clicks(boxes, size, settings.background_points, settings.seed, record.id)
            return draw_clicks(clicks, size, settings.size, ignore, record.id)
        if settings.kind == "clicks":
            found = self._clicks.get(record.id)
            return None if found is None else draw_clicks(found, size, settings.size, ignore, record.id)
        folder = self._root / str(settings.scribbles)
        if (folder / f"{record.id}.png").exists():
            return read_mask(folder / f"{record.id}.png", record.id, size, self._classes)
        path = folder / f"{record.id}.xml"
        return read_scribbles(path, record.id, size, self._classes, settings.size) if path.exists() else None
