"""Random changes of a training image and what belongs to it; every draw comes from the generator given."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.config.training import AugmentSettings

Masks = Mapping[str, NDArray[np.uint8]]
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Layer:
    """Numbers of every pixel that are no colours, such as what boxes say of it.

    Attributes:
        values: float32 (H, W).
        fill: value of padding.
        smooth: values in between make sense when sizes change; otherwise the nearest is taken.
    """

    values: NDArray[np.float32]
    fill: float
    smooth: bool


@dataclass(frozen=True)
class Sample:
    """An image with its masks.

    Attributes:
        image: uint8 RGB (H, W, 3).
        masks: uint8 (H, W) by name.
        valid: bool (H, W), False where padded.
        layers: further channels of the image.
    """

    image: NDArray[np.uint8]
    masks: Masks
    valid: NDArray[np.bool_]
    layers: tuple[Layer, ...] = ()


def augment(
    image: NDArray[np.uint8],
    masks: Masks,
    settings: AugmentSettings,
    fill: NDArray[np.uint8],
    ignore: int,
    draw: np.random.Generator,
    layers: tuple[Layer, ...] = (),
) -> Sample:
    """Resize, mirror, crop, blur and change colours.

    Args:
        image: uint8 RGB (H, W, 3).
        masks: uint8 (H, W) by name.
        settings: ranges and probabilities.
        fill: uint8 (3,) colour of padding, usually the mean the network subtracts.
        ignore: mask value of padding.
        draw: source of all randomness; the number of draws depends on the settings alone.
        layers: further channels, which move with the image.

    Returns:
        A sample of ``settings.crop`` squared.
    """
    sample = Sample(image, masks, np.ones(image.shape[:2], bool), layers)
    for side, lengths in ((max, settings.long_side), (min, settings.short_side)):
        if lengths is not None:
            length = int(draw.integers(lengths[0], lengths[1] + 1))
            sample = resize(sample, length / side(image.shape[:2]), settings.mask_resize, ignore)
    if draw.random() < settings.flip:
        sample = mirror(sample)
    sample = crop(sample, settings.crop, fill, ignore, draw.random(2))
    if settings.blur and draw.random() < settings.blur:
        sample = replace(sample, image=_uint8(cv2.GaussianBlur(sample.image, (0, 0), max(draw.random(), 0.05))))
    return replace(sample, image=jitter(sample.image, settings, draw.uniform(-1, 1, 3)))


def resize(sample: Sample, factor: float, how: Literal["nearest", "scatter"], ignore: int) -> Sample:
    """Scale image and masks; ``scatter`` moves every labelled pixel, so that clicks survive shrinking."""
    height, width = sample.valid.shape
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    # Averaging keeps small structures from aliasing when shrinking; it is no good for enlarging.
    image = cv2.resize(sample.image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    masks = {
        name: scatter(mask, size, ignore)
        if how == "scatter"
        else _uint8(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT))
        for name, mask in sample.masks.items()
    }
    layers = tuple(replace(layer, values=_resized(layer, size)) for layer in sample.layers)
    return Sample(_uint8(image), masks, np.ones(image.shape[:2], bool), layers)


def _resized(layer: Layer, size: tuple[int, int]) -> NDArray[np.float32]:
    how = cv2.INTER_LINEAR if layer.smooth else cv2.INTER_NEAREST_EXACT
    return np.asarray(cv2.resize(layer.values, size, interpolation=how), np.float32)


def scatter(mask: NDArray[np.uint8], size: tuple[int, int], ignore: int) -> NDArray[np.uint8]:
    """Labelled pixels of a sparse mask at another ``size`` (width, height); the last of several in one place stays."""
    rows, columns = np.nonzero(mask != ignore)
    result = np.full(size[::-1], ignore, np.uint8)
    down, across = (rows + 0.5) * (size[1] / mask.shape[0]), (columns + 0.5) * (size[0] / mask.shape[1])
    result[down.astype(np.intp), across.astype(np.intp)] = mask[rows, columns]
    return result


def mirror(sample: Sample) -> Sample:
    """Left becomes right."""
    masks = {name: mask[:, ::-1] for name, mask in sample.masks.items()}
    layers = tuple(replace(layer, values=layer.values[:, ::-1]) for layer in sample.layers)
    return Sample(sample.image[:, ::-1], masks, sample.valid[:, ::-1], layers)


def crop(sample: Sample, side: int, fill: NDArray[np.uint8], ignore: int, position: NDArray[np.float64]) -> Sample:
    """A square; where the image is smaller it lies at a random place of the square.

    Args:
        sample: what to crop.
        side: side of the square.
        fill: colour of padding.
        ignore: mask value of padding.
        position: two numbers in 0..1, vertical and horizontal place.
    """
    rows = _overlap(sample.valid.shape[0], side, position[0])
    columns = _overlap(sample.valid.shape[1], side, position[1])
    source, target = (rows[0], columns[0]), (rows[1], columns[1])
    image = np.empty((side, side, 3), np.uint8)
    image[:] = fill
    image[target] = sample.image[source]
    valid = np.zeros((side, side), bool)
    valid[target] = sample.valid[source]
    masks = {}
    for name, mask in sample.masks.items():
        masks[name] = np.full((side, side), ignore, np.uint8)
        masks[name][target] = mask[source]
    layers = []
    for layer in sample.layers:
        values = np.full((side, side), layer.fill, np.float32)
        values[target] = layer.values[source]
        layers.append(replace(layer, values=values))
    return Sample(image, masks, valid, tuple(layers))


def _overlap(length: int, side: int, position: float) -> tuple[slice, slice]:
    """Slices of the image and of the square along one axis."""
    room = abs(length - side)
    start = int(position * (room + 1))
    if length >= side:
        return slice(start, start + side), slice(0, side)
    return slice(0, length), slice(start, start + length)


def jitter(image: NDArray[np.uint8], settings: AugmentSettings, amount: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Change brightness, contrast and saturation by the factors 1 + range * amount, amounts in -1..1."""
    brightness, contrast, saturation = 1 + amount * (settings.brightness, settings.contrast, settings.saturation)
    if (brightness, contrast, saturation) == (1, 1, 1):
        return image
    pixels = image.astype(np.float32) * np.float32(brightness)
    mean = np.float32((pixels @ _LUMA).mean())
    pixels = (pixels - mean) * np.float32(contrast) + mean
    grey = (pixels @ _LUMA)[..., None]
    pixels = (pixels - grey) * np.float32(saturation) + grey
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _uint8(array: object) -> NDArray[np.uint8]:
    return np.asarray(array, np.uint8)
