"""Applying a trained network to whole images, at several sizes and mirrored."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.artifacts.manifest import ImageRecord
from pipeline.config.inference import MultiScaleSettings
from pipeline.config.network import NetworkSettings
from pipeline.config.runtime import RuntimeSettings
from pipeline.data.augment import Layer
from pipeline.data.images import load_record
from pipeline.data.progress import progress
from pipeline.nets.backbones import fitting_side
from pipeline.nets.device import find_device
from pipeline.nets.folded import fold_batch_norm

_AHEAD = 4


class ViewMaker:
    """Turns images into what a network sees: sizes, mirror images, normalisation, device, precision.

    Args:
        network: put on the device and into evaluation mode, its batch norm folded; several as a ``ModuleList``.
        settings: mean and standard deviation.
        multiple: what image sides must be a multiple of.
        runtime: device, threads, precision, memory layout.

    Raises:
        PseudomaskError: CUDA is asked for and absent.
    """

    def __init__(self, network: nn.Module, settings: NetworkSettings, multiple: int, runtime: RuntimeSettings) -> None:
        torch.set_num_threads(runtime.threads)
        self.device = find_device(runtime)
        self._layout = torch.channels_last if runtime.channels_last else torch.contiguous_format
        self._precision = runtime.precision
        self._multiple = multiple
        network.eval().to(self.device, memory_format=self._layout)  # type: ignore[call-overload]
        for each in network if isinstance(network, nn.ModuleList) else [network]:
            fold_batch_norm(each, fitting_side(64, multiple))
        self._mean = torch.tensor(settings.mean, device=self.device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(settings.std, device=self.device).view(1, 3, 1, 1) * 255

    def of(
        self,
        image: NDArray[np.uint8],
        multi_scale: MultiScaleSettings,
        size: tuple[float, float] | None = None,
        layers: Sequence[Layer] = (),
    ) -> Iterator[Tensor]:
        """One batch per scale: the image and, with ``flip``, its mirror image.

        Args:
            image: uint8 RGB (H, W, 3).
            multi_scale: factors and mirroring.
            size: height and width at factor 1; None: those of the image.
            layers: further channels, which follow the normalised colours.

        Returns:
            float32 (1 or 2, 3 + layers, h, w); colours resized bicubically with antialiasing, as PIL does.
        """
        pixels = torch.from_numpy(image).to(self.device).permute(2, 0, 1)[None].float()
        height, width = size or image.shape[:2]
        for scale in multi_scale.scales:
            seen = (fitting_side(height * scale, self._multiple), fitting_side(width * scale, self._multiple))
            view = (_resize(pixels, seen) - self._mean) / self._std
            if layers:
                view = torch.cat([view, *(_layer(layer, seen).to(self.device) for layer in layers)], dim=1)
            both = torch.cat([view, view.flip(-1)]) if multi_scale.flip else view
            yield both.contiguous(memory_format=self._layout)

    def autocast(self) -> AbstractContextManager[object]:
        """The precision the network runs in."""
        if self._precision == "32-true":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16 if self._precision == "bf16-mixed" else torch.float16)


def normalise(image: Tensor, settings: NetworkSettings) -> Tensor:
    """What a network expects, of images (B, 3, H, W) with RGB 0..255."""
    mean, std = (image.new_tensor(values).view(1, 3, 1, 1) for values in (settings.mean, settings.std))
    return (image / 255 - mean) / std


def unnormalise(image: Tensor, settings: NetworkSettings) -> Tensor:
    """RGB 0..255 of normalised images (B, 3, H, W)."""
    mean, std = (image.new_tensor(values).view(1, 3, 1, 1) for values in (settings.mean, settings.std))
    return ((image * std + mean) * 255).clamp(0, 255)


def join_mirrored(maps: Tensor) -> Tensor:
    """Mean of maps (1 or 2, K, h, w) of an image and its mirror image, mirrored back; (K, h, w)."""
    return (maps[0] + maps[1].flip(-1)) / 2 if len(maps) == 2 else maps[0]


def strided_size(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Size of scores stored at one value per ``stride`` pixels, rounded up."""
    return -(-size[0] // stride), -(-size[1] // stride)


def read_images(
    records: Sequence[ImageRecord], root: Path, name: str
) -> Iterator[tuple[ImageRecord, NDArray[np.uint8]]]:
    """Images in order, read by a thread while the network works on earlier ones; logs progress under ``name``.

    Raises:
        PseudomaskError: an image cannot be read; the message names it.
    """
    with ThreadPoolExecutor(1) as pool:
        pending: deque[Future[NDArray[np.uint8]]] = deque()
        for number, record in enumerate(progress(records, name)):
            for ahead in records[number + len(pending) : number + _AHEAD]:
                pending.append(pool.submit(load_record, ahead, root))
            yield record, pending.popleft().result()


def _layer(layer: Layer, size: tuple[int, int]) -> Tensor:
    """Values of a layer at ``size`` (h, w) as (1, 1, h, w), resized as in training."""
    values = torch.from_numpy(np.ascontiguousarray(layer.values))[None, None]
    if layer.smooth:
        return F.interpolate(values, size, mode="bilinear", align_corners=False)
    return F.interpolate(values, size, mode="nearest-exact")


def _resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    if pixels.shape[-2:] == size:
        return pixels
    return F.interpolate(pixels, size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 255)
