"""Batches of a fixed composition: some images with true masks, some with pseudo-masks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.masks import MaskStore
from pipeline.errors import PseudomaskError


@dataclass(frozen=True)
class Stream:
    """A part of every batch.

    Attributes:
        stores: names of the mask stores whose images it draws from; an image in several belongs to the first.
        roles: role of each of its samples in a batch, whose number this fixes.
    """

    stores: tuple[str, ...]
    roles: tuple[int, ...]


class FirstOf:
    """Several mask stores as one: an image's mask comes from the first that holds it."""

    def __init__(self, stores: Sequence[MaskStore]) -> None:
        self._stores = stores

    @property
    def path(self) -> Path:
        """The first store, for messages."""
        return self._stores[0].path

    def __contains__(self, image_id: str) -> bool:
        return any(image_id in store for store in self._stores)

    def __getitem__(self, image_id: str) -> NDArray[np.uint8]:
        return next(store for store in self._stores if image_id in store)[image_id]


Samples = Dataset[dict[str, Tensor]]


class MixedSamples(Dataset[dict[str, Tensor]]):
    """Samples addressed by their number in the run; sample n belongs to a stream by its place in its batch.

    Streams are interleaved, so that equal parts of a batch have equal shares of each.

    Args:
        streams: composition of a batch.
        manifest: images of all streams.
        stores: mask stores by name.
        parts: equal parts a batch is cut into.
        make: makes the samples of one stream from its images, their masks and its number.

    Raises:
        PseudomaskError: a stream has no image, an image no mask, or a batch cannot be cut into equal parts.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        manifest: Manifest,
        stores: Mapping[str, MaskStore],
        parts: int,
        make: Callable[[Manifest, FirstOf, int], Samples],
    ) -> None:
        used = dict.fromkeys(name for stream in streams for name in stream.stores)
        if absent := used.keys() - stores.keys():
            raise PseudomaskError(f"the objective learns from masks '{min(absent)}', which are not connected")
        owner: dict[str, str] = {}
        for record in manifest:
            holders = [name for name in used if record.id in stores[name]]
            if not holders:
                raise PseudomaskError(f"image '{record.id}' has no mask of any kind; leave it out of the split")
            owner[record.id] = holders[0]
        self._parts: list[Samples] = []
        for number, stream in enumerate(streams):
            if len(stream.roles) % parts:
                raise PseudomaskError(
                    f"{len(stream.roles)} images of one kind cannot be split over {parts} parts of a batch; "
                    "change heads, accumulate or the number of devices"
                )
            records = tuple(record for record in manifest if owner[record.id] in stream.stores)
            if not records:
                raise PseudomaskError(
                    f"no image has a '{' or '.join(stream.stores)}' to learn from; check the labelled subset"
                )
            masks = FirstOf([stores[name] for name in stream.stores])
            self._parts.append(make(replace(manifest, records=records), masks, number))
        self._streams = streams
        self._places = sorted(
            ((index + 0.5) / len(stream.roles), number, index)
            for number, stream in enumerate(streams)
            for index in range(len(stream.roles))
        )

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """A sample of the stream that owns this place of the batch, with its ``role``."""
        step, place = divmod(number, len(self._places))
        _, stream, index = self._places[place]
        roles = self._streams[stream].roles
        sample = self._parts[stream][step * len(roles) + index]
        return sample | {"role": torch.tensor(roles[index])}
