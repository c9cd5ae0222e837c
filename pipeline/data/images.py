"""Reading images of any kind into one form: RGB, upright, eight bits."""

import os
from pathlib import Path
from struct import error as StructError

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from pipeline.artifacts.manifest import ImageRecord
from pipeline.config.runtime import RuntimeSettings
from pipeline.errors import PseudomaskError

# Pillow reports a damaged file by any of these, depending on the format.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, StructError, Image.DecompressionBombError)

_TURNED = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height


def data_root(runtime: RuntimeSettings) -> Path:
    """Folder that relative data paths start from: the setting, else ``$PSEUDOMASK_DATA``, else the working folder."""
    return runtime.data_root or Path(os.environ.get("PSEUDOMASK_DATA") or ".")


def read_image(path: Path, image_id: str) -> NDArray[np.uint8]:
    """Read one image.

    The content decides the format, not the extension. The EXIF orientation is applied; grey, palette and CMYK become
    RGB; 16-bit values are divided by 257; transparent pixels are blended with white, as viewers show them.

    Args:
        path: image file.
        image_id: id named in errors.

    Returns:
        uint8 RGB (H, W, 3), contiguous.

    Raises:
        PseudomaskError: the file is missing, empty, truncated, no image, or has float or 32-bit pixels.
    """
    try:
        with Image.open(path) as image:
            image.load()
            upright = image if _orientation(image) == 1 else ImageOps.exif_transpose(image)
            return np.array(_to_rgb(upright))
    except UNREADABLE as error:
        raise unreadable(path, image_id, error) from error


def image_size(path: Path, image_id: str) -> tuple[int, int]:
    """(height, width) in pixels after the EXIF orientation, read from the header alone.

    Raises:
        PseudomaskError: the file is missing, empty or no image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            return (width, height) if _orientation(image) in _TURNED else (height, width)
    except UNREADABLE as error:
        raise unreadable(path, image_id, error) from error


def load_record(record: ImageRecord, root: Path) -> NDArray[np.uint8]:
    """Image of a manifest row, uint8 RGB (H, W, 3).

    Raises:
        PseudomaskError: it cannot be read, or no longer has the size the manifest gives.
    """
    image = read_image(root / record.path, record.id)
    _check_size(record, root, image.shape[:2])
    return image


def load_preview(record: ImageRecord, root: Path, least: int) -> NDArray[np.uint8]:
    """Image of a manifest row for a small picture, uint8 RGB (h, w, 3).

    A JPEG is decoded at the smallest of 1, 1/2, 1/4, 1/8 of its size with a longer side of at least ``least`` pixels,
    which takes a fraction of the time; other formats come in their own size.

    Raises:
        PseudomaskError: as for :func:`load_record`.
    """
    path = root / record.path
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = _orientation(image) in _TURNED
            _check_size(record, root, (width, height) if turned else (height, width))
            factor = least / max(width, height)
            image.draft(None, (max(1, round(width * factor)), max(1, round(height * factor))))
            image.load()
            return np.array(_to_rgb(ImageOps.exif_transpose(image)))
    except PseudomaskError:
        raise
    except UNREADABLE as error:
        raise unreadable(path, record.id, error) from error


def _check_size(record: ImageRecord, root: Path, size: tuple[int, ...]) -> None:
    if size != (record.height, record.width):
        raise PseudomaskError(
            f"image '{record.id}' ({root / record.path}) is {size[1]}x{size[0]}, the manifest says "
            f"{record.width}x{record.height}; it was replaced after the import: run the import again"
        )


def unreadable(path: Path, image_id: str, error: BaseException) -> PseudomaskError:
    """The error for an image or mask file that cannot be read, saying which kind of damage was found."""
    who = f"image '{image_id}' ({path})"
    if not path.exists():
        return PseudomaskError(f"{who} does not exist; put the file there or take the id out of the list")
    if path.is_file() and path.stat().st_size == 0:
        return PseudomaskError(f"{who} is empty; restore the file or take the id out of the list")
    return PseudomaskError(f"{who} cannot be read: {error}; restore the file or take the id out of the list")


def _orientation(image: Image.Image) -> int:
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in {"PNG", "PPM"}):
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in {"I", "F"}:
        raise ValueError(f"pixels of type {image.mode} have no defined brightness range")
    if image.mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in image.info:
        coloured = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured).convert("RGB")
    return image.convert("RGB")
