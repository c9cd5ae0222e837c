"""Training samples by number: sample n of a run is the same whatever worker makes it and whenever."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from pipeline.artifacts.boxes import Box
from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.artifacts.masks import MaskStore
from pipeline.config.priors import PriorSettings
from pipeline.config.training import AugmentSettings
from pipeline.data.augment import Layer, augment
from pipeline.data.images import load_record
from pipeline.data.mixed import FirstOf
from pipeline.data.priors import prior_layers
from pipeline.data.randomness import generator
from pipeline.errors import PseudomaskError

INITIAL, ORDER, AUGMENT, INSIDE, PARTNER = range(5)
"""Streams of randomness: initial weights, order of images, augmentation, inside a training step, partners."""


def seed_torch(seed: int, *counters: int) -> None:
    """Set torch's global generators from the arguments alone."""
    torch.manual_seed(int(generator(seed, *counters).integers(2**62)))


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation a network expects, for RGB in 0..1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def fill(self) -> NDArray[np.uint8]:
        """Colour that becomes zero, uint8 (3,)."""
        fill: NDArray[np.uint8] = np.rint(np.array(self.mean) * 255).astype(np.uint8)
        return fill


class TrainingSamples(Dataset[dict[str, Tensor]]):
    """Augmented samples addressed by their number in the run.

    Args:
        manifest: images to draw from; each epoch visits every one once, in an order of its own.
        root: data root.
        fields: what the objective needs beside images: ``tags`` and names of masks.
        masks: store with a mask for every image, by field.
        augmentation: random changes.
        normalisation: mean and standard deviation of the network.
        seed: seed of order and augmentation.
        partners: the first so many samples of a micro-batch come with a partner, an image that shares a class.
        micro_batch: samples in one.
        priors: further channels of the image.
        boxes: what they are made of, by image id.
        stream: distinguishes several kinds of samples of one run; each has an order and changes of its own.

    Raises:
        PseudomaskError: no image, or one lacks its tags or mask.
    """

    def __init__(
        self,
        manifest: Manifest,
        root: Path,
        fields: frozenset[str],
        masks: Mapping[str, MaskStore] | Mapping[str, FirstOf],
        augmentation: AugmentSettings,
        normalisation: Normalisation,
        seed: int,
        partners: int = 0,
        micro_batch: int = 1,
        priors: PriorSettings | None = None,
        boxes: Mapping[str, Sequence[Box]] | None = None,
        stream: int | None = None,
    ) -> None:
        if not len(manifest):
            raise PseudomaskError("there is no image to train on; check the split")
        self._manifest, self._root, self._fields = manifest, root, fields
        missing = fields - {"tags"} - masks.keys()
        if missing:
            raise PseudomaskError(f"the objective learns from masks '{min(missing)}', which are not connected")
        self._masks = {name: store for name, store in masks.items() if name in fields}
        self._augmentation, self._seed = augmentation, seed
        self._fill = normalisation.fill
        self._mean = np.array(normalisation.mean, np.float32) * 255
        self._scale = 1 / (np.array(normalisation.std, np.float32) * 255)
        self._partners, self._micro_batch = partners, micro_batch
        self._with_class = {
            index: [record for record in manifest if index in (record.tags or ())]
            for index in range(1, len(manifest.classes))
        }
        if priors is not None and boxes is None:
            raise PseudomaskError("the network sees priors of boxes, which are not connected")
        self._priors, self._boxes = priors, boxes or {}
        self._stream = () if stream is None else (stream,)
        self._check()

    def _check(self) -> None:
        for record in self._manifest:
            if "tags" in self._fields and record.tags is None:
                raise PseudomaskError(f"image '{record.id}' has no tags; add them or leave it out of the split")
            for name, store in self._masks.items():
                if record.id not in store:
                    raise PseudomaskError(
                        f"image '{record.id}' has no '{name}' in {store.path}; check the stage that makes it, "
                        "or leave the image out of the split"
                    )

    def record(self, number: int) -> ImageRecord:
        """The image sample ``number`` shows."""
        epoch, position = divmod(number, len(self._manifest))
        order = generator(self._seed, ORDER, *self._stream, epoch).permutation(len(self._manifest))
        return self._manifest.records[int(order[position])]

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Fields of :class:`pipeline.methods.objective.Batch` for one sample, without the batch axis."""
        record = self.record(number)
        result = self._sample(record, generator(self._seed, AUGMENT, *self._stream, number))
        if number % self._micro_batch < self._partners:
            draw = generator(self._seed, PARTNER, number)
            partner = self._sample(self._partner(record, draw), draw)
            result |= {f"partner_{name}": value for name, value in partner.items()}
        return result

    def _partner(self, record: ImageRecord, draw: np.random.Generator) -> ImageRecord:
        """An image with a random class of this one; itself, where it has none."""
        if not record.tags:
            return record
        candidates = self._with_class[int(draw.choice(record.tags))]
        return candidates[int(draw.integers(len(candidates)))]

    def _sample(self, record: ImageRecord, draw: np.random.Generator) -> dict[str, Tensor]:
        image = load_record(record, self._root)
        masks = {name: self._mask(record, store) for name, store in self._masks.items()}
        classes = self._manifest.classes
        layers: tuple[Layer, ...] = ()
        if self._priors is not None:
            boxes = self._boxes.get(record.id, ())
            layers = prior_layers(boxes, (record.height, record.width), self._priors, len(classes))
        sample = augment(image, masks, self._augmentation, self._fill, classes.ignore, draw, layers)
        pixels = (sample.image.astype(np.float32) - self._mean) * self._scale
        if sample.layers:
            pixels = np.dstack([pixels, *(layer.values for layer in sample.layers)])
        result = {
            "image": torch.from_numpy(pixels).permute(2, 0, 1).contiguous(),
            "valid": torch.from_numpy(np.ascontiguousarray(sample.valid)),
        }
        for name, mask in sample.masks.items():
            result[name] = torch.from_numpy(mask.astype(np.int64))
        if "tags" in self._fields:
            tags = torch.zeros(len(classes) - 1)
            tags[[index - 1 for index in record.tags or ()]] = 1
            result["tags"] = tags
        return result

    def _mask(self, record: ImageRecord, store: MaskStore | FirstOf) -> NDArray[np.uint8]:
        mask = store[record.id]
        if mask.shape != (record.height, record.width):
            raise PseudomaskError(
                f"mask of '{record.id}' in {store.path} is {mask.shape[1]}x{mask.shape[0]}, "
                f"its image {record.width}x{record.height}"
            )
        return mask


def collate(samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Fields of samples side by side; a field that only the first ones have is as long as these are many."""
    return {name: torch.stack([sample[name] for sample in samples if name in sample]) for name in samples[0]}


def one_thread(_: int) -> None:
    """Worker set-up: the main process owns the cores; a worker that starts its own threads slows both down."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
