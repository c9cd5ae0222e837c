"""Masks leave as palette PNGs, COCO JSON or HDF5, and PNGs come back."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from PIL import Image

from pipeline.artifacts.files import atomic_path, write_text
from pipeline.artifacts.masks import MaskStore, MaskWriter
from pipeline.config.classes import ClassTable
from pipeline.errors import PseudomaskError


def file_name(image_id: str) -> str:
    """Name of an image's file: slashes and what else means something to a shell or file system are encoded."""
    name = quote(image_id, safe=" !+,=@()[]~")
    return "%2E" + name[1:] if name.startswith(".") else name


def to_png(store: MaskStore, folder: Path, ids: Iterable[str] | None = None) -> int:
    """Write palette PNGs named by image id; returns how many."""
    folder.mkdir(parents=True, exist_ok=True)
    palette = store.classes.palette.ravel().tolist()
    count = 0
    for image_id in ids or store.ids:
        picture = Image.fromarray(store[image_id])
        picture.putpalette(palette)
        with atomic_path(folder / f"{file_name(image_id)}.png") as temporary:
            picture.save(temporary)
        count += 1
    return count


def from_png(folder: Path, target: Path, classes: ClassTable) -> int:
    """Write a mask store from a folder of palette or 8-bit grey PNGs named by image id; returns how many.

    Raises:
        PseudomaskError: there is no PNG, or one has other pixels or an unknown class.
    """
    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise PseudomaskError(f"{folder} holds no .png file")
    with MaskWriter(target, classes, stage="import masks") as writer:
        for path in paths:
            with Image.open(path) as picture:
                if picture.mode not in ("P", "L"):
                    raise PseudomaskError(f"{path} has pixels of type {picture.mode}; save class indices, 8 bits")
                writer.add(unquote(path.stem), np.array(picture))
    return len(paths)


def to_coco(store: MaskStore, target: Path) -> int:
    """Write one COCO JSON: an RLE annotation per image and class, ignored pixels in none; returns how many."""
    from pycocotools import mask as rle

    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (image_id, mask) in enumerate(store.items(), 1):
        height, width = mask.shape
        images.append({"id": number, "file_name": image_id, "height": height, "width": width})
        for index in np.unique(mask):
            if index == 0 or index >= len(store.classes):
                continue
            code = rle.encode(np.asfortranarray(mask == index, np.uint8))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": int(index),
                    "segmentation": {"size": [height, width], "counts": code["counts"].decode()},
                    "area": int(rle.area(code)),
                    "bbox": [float(value) for value in rle.toBbox(code)],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i, "name": name} for i, name in enumerate(store.classes.names) if i]
    write_text(target, json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return len(annotations)


def to_h5(store: MaskStore, target: Path, ids: Iterable[str] | None = None) -> int:
    """Write a mask store with some of the images; returns how many."""
    chosen = list(ids or store.ids)
    with MaskWriter(target, store.classes, **{"stage": store.facts.get("stage", "export")}) as writer:
        for image_id in chosen:
            writer.add(image_id, store[image_id])
    return len(chosen)
