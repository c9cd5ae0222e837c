"""Clicks and scribbles, read from the public formats or simulated, drawn as sparse masks."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.boxes import Box
from pipeline.config.classes import ClassTable
from pipeline.config.labels import SparseLabelSettings
from pipeline.data.randomness import generator
from pipeline.errors import PseudomaskError

Mask = NDArray[np.uint8]
_FRAGMENT = 0.1  # masks are full of crumbs, which nobody clicks on: parts below this share of the largest are left out


@dataclass(frozen=True)
class Click:
    """A labelled pixel: column, row, class index (0 is background)."""

    x: int
    y: int
    class_index: int


def label_files(settings: SparseLabelSettings, root: Path) -> list[Path]:
    """The user's files that clicks or scribbles are read from; none where they are simulated."""
    if settings.source != "files":
        return []
    if settings.kind == "clicks":
        return [root / name for name in (settings.clicks, settings.background_clicks) if name]
    folder = root / str(settings.scribbles)
    if not folder.is_dir():
        raise PseudomaskError(f"labels.scribbles: the folder {folder} does not exist")
    return sorted(path for path in folder.iterdir() if path.suffix in (".xml", ".png"))


def read_clicks(
    path: Path, classes: ClassTable, max_rank: int | None = None, background: bool = False
) -> dict[str, list[Click]]:
    """Clicks by image id, from the What's-the-Point or the Gated-CRF background JSON.

    Both map an id to records with 0-based ``x``, ``y`` and a class ``cls`` from 1 (ignored for background points).

    Raises:
        PseudomaskError: the file is missing or of another layout, or a class is unknown.
    """
    try:
        content: dict[str, list[dict[str, Any]]] = json.loads(path.read_text())
        found: dict[str, list[Click]] = {}
        for image_id, records in content.items():
            kept = [r for r in records if max_rank is None or r.get("rank", 0) <= max_rank]
            clicks = [Click(int(r["x"]), int(r["y"]), 0 if background else int(r["cls"])) for r in kept]
            strange = [c.class_index for c in clicks if not background and not 1 <= c.class_index < len(classes)]
            if strange:
                raise PseudomaskError(
                    f"{path}: image '{image_id}' has a click of class {strange[0]}; classes are 1..{len(classes) - 1}, "
                    "background has a file of its own"
                )
            found[image_id] = clicks
    except FileNotFoundError as error:
        raise PseudomaskError(f"click file {path} does not exist; check labels.clicks") from error
    except PseudomaskError:
        raise
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise PseudomaskError(f"{path} is no click file {{id: [{{x, y, cls}}]}}: {error}") from error
    return found


def read_scribbles(path: Path, image_id: str, size: tuple[int, int], classes: ClassTable, width: int) -> Mask:
    """A sparse mask from a ScribbleSup XML file: polylines of points with the class name as tag.

    Raises:
        PseudomaskError: the file is damaged, or a class is unknown.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise PseudomaskError(f"scribbles of '{image_id}' ({path}) are no XML: {error}") from error
    mask = np.full(size, classes.ignore, np.uint8)
    for line in root.iter("polygon"):
        index = classes.index((line.findtext("tag") or "").strip(), f"scribbles of '{image_id}' ({path})")
        try:
            points = [(float(p.findtext("X") or ""), float(p.findtext("Y") or "")) for p in line.iter("point")]
        except ValueError as error:
            raise PseudomaskError(f"scribbles of '{image_id}' ({path}): a point lacks X or Y") from error
        path_points = np.rint(np.array(points)).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(mask, [path_points], False, index, width)
    return mask


def draw_clicks(clicks: Iterable[Click], size: tuple[int, int], diameter: int, ignore: int, image_id: str) -> Mask:
    """A sparse mask: each click a disc of ``diameter`` pixels (1: one pixel), everything else ``ignore``.

    Raises:
        PseudomaskError: a click lies outside the image.
    """
    mask = np.full(size, ignore, np.uint8)
    radius = diameter // 2
    for click in clicks:
        if not (0 <= click.x < size[1] and 0 <= click.y < size[0]):
            raise PseudomaskError(
                f"image '{image_id}': click ({click.x}, {click.y}) is outside {size[1]}x{size[0]} pixels; x and y "
                "count from 0, x to the right"
            )
        cv2.ellipse(mask, (click.x, click.y), (radius, radius), 0, 0, 360, click.class_index, -1)
    return mask


def simulate_clicks(truth: Mask, background_points: int, seed: int, image_id: str, ignore: int) -> list[Click]:
    """One click on each object (:func:`objects`), drawn from its inner half, and some on the background.

    The draw depends on the seed and the image id alone.
    """
    draw = _generator(seed, image_id)
    clicks = []
    for index in np.unique(truth):
        if index not in (0, ignore):
            clicks += [_inner_pixel(region, int(index), draw) for region in objects(truth == index)]
    return clicks + _background_clicks(truth == 0, background_points, draw)


def simulate_box_clicks(
    boxes: Sequence[Box], size: tuple[int, int], background_points: int, seed: int, image_id: str
) -> list[Click]:
    """One click in the inner half (each way) of every box, and some outside all boxes, where there is room.

    Where boxes overlap a click may hit another object, as boxes cannot tell.
    """
    draw = _generator(seed, image_id)
    outside = np.ones(size, bool)
    clicks = []
    for box in boxes:
        x0, y0, x1, y1 = box.corners
        outside[y0:y1, x0:x1] = False
        across, down = 0.25 + draw.random(2) / 2
        clicks.append(Click(x0 + int(across * (x1 - x0)), y0 + int(down * (y1 - y0)), box.class_index))
    return clicks + _background_clicks(outside, background_points, draw)


def _background_clicks(free: NDArray[np.bool_], count: int, draw: np.random.Generator) -> list[Click]:
    rows, columns = np.nonzero(free)
    places = [int(draw.integers(len(rows))) for _ in range(count if len(rows) else 0)]
    return [Click(int(columns[place]), int(rows[place]), 0) for place in places]


def objects(pixels: NDArray[np.bool_]) -> list[NDArray[np.uint8]]:
    """Connected parts of a class that a person would take for objects: the largest, and those not far smaller."""
    count, parts, facts, _ = cv2.connectedComponentsWithStats(pixels.astype(np.uint8))
    areas = facts[1:, cv2.CC_STAT_AREA]
    kept = [part for part in range(1, count) if areas[part - 1] >= _FRAGMENT * areas.max()]
    return [(parts == part).astype(np.uint8) for part in kept]


def _inner_pixel(region: NDArray[np.uint8], index: int, draw: np.random.Generator) -> Click:
    """A pixel at least half as deep as the deepest, where people click."""
    depth = cv2.distanceTransform(np.pad(region, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    rows, columns = np.nonzero(depth >= depth.max() / 2)
    chosen = int(draw.integers(len(rows)))
    return Click(int(columns[chosen]), int(rows[chosen]), index)


def simulate_scribbles(truth: Mask, width: int, seed: int, image_id: str, ignore: int) -> Mask:
    """A curved stroke inside each region (:func:`objects`) of every class, background included; never outside it."""
    draw = _generator(seed, image_id)
    result = np.full(truth.shape, ignore, np.uint8)
    for index in np.unique(truth):
        if index == ignore:
            continue
        for region in objects(truth == index):
            ends = [_inner_pixel(region, int(index), draw) for _ in range(4)]
            stroke = np.zeros(truth.shape, np.uint8)
            points = np.array([[click.x, click.y] for click in ends], np.int32).reshape(-1, 1, 2)
            cv2.polylines(stroke, [points], False, 1, width)
            result[(stroke & region).astype(bool)] = index
    return result


def _generator(seed: int, image_id: str) -> np.random.Generator:
    number = int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "little")
    return generator(seed, number)
