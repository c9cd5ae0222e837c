"""Cuts the object of every box out by GrabCut: a store of single objects."""

import logging
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.boxes import Corners, object_id, read_box_table
from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.config.proposals import GrabCutStage as Settings
from pipeline.data.images import data_root, load_record
from pipeline.data.progress import progress
from pipeline.proposals.grabcut import grabcut
from pipeline.proposals.objects import OfBox, write_objects

__all__ = ["Inputs", "Outputs", "Settings", "run"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """Files read."""

    manifest: Path
    boxes: Path


@dataclass(frozen=True)
class Outputs:
    """Files written: a mask per box."""

    masks: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Cut this job's boxes; the log says how many collapsed.

    Raises:
        PseudomaskError: an image cannot be read.
    """
    manifest, boxes, root = Manifest.read(inputs.manifest), read_box_table(inputs.boxes), data_root(job.runtime)
    cv2.setNumThreads(1)
    collapsed = 0

    def propose(record: ImageRecord) -> OfBox:
        image = load_record(record, root)
        all_corners = [box.corners for box in boxes[record.id]]

        def of_box(corners: Corners, number: int) -> NDArray[np.bool_] | None:
            nonlocal collapsed
            others = all_corners[:number] + all_corners[number + 1 :]
            cut = grabcut(image, corners, settings, object_id(record.id, number), others)
            if not cut.collapsed or settings.fallback == "keep":
                return cut.foreground
            collapsed += 1
            if settings.fallback == "ignore":
                return None
            filled = np.zeros(image.shape[:2], bool)
            filled[corners[1] : corners[3], corners[0] : corners[2]] = True
            return filled

        return of_box

    records = progress(job.part(manifest.split(settings.split)).records, job.name)
    write_objects(outputs.masks, manifest.classes, records, boxes, propose, stage=job.name, key=job.key)
    if collapsed:
        _log.warning("%s: GrabCut collapsed in %d boxes, treated as '%s'", job.name, collapsed, settings.fallback)
