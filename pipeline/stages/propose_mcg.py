"""Chooses, for every box, the pre-computed MCG candidate that fits it best: a store of single objects."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.boxes import read_box_table
from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.config.proposals import McgStage as Settings
from pipeline.data.images import data_root
from pipeline.data.progress import progress
from pipeline.proposals.mcg import McgCandidates
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
    """Choose for this job's images.

    Raises:
        PseudomaskError: a file of candidates is missing, damaged or for another image.
    """
    manifest, boxes = Manifest.read(inputs.manifest), read_box_table(inputs.boxes)
    folder = data_root(job.runtime) / settings.folder

    def propose(record: ImageRecord) -> OfBox:
        candidates = McgCandidates(folder / f"{record.id}.mat", record.id, (record.height, record.width))
        return lambda corners, _: candidates.choose(corners, settings.choice)

    records = progress(job.part(manifest.split(settings.split)).records, job.name)
    write_objects(outputs.masks, manifest.classes, records, boxes, propose, stage=job.name, key=job.key)
