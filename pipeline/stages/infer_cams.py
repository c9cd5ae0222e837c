"""Class activation maps of a trained classifier, at several scales and mirrored (PSA, IRN ``make_cam``)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.artifacts.scores import ScoreWriter
from pipeline.config.cams import CamSettings as Settings
from pipeline.data.images import data_root
from pipeline.errors import PseudomaskError
from pipeline.nets.decoders import upsample
from pipeline.nets.exported import CamNetwork, check_classes, load_cam_network
from pipeline.nets.inference import ViewMaker, join_mirrored, read_images, strided_size

__all__ = ["Inputs", "Outputs", "Settings", "multi_scale_cams", "run"]


@dataclass(frozen=True)
class Inputs:
    """Files read."""

    manifest: Path
    weights: Path


@dataclass(frozen=True)
class Outputs:
    """Files written: scores of kind ``cam``, 0..1 per class."""

    scores: Path


def run(settings: Settings, inputs: Inputs, outputs: Outputs, job: Job) -> None:
    """Write the maps of this job's images.

    Raises:
        PseudomaskError: an image lacks tags or cannot be read, or the classifier is for other classes.
    """
    manifest = Manifest.read(inputs.manifest)
    network, network_settings, classes = load_cam_network(inputs.weights, settings.branch)
    check_classes(manifest.classes, classes, inputs.weights)
    views = ViewMaker(network, network_settings, network.backbone.multiple, job.runtime)
    records = job.part(select(manifest, settings)).records
    with ScoreWriter(outputs.scores, classes, "cam", stage=job.name, key=job.key) as writer:
        for record, image in read_images(records, data_root(job.runtime), job.name):
            tags = record.tags if settings.classes == "tags" else None
            maps, found = multi_scale_cams(network, views, image, tags, settings)
            writer.add(record.id, maps, found, (record.height, record.width))


def select(manifest: Manifest, settings: Settings) -> Manifest:
    """The images maps are wanted of.

    Raises:
        PseudomaskError: an image of the named split lacks the tags that ``classes: tags`` needs.
    """
    if settings.split is not None:
        chosen = manifest.split(settings.split)
        for record in chosen:
            if settings.classes == "tags" and record.tags is None:
                raise PseudomaskError(
                    f"image '{record.id}' of split '{settings.split}' has no tags; "
                    "add them, choose another split, or set cams.classes to 'predicted'"
                )
        return chosen
    return Manifest(manifest.classes, tuple(r for r in manifest if _usable(r, settings)))


def _usable(record: ImageRecord, settings: Settings) -> bool:
    return settings.classes == "predicted" or record.tags is not None


@torch.inference_mode()
def multi_scale_cams(
    network: CamNetwork,
    views: ViewMaker,
    image: NDArray[np.uint8],
    tags: tuple[int, ...] | None,
    settings: Settings,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Maps summed over scales and mirror images, divided by each class's maximum (+1e-5).

    Args:
        network: the classifier, in evaluation mode.
        views: makes the network's views of the image.
        image: uint8 RGB (H, W, 3).
        tags: class indices to make maps of; None: those predicted.
        settings: scales, stride, threshold.

    Returns:
        float32 (K, ceil(H / stride), ceil(W / stride)) in 0..1, and the K class indices, ascending.
    """
    size = strided_size((image.shape[0], image.shape[1]), settings.stride)
    maps, logits = [], []
    for view in views.of(image, settings.multi_scale):
        with views.autocast():
            cam, logit = network.cams(view)
        maps.append(join_mirrored(cam.float()))
        logits.append(logit.float().mean(0))
    classes = np.array(sorted(tags) if tags is not None else _predicted(logits, settings.threshold), np.int64)
    if not len(classes):
        return np.zeros((0, *size), np.float32), classes
    total = torch.stack([upsample(cam[None, classes - 1], size)[0] for cam in maps]).sum(0)
    total /= total.amax((1, 2), keepdim=True) + 1e-5
    return total.cpu().numpy(), classes


def _predicted(logits: list[Tensor], threshold: float) -> list[int]:
    """Classes whose probability, averaged over all views, exceeds the threshold."""
    probability = torch.stack(logits).sigmoid().mean(0)
    return [int(index) + 1 for index in (probability > threshold).nonzero().flatten()]
