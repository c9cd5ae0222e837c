"""Small pictures of images, maps and masks."""

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.artifacts.scores import Scores
from pipeline.config.classes import ClassTable

RGB = NDArray[np.uint8]
_SPARSE = 0.05


def shrink(image: RGB, side: int) -> RGB:
    """The picture with its longer side at most ``side``."""
    height, width = image.shape[:2]
    factor = min(1.0, side / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def overlay(image: RGB, mask: NDArray[np.uint8], classes: ClassTable, opacity: float = 0.65) -> RGB:
    """The mask's colours over a grey image; background stays grey, ignored pixels become near-white.

    Where hardly anything is labelled (clicks, scribbles), the labels are drawn large, background in black.
    """
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)[..., None].repeat(3, 2)
    if is_sparse(mask, classes.ignore):
        grown = grow(mask, classes.ignore)
        grey[grown != classes.ignore] = classes.palette[grown[grown != classes.ignore]]
        return grey.astype(np.uint8)
    coloured = classes.palette[mask].astype(np.float32)
    share = np.where(mask[..., None] == 0, 0.0, opacity)
    mixed: RGB = np.clip(grey * (1 - share) + coloured * share, 0, 255).astype(np.uint8)
    return mixed


def is_sparse(mask: NDArray[np.uint8], ignore: int) -> bool:
    """Whether hardly anything is labelled, as with clicks and scribbles."""
    return float(np.mean(mask != ignore)) < _SPARSE


def grow(mask: NDArray[np.uint8], ignore: int) -> NDArray[np.uint8]:
    """Labels of a sparse mask as large spots, so that they stay visible in a small picture."""
    side = max(3, min(mask.shape) // 20) | 1
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray(cv2.erode(mask, ellipse, borderValue=int(ignore)), np.uint8)


def heat(image: RGB, scores: Scores) -> RGB:
    """The strongest activation map of each pixel as heat over the image."""
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)[..., None].repeat(3, 2)
    if not len(scores.classes):
        return grey.astype(np.uint8)
    level = cv2.resize(scores.values.max(0), (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    colours = cv2.applyColorMap((level * 255).clip(0, 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    mixed: RGB = np.clip(grey * 0.4 + colours * 0.6, 0, 255).astype(np.uint8)
    return mixed


def webp(image: RGB, quality: int = 60) -> bytes:
    """The picture as a WebP file, a third smaller than a JPEG that looks the same."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "WEBP", quality=quality, method=4)
    return stream.getvalue()


def sheet(rows: list[list[RGB]], side: int, gap: int = 4) -> RGB:
    """Pictures in rows on a white sheet, each centred in a square cell."""
    columns = max(len(row) for row in rows)
    side = min(side, max(max(picture.shape[:2]) for row in rows for picture in row))
    page = np.full((len(rows) * (side + gap) + gap, columns * (side + gap) + gap, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            small = shrink(picture, side)
            top = gap + y * (side + gap) + (side - small.shape[0]) // 2
            left = gap + x * (side + gap) + (side - small.shape[1]) // 2
            page[top : top + small.shape[0], left : left + small.shape[1]] = small
    return page
