"""Finds the background threshold whose masks agree best with a labelled split (KTSE and AEFT ``evaluation.py``)."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.artifacts.files import write_text
from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.masks import MaskStore
from pipeline.artifacts.scores import ScoreStore
from pipeline.config.background import ThresholdSettings as Settings
from pipeline.data.progress import progress
from pipeline.errors import PseudomaskError
from pipeline.evaluation.metrics import mean_iou
from pipeline.refine.threshold import ThresholdSearch

__all__ = ["Inputs", "Outputs", "Settings", "run"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """Files read."""

    manifest: Path
    scores: Path
    truth: Path


@dataclass(frozen=True)
class Outputs:
    """Files written: JSON with the best threshold and the whole curve."""

    threshold: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Search the settings' range.

    Raises:
        PseudomaskError: the scores are no activation maps, or no image has both maps and truth.
    """
    manifest = Manifest.read(inputs.manifest)
    scores, truth = ScoreStore(inputs.scores), MaskStore(inputs.truth)
    if scores.score_kind != "cam":
        raise PseudomaskError(f"{inputs.scores} holds {scores.score_kind} scores; a threshold is for activation maps")
    ids = [record.id for record in manifest.split(settings.split) if record.id in scores and record.id in truth]
    if not ids:
        raise PseudomaskError(
            f"no image of split '{settings.split}' has both maps and a true mask; choose another split"
        )
    classes = manifest.classes
    search = ThresholdSearch(len(classes), classes.ignore)
    for image_id in progress(ids, job.name):
        search.add(scores[image_id], truth[image_id])
    which = [classes.index(name, "threshold.classes") for name in settings.classes] or None
    steps = np.arange(settings.start, settings.stop + settings.step / 2, settings.step)
    curve = [(round(float(t), 6), mean_iou(search.confusion(float(t)), which)) for t in steps]
    threshold, best = max(curve, key=lambda point: point[1])
    _log.info(
        "%s: mean IoU %.4f at threshold %g on %d images of %s", job.name, best, threshold, len(ids), settings.split
    )
    found = {"threshold": threshold, "mean_iou": best, "split": settings.split, "images": len(ids), "curve": curve}
    write_text(outputs.threshold, json.dumps(found, indent=1))
