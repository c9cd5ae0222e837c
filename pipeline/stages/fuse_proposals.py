"""Joins the proposals for single objects into masks of images: where they agree a class, elsewhere the ignore value."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.boxes import object_id, read_box_table
from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.masks import MaskStore, MaskWriter
from pipeline.config.proposals import FusionStage as Settings
from pipeline.data.progress import progress
from pipeline.proposals.fusion import assemble, fuse

__all__ = ["Inputs", "Outputs", "Settings", "run"]


@dataclass(frozen=True)
class Inputs:
    """Files read: ``objects`` are stores of single objects by the name of their source; one alone is only assembled."""

    manifest: Path
    boxes: Path
    objects: dict[str, Path]


@dataclass(frozen=True)
class Outputs:
    """Files written: a mask per image of the split."""

    masks: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Fuse per object, then assemble per image; an image without boxes is background.

    Raises:
        PseudomaskError: an object is missing in a store.
    """
    manifest, boxes = Manifest.read(inputs.manifest), read_box_table(inputs.boxes)
    stores = [MaskStore(path) for path in inputs.objects.values()]
    ignore = manifest.classes.ignore
    with MaskWriter(outputs.masks, manifest.classes, stage=job.name, key=job.key) as writer:
        for record in progress(manifest.split(settings.split).records, job.name):
            ids = [object_id(record.id, number) for number in range(len(boxes.get(record.id, ())))]
            objects = [fuse([store[name] for store in stores], ignore) for name in ids]
            writer.add(record.id, assemble(objects, (record.height, record.width), ignore))
