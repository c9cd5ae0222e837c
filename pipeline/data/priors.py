"""Position and class priors of boxes (MDH, Sec. 3.2), in closed form."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.boxes import Box, Corners
from pipeline.config.priors import PriorSettings as Settings
from pipeline.data.augment import Layer

_EDGE, _FAR = np.float32(128), np.float32(255)
_REACH = int(_FAR - _EDGE)  # pixels from a box beyond which all is equally far
_DISTANCE = np.minimum(np.hypot(*np.mgrid[: _REACH + 1, : _REACH + 1]), _REACH).astype(np.float32)


def prior_layers(boxes: Sequence[Box], size: tuple[int, int], settings: Settings, classes: int) -> tuple[Layer, ...]:
    """The channels a network sees after RGB.

    Args:
        boxes: of the image; parts outside it take part in distances.
        size: (H, W).
        settings: which channels.
        classes: number of classes, background included.

    Returns:
        Position, then class, each with the value padding gets: far from every box, and none.
    """
    layers = []
    if settings.position:
        scale = np.float32(1 / 255 if settings.normalise else 1)
        layers.append(Layer(position_prior(boxes, size, settings.order) * scale, float(_FAR * scale), smooth=True))
    if settings.classes:
        scale = np.float32(1 / (classes - 1) if settings.normalise else 1)
        layers.append(Layer(class_prior(boxes, size).astype(np.float32) * scale, 0.0, smooth=False))
    return tuple(layers)


def position_prior(boxes: Sequence[Box], size: tuple[int, int], order: str = "truncate_first") -> NDArray[np.float32]:
    """Distance from the edge pixels of boxes: 128 on an edge, less inside, more outside (Eq. 1 and 2).

    A pixel inside several boxes has the mean of theirs, one inside none the mean of all; without any box all is 255.
    Edge pixels are the outermost ones of a box, so the distance to them is that to a side or, outside, to a corner.

    Args:
        boxes: a box without area is passed over.
        size: (H, W).
        order: ``truncate_first`` cuts at 0..255 and then stretches the inside so that its deepest pixel is 0;
            ``rescale_first`` stretches before it cuts, so that large boxes have no plateau.

    Returns:
        float32 (H, W), 0..255.
    """
    found = [box.corners for box in boxes if box.corners[0] < box.corners[2] and box.corners[1] < box.corners[3]]
    if not found:
        return np.full(size, _FAR)
    nearest = _DISTANCE / np.float32(len(found))  # so that the sum over all boxes is their mean
    result = np.full(size, _EDGE)
    more = np.empty(size, np.float32)  # one buffer for all boxes: fresh pages would cost more than the arithmetic
    # Only this part of the image has pixels inside boxes.
    left, top, right, bottom = (max(0, side) for side in _hull(found))
    middle = (slice(top, bottom), slice(left, right))
    inside = np.zeros_like(result[middle])
    count = np.zeros_like(inside)
    for x0, y0, x1, y1 in found:
        # Signed distances along each axis: negative between the edges.
        across, down = _signed(x0, x1 - 1, size[1]), _signed(y0, y1 - 1, size[0])
        # Distances are those of whole pixels, so they are looked up: first per column, then whole rows.
        columns_apart = nearest.take(across.clip(0, _REACH), axis=1)
        result += columns_apart.take(down.clip(0, _REACH), axis=0, out=more, mode="clip")
        rows, columns = slice(max(y0, 0), max(y1, 0)), slice(max(x0, 0), max(x1, 0))
        # What is nearer to an edge has the higher value, so the nearer of both axes is the higher of both values.
        deepest = (min(x1 - x0, y1 - y0) - 1) // 2
        part = (_moved(rows, -top), _moved(columns, -left))
        inside[part] += np.maximum(
            _inside(-down[rows], deepest, order)[:, None], _inside(-across[columns], deepest, order)
        )
        count[part] += 1
    np.divide(inside, count, out=result[middle], where=count > 0)
    return result


def class_prior(boxes: Sequence[Box], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Class index of the smallest box around each pixel, 0 where there is none; uint8 (H, W)."""
    result = np.zeros(size, np.uint8)
    for box in sorted(boxes, key=lambda box: -_area(box.corners)):
        x0, y0, x1, y1 = (max(0, side) for side in box.corners)
        result[y0:y1, x0:x1] = box.class_index
    return result


def _hull(found: Sequence[Corners]) -> Corners:
    left, top, right, bottom = zip(*found, strict=True)
    return min(left), min(top), max(right), max(bottom)


def _moved(places: slice, by: int) -> slice:
    return slice(places.start + by, places.stop + by)


def _signed(first: int, last: int, length: int) -> NDArray[np.intp]:
    places = np.arange(length)
    result: NDArray[np.intp] = np.maximum(first - places, places - last)
    return result


def _inside(depth: NDArray[np.intp], deepest: int, order: str) -> NDArray[np.float32]:
    """Values within a box from the distance to its edges, 0 on them, ``deepest`` in its middle."""
    if order == "truncate_first":
        deepest = min(deepest, int(_EDGE))
    if deepest == 0:
        return np.full(depth.shape, _EDGE)  # nothing but edge: Eq. 2 would divide by zero
    result: NDArray[np.float32] = _EDGE * (1 - np.minimum(depth.astype(np.float32) / np.float32(deepest), 1))
    return result


def _area(corners: Corners) -> int:
    x0, y0, x1, y1 = corners
    return max(0, x1 - x0) * max(0, y1 - y0)
