"""Data sets in VOC layout: id lists, images, index PNGs, XML boxes."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.artifacts.boxes import Box
from pipeline.config.classes import ClassTable
from pipeline.config.data import DataSettings
from pipeline.data.images import UNREADABLE, unreadable
from pipeline.errors import PseudomaskError


def read_ids(path: Path, limit: int | None = None) -> list[str]:
    """Ids of a list file: one per line, or image and mask path as in SBD lists.

    Raises:
        PseudomaskError: the file is missing or empty, or an id is listed twice.
    """
    if not path.is_file():
        raise PseudomaskError(
            f"id list {path} does not exist; check $PSEUDOMASK_DATA (or runtime.data_root), data.root and data.splits"
        )
    ids: list[str] = []
    seen: set[str] = set()
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.strip()
        if not text:
            continue
        # SBD lists hold "/JPEGImages/<id>.jpg /SegmentationClassAug/<id>.png"; a plain id may contain blanks.
        image_id = Path(text.split()[0]).stem if text.startswith("/") else text
        if image_id in seen:
            raise PseudomaskError(f"{path} line {number}: id '{image_id}' is listed twice; remove one")
        seen.add(image_id)
        ids.append(image_id)
    if not ids:
        raise PseudomaskError(f"id list {path} is empty; write one id per line, or leave the split out")
    return ids[:limit]


def inside(folder: Path, name: str, image_id: str) -> Path:
    """``folder / name``, which must not leave the folder.

    Raises:
        PseudomaskError: the id climbs out of the folder.
    """
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise PseudomaskError(f"id '{image_id}' leads out of {folder}; ids are names within the folder")
    return path


def read_boxes(path: Path, image_id: str, size: tuple[int, int], classes: ClassTable) -> list[Box]:
    """Boxes of a VOC XML file, turned 0-based and end-exclusive.

    Raises:
        PseudomaskError: the file is missing or no XML, a class is unknown, a box is inverted or outside the image.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except FileNotFoundError as error:
        raise PseudomaskError(f"image '{image_id}' has no boxes: {path} does not exist") from error
    except ElementTree.ParseError as error:
        raise PseudomaskError(f"boxes of '{image_id}' ({path}) are no XML: {error}") from error
    boxes = []
    for element in root.iter("object"):
        name = (element.findtext("name") or "").strip()
        index = classes.index(name, f"boxes of '{image_id}' ({path})")
        try:
            x0, y0, x1, y1 = (round(float(element.findtext(f"bndbox/{side}") or "")) for side in _SIDES)
        except ValueError as error:
            raise PseudomaskError(f"boxes of '{image_id}' ({path}): a box of '{name}' lacks a number") from error
        boxes.append(Box(index, check_box((x0 - 1, y0 - 1, x1, y1), image_id, size)))
    return boxes


_SIDES = ("xmin", "ymin", "xmax", "ymax")


def check_box(box: tuple[int, int, int, int], image_id: str, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box itself.

    Args:
        box: (x0, y0, x1, y1), 0-based, end exclusive.
        image_id: id named in errors.
        size: (H, W) of the image.

    Raises:
        PseudomaskError: it is inverted, empty or not inside the image.
    """
    x0, y0, x1, y1 = box
    if x0 >= x1 or y0 >= y1:
        raise PseudomaskError(f"image '{image_id}': box {box} is empty or inverted; (x0, y0, x1, y1) must grow")
    if x0 < 0 or y0 < 0 or x1 > size[1] or y1 > size[0]:
        raise PseudomaskError(f"image '{image_id}': box {box} leaves the image of {size[1]}x{size[0]} pixels")
    return box


def read_mask(path: Path, image_id: str, size: tuple[int, int], classes: ClassTable) -> NDArray[np.uint8]:
    """Index mask of one image.

    Palette and 8-bit grey PNGs hold indices. An RGB image is translated if every colour is that of a class.

    Returns:
        uint8 (H, W).

    Raises:
        PseudomaskError: missing or damaged file, other size than the image, a colour of no class.
    """
    try:
        with Image.open(path) as image:
            image.load()
            if image.mode not in ("P", "L", "1", "RGB", "RGBA"):
                raise PseudomaskError(
                    f"mask of '{image_id}' ({path}) has pixels of type {image.mode}; save 8-bit indices"
                )
            if image.mode in ("P", "L", "1"):
                mask = np.array(image).astype(np.uint8)
            else:
                mask = _from_colours(np.asarray(image.convert("RGB")), image_id, path, classes)
    except UNREADABLE as error:
        if isinstance(error, PseudomaskError):
            raise
        raise unreadable(path, image_id, error) from error
    if mask.shape != size:
        raise PseudomaskError(
            f"mask of '{image_id}' ({path}) is {mask.shape[1]}x{mask.shape[0]}, the image {size[1]}x{size[0]}"
        )
    return mask


def _from_colours(pixels: NDArray[np.uint8], image_id: str, path: Path, classes: ClassTable) -> NDArray[np.uint8]:
    """Indices of an RGB mask by the class colours."""
    codes = pixels.astype(np.int64) @ np.array([65536, 256, 1])
    palette = classes.palette.astype(np.int64) @ np.array([65536, 256, 1])
    mask = np.zeros(codes.shape, np.uint8)
    for code in np.unique(codes):
        known = [index for index in (*range(len(classes)), classes.ignore) if palette[index] == code]
        if not known:
            colour = tuple(int(code) >> shift & 255 for shift in (16, 8, 0))
            raise PseudomaskError(f"mask of '{image_id}' ({path}) has colour {colour}, which is of no class")
        mask[codes == code] = known[0]
    return mask


def image_path(data: DataSettings, image_id: str) -> str:
    """Path of an image below the data set's root."""
    return f"{data.images}/{image_id}{data.extension}"
