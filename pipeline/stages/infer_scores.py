"""Class probabilities of a trained segmentation network for whole images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.artifacts.boxes import read_box_table
from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.artifacts.scores import ScoreWriter
from pipeline.config.inference import InferenceSettings as Settings
from pipeline.data.augment import Layer
from pipeline.data.images import data_root
from pipeline.data.priors import prior_layers
from pipeline.errors import PseudomaskError
from pipeline.nets.decoders import upsample
from pipeline.nets.exported import check_classes, load_segmenters
from pipeline.nets.inference import ViewMaker, join_mirrored, read_images, strided_size
from pipeline.nets.segmentation import SegmentationNetwork

__all__ = ["Inputs", "Outputs", "Settings", "joined", "probabilities", "resized", "run", "strong_classes", "tagged"]


@dataclass(frozen=True)
class Inputs:
    """Files read; ``boxes`` for a network that sees priors."""

    manifest: Path
    weights: Path
    boxes: Path | None = None


@dataclass(frozen=True)
class Outputs:
    """Files written: scores of kind ``probability``."""

    scores: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Write the probabilities of this job's images.

    Raises:
        PseudomaskError: an image cannot be read or lacks the tags asked for; the network is for other classes, or sees
            boxes, which are not connected.
    """
    manifest = Manifest.read(inputs.manifest)
    networks, network_settings, classes = load_segmenters(inputs.weights, settings.branch)
    check_classes(manifest.classes, classes, inputs.weights)
    views = ViewMaker(nn.ModuleList(networks), network_settings, networks[0].backbone.multiple, job.runtime)
    priors = network_settings.priors
    if priors is not None and inputs.boxes is None:
        raise PseudomaskError(
            f"the network in {inputs.weights} sees priors of boxes; connect the stage to import_boxes"
        )
    boxes = read_box_table(inputs.boxes) if priors is not None and inputs.boxes is not None else {}
    chosen = manifest if settings.split is None else manifest.split(settings.split)
    with ScoreWriter(outputs.scores, classes, "probability", stage=job.name, key=job.key) as writer:
        for record, image in read_images(job.part(chosen).records, data_root(job.runtime), job.name):
            layers: tuple[Layer, ...] = ()
            if priors is not None:
                size = (record.height, record.width)
                layers = prior_layers(boxes.get(record.id, ()), size, priors, len(classes))
            values = joined([probabilities(network, views, image, settings, layers) for network in networks], settings)
            kept = strong_classes(values, settings.min_probability)
            if settings.use_tags:
                kept = tagged(kept, record)
            writer.add(record.id, values[kept], kept, (record.height, record.width))


@torch.inference_mode()
def probabilities(
    network: SegmentationNetwork,
    views: ViewMaker,
    image: NDArray[np.uint8],
    settings: Settings,
    layers: Sequence[Layer] = (),
) -> NDArray[np.float32]:
    """Softmax of logits averaged over mirror images and joined over scales by mean or maximum (DeepLab-v2, DuPL).

    Returns:
        float32 (C, ceil(H / stride), ceil(W / stride)), summing to 1 over C.
    """
    own = (image.shape[0], image.shape[1])
    size = strided_size(own, settings.stride)
    logits = []
    for view in views.of(image, settings.multi_scale, resized(own, settings), layers):
        with views.autocast():
            seen = network(view)
        logits.append(upsample(join_mirrored(seen.float())[None], size)[0])
    stacked = torch.stack(logits)
    joined = stacked.mean(0) if settings.fusion == "mean" else stacked.amax(0)
    result: NDArray[np.float32] = joined.softmax(0).cpu().numpy()
    return result


def joined(values: Sequence[NDArray[np.float32]], settings: Settings) -> NDArray[np.float32]:
    """Probabilities of several networks (C, h, w) as one: their mean, or their maximum (no longer summing to 1)."""
    if len(values) == 1:
        return values[0]
    stacked = np.stack(values)
    result: NDArray[np.float32] = stacked.max(0) if settings.branch == "max" else stacked.mean(0)
    return result


def resized(size: tuple[int, int], settings: Settings) -> tuple[float, float]:
    """Height and width at which an image of ``size`` is seen at scale 1."""
    if settings.resize == "square":
        return settings.side, settings.side
    factor = settings.side / min(size) if settings.resize == "short_side" else 1.0
    return size[0] * factor, size[1] * factor


def strong_classes(values: NDArray[np.float32], least: float) -> NDArray[np.int64]:
    """Indices of classes that somewhere exceed ``least`` or are the most probable of all."""
    strong = values.max((1, 2)) > least
    strong[np.unique(values.argmax(0))] = True
    return np.flatnonzero(strong)


def tagged(classes: NDArray[np.int64], record: ImageRecord) -> NDArray[np.int64]:
    """The background and those of ``classes`` that the image's tags name.

    Raises:
        PseudomaskError: the image has no tags.
    """
    if record.tags is None:
        raise PseudomaskError(f"image '{record.id}' has no tags; add them, or set use_tags to false")
    return np.union1d(np.intersect1d(classes, record.tags), 0).astype(np.int64)
