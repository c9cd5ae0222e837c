"""Lets activation maps spread up to the boundaries a trained IRN sees (``make_sem_seg_labels`` of its code)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.scores import Scores, ScoreStore, ScoreWriter
from pipeline.config.inference import MultiScaleSettings
from pipeline.config.irn import IrnWalkStage as Settings
from pipeline.data.images import data_root
from pipeline.nets.decoders import upsample
from pipeline.nets.exported import check_classes, load_boundary_network
from pipeline.nets.inference import ViewMaker, join_mirrored, read_images, strided_size
from pipeline.nets.irn import STRIDE, BoundaryNetwork
from pipeline.refine.random_walk import random_walk

__all__ = ["Inputs", "Outputs", "Settings", "run", "walked"]


@dataclass(frozen=True)
class Inputs:
    """Files read: activation maps, and the boundary network."""

    manifest: Path
    scores: Path
    weights: Path


@dataclass(frozen=True)
class Outputs:
    """Files written: scores of kind ``cam``, the largest of all classes 1."""

    scores: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Spread the maps of this job's images that have some.

    Raises:
        PseudomaskError: an image cannot be read, or the network is for other classes.
    """
    manifest, scores = Manifest.read(inputs.manifest), ScoreStore(inputs.scores)
    network, network_settings, classes = load_boundary_network(inputs.weights)
    check_classes(manifest.classes, classes, inputs.weights)
    views = ViewMaker(network, network_settings, max(network.multiple, STRIDE), job.runtime)
    records = job.part(manifest.only(scores)).records
    with ScoreWriter(outputs.scores, manifest.classes, "cam", stage=job.name, key=job.key) as writer:
        for record, image in read_images(records, data_root(job.runtime), job.name):
            maps = scores[record.id]
            writer.add(record.id, walked(network, views, image, maps, settings), maps.classes, maps.size)


@torch.inference_mode()
def walked(
    network: BoundaryNetwork, views: ViewMaker, image: NDArray[np.uint8], maps: Scores, settings: Settings
) -> NDArray[np.float32]:
    """Maps after the walk, float32 (K, ceil(H / 4), ceil(W / 4)), divided by the largest value of all."""
    size = strided_size((image.shape[0], image.shape[1]), STRIDE)
    (view,) = views.of(image, MultiScaleSettings(scales=(1.0,), flip=settings.flip))
    with views.autocast():
        logits: Tensor = network(view)[0]
    edge = upsample(join_mirrored(logits.float()[:, None])[None], size)[0, 0].sigmoid()
    values = upsample(torch.from_numpy(np.asarray(maps.values, np.float32))[None].to(edge.device), size)[0]
    if not len(values):
        return np.zeros((0, *size), np.float32)
    spread = random_walk(values, edge, settings.radius, settings.beta, settings.doublings)
    result: NDArray[np.float32] = (spread / spread.amax().clamp(min=1e-12)).cpu().numpy()
    return result
