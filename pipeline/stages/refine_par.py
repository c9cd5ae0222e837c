"""Refines scores by PAR; the result is probabilities with a background."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.scores import Scores, ScoreStore, ScoreWriter
from pipeline.config.refine import ParStage as Settings
from pipeline.data.images import data_root
from pipeline.nets.device import find_device
from pipeline.nets.inference import read_images
from pipeline.refine.background import find_threshold, normalise, with_background
from pipeline.refine.par import refine_par

__all__ = ["Inputs", "Outputs", "Settings", "refined", "run"]


@dataclass(frozen=True)
class Inputs:
    """Files read; a found threshold goes before that of the settings."""

    manifest: Path
    scores: Path
    threshold: Path | None = None


@dataclass(frozen=True)
class Outputs:
    """Files written: scores of kind ``probability``."""

    scores: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Refine this job's images that have scores."""
    torch.set_num_threads(job.runtime.threads)
    manifest, scores = Manifest.read(inputs.manifest), ScoreStore(inputs.scores)
    threshold = find_threshold(settings.background, inputs.threshold)
    device = find_device(job.runtime)
    records = job.part(manifest.only(scores)).records
    with ScoreWriter(outputs.scores, manifest.classes, "probability", stage=job.name, key=job.key) as writer:
        for record, image in read_images(records, data_root(job.runtime), job.name):
            values, classes = refined(image, scores[record.id], settings, threshold, device)
            writer.add(record.id, values, classes, (record.height, record.width))


@torch.inference_mode()
def refined(
    image: NDArray[np.uint8], scores: Scores, settings: Settings, threshold: float, device: torch.device
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Probabilities (K, h, w) at the scale PAR works at, and their class indices."""
    height, width = (max(1, round(side * settings.par.scale)) for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    values, classes = with_background(scores, settings.background, threshold, (height, width))
    pixels = torch.from_numpy(np.asarray(small, np.float32)).to(device).permute(2, 0, 1)[None]
    # Reference codes take the softmax of the scores; normalised scores keep the order and the spread of the maps.
    start = torch.from_numpy(normalise(values)).to(device)[None]
    result: NDArray[np.float32] = refine_par(pixels, start, settings.par)[0].cpu().numpy()
    return result / result.sum(0, keepdims=True), classes
