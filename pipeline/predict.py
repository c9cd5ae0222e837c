"""A trained segmentation network applied to image files: palette PNGs, and pictures with the mask laid over."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import nn

from pipeline.artifacts.export import palette_image
from pipeline.artifacts.files import atomic_path
from pipeline.config.crf import CrfSettings
from pipeline.config.inference import InferenceSettings
from pipeline.config.runtime import RuntimeSettings
from pipeline.crf.dense import dense_crf
from pipeline.data.images import read_image
from pipeline.errors import PseudomaskError
from pipeline.nets.exported import load_segmenters
from pipeline.nets.inference import ViewMaker
from pipeline.refine.background import normalise, resize_scores
from pipeline.report.pictures import overlay
from pipeline.stages.infer_scores import joined, probabilities, strong_classes

_IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class Prediction:
    """What was found in one image.

    Attributes:
        image: file it was read from.
        mask: palette PNG written.
        shares: share of the pixels of each class that occurs, by name, 0..1, largest first.
    """

    image: Path
    mask: Path
    shares: dict[str, float]


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Image files: those named, and those in folders named, sorted.

    Raises:
        PseudomaskError: a path does not exist, a folder holds no image, or two images would share a mask file.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise PseudomaskError(f"{path} does not exist")
        inside = sorted(file for file in path.iterdir() if file.suffix.lower() in _IMAGES) if path.is_dir() else [path]
        if not inside:
            raise PseudomaskError(f"{path} holds no image ({', '.join(sorted(_IMAGES))})")
        found += inside
    names: dict[str, Path] = {}
    for path in found:
        other = names.setdefault(path.stem, path)
        if other != path:
            raise PseudomaskError(
                f"{other} and {path} would both become {path.stem}.png; predict them into two folders"
            )
    return found


def predict(
    weights: Path,
    images: Sequence[Path],
    folder: Path,
    settings: InferenceSettings,
    crf: CrfSettings | None,
    overlays: bool,
    runtime: RuntimeSettings,
) -> Iterator[Prediction]:
    """Write ``<name>.png`` to ``folder`` for every image, one after the other.

    Args:
        weights: ``weights.safetensors`` of a trained segmenter; its card tells network, classes and colours.
        images: image files.
        folder: made if it does not exist.
        settings: scales, mirroring, size and branch.
        crf: refinement; None: none.
        overlays: also write ``<name>.overlay.jpg``.
        runtime: device, threads, precision.

    Raises:
        PseudomaskError: the weights hold no segmenter, or an image cannot be read.
    """
    networks, network_settings, classes = load_segmenters(weights, settings.branch)
    views = ViewMaker(nn.ModuleList(networks), network_settings, networks[0].backbone.multiple, runtime)
    folder.mkdir(parents=True, exist_ok=True)
    for path in images:
        image = read_image(path, path.name)
        values = joined([probabilities(network, views, image, settings) for network in networks], settings)
        present = strong_classes(values, settings.min_probability)
        chosen = resize_scores(values[present], (image.shape[0], image.shape[1]))
        if crf is not None and len(present) > 1:
            chosen = dense_crf(image, normalise(chosen), crf)
        mask = present.astype(np.uint8)[chosen.argmax(0)]
        target = folder / f"{path.stem}.png"
        with atomic_path(target) as temporary:
            palette_image(mask, classes).save(temporary)
        if overlays:
            with atomic_path(folder / f"{path.stem}.overlay.jpg") as temporary:
                Image.fromarray(overlay(image, mask, classes)).save(temporary, quality=90)
        counts = np.bincount(mask.ravel(), minlength=len(classes)) / mask.size
        order = [int(index) for index in np.argsort(-counts, kind="stable") if counts[index]]
        yield Prediction(path, target, {classes.names[index]: float(counts[index]) for index in order})
