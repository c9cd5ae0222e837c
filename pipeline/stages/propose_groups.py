"""Chooses, for every box, the region of the image that fits it best: a store of single objects."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from pipeline.artifacts.boxes import read_box_table
from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.config.proposals import GroupingStage as Settings
from pipeline.data.images import UNREADABLE, data_root, load_record, unreadable
from pipeline.data.progress import progress
from pipeline.errors import PseudomaskError
from pipeline.proposals.grouping import Regions
from pipeline.proposals.objects import OfBox, write_objects

__all__ = ["Inputs", "Outputs", "Settings", "run"]


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
    """Group this job's images.

    Raises:
        PseudomaskError: an image or an edge map cannot be read, or the two differ in size.
    """
    manifest, boxes, root = Manifest.read(inputs.manifest), read_box_table(inputs.boxes), data_root(job.runtime)
    cv2.setNumThreads(1)

    def propose(record: ImageRecord) -> OfBox:
        edges = None if settings.edges is None else _edges(root / settings.edges / f"{record.id}.png", record)
        regions = Regions(load_record(record, root), settings, edges)
        return lambda corners, _: regions.choose(corners, settings)

    records = progress(job.part(manifest.split(settings.split)).records, job.name)
    # The products are small: BLAS would lose time waiting for its threads, and round by their number.
    with threadpool_limits(1, "blas"):
        write_objects(outputs.masks, manifest.classes, records, boxes, propose, stage=job.name, key=job.key)


def _edges(path: Path, record: ImageRecord) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            edges = np.array(image.convert("L"))
    except UNREADABLE as error:
        raise unreadable(path, record.id, error) from error
    if edges.shape != (record.height, record.width):
        raise PseudomaskError(
            f"edge map of '{record.id}' ({path}) is {edges.shape[1]}x{edges.shape[0]}, "
            f"the image {record.width}x{record.height}"
        )
    return edges
