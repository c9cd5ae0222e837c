"""Masks leave as palette PNGs, VOC's test archive, COCO JSON or HDF5, and PNGs come back."""

import gzip
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.artifacts.files import atomic_path, write_text
from pipeline.artifacts.masks import MaskStore, MaskWriter
from pipeline.config.classes import ClassTable
from pipeline.errors import PseudomaskError

_VOC_FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"


def file_name(image_id: str) -> str:
    """Name of an image's file: slashes and what else means something to a shell or file system are encoded."""
    name = quote(image_id, safe=" !+,=@()[]~")
    return "%2E" + name[1:] if name.startswith(".") else name


def palette_image(mask: NDArray[np.uint8], classes: ClassTable) -> Image.Image:
    """A mask (H, W) as a picture of class indices in the colours of the classes."""
    picture = Image.fromarray(mask)
    picture.putpalette(classes.palette.ravel().tolist())
    return picture


def to_png(store: MaskStore, folder: Path, ids: Sequence[str]) -> int:
    """Write the masks of some images as palette PNGs named by image id; returns how many."""
    folder.mkdir(parents=True, exist_ok=True)
    for image_id in ids:
        with atomic_path(folder / f"{file_name(image_id)}.png") as temporary:
            palette_image(store[image_id], store.classes).save(temporary)
    return len(ids)


def to_voc(store: MaskStore, target: Path) -> int:
    """Write the archive (``.tar.gz``) that the test server of PASCAL VOC 2012 takes; returns how many masks.

    Equal masks give equal bytes.

    Raises:
        PseudomaskError: a mask has pixels without a label, which the server refuses.
    """
    with (
        atomic_path(target) as temporary,
        temporary.open("wb") as stream,
        gzip.GzipFile("", "wb", mtime=0, fileobj=stream) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for image_id, mask in store.items():
            if np.any(mask == store.classes.ignore):
                raise PseudomaskError(
                    f"the mask of '{image_id}' has pixels without a label; the server wants a class for each"
                )
            content = io.BytesIO()
            palette_image(mask, store.classes).save(content, "PNG")
            member = tarfile.TarInfo(f"{_VOC_FOLDER}/{image_id}.png")
            member.size = content.tell()
            content.seek(0)
            archive.addfile(member, content)
    return len(store)


def from_png(folder: Path, target: Path, classes: ClassTable, rest: MaskStore | None = None) -> int:
    """Write a mask store from a folder of palette or 8-bit grey PNGs named by image id; returns how many.

    Args:
        folder: where the PNGs lie.
        target: file to write.
        classes: classes of the masks.
        rest: masks of this store are taken for images without a PNG; those with one must have the same size.

    Raises:
        PseudomaskError: there is no PNG, or one has other pixels, an unknown class, or another image id or size than
            ``rest``.
    """
    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise PseudomaskError(f"{folder} holds no .png file")
    found = {unquote(path.stem): path for path in paths}
    with MaskWriter(target, classes, stage="import masks") as writer:
        for image_id, path in found.items():
            with Image.open(path) as picture:
                if picture.mode not in ("P", "L"):
                    raise PseudomaskError(f"{path} has pixels of type {picture.mode}; save class indices, 8 bits")
                mask = np.array(picture)
            if rest is not None and rest[image_id].shape != mask.shape:
                raise PseudomaskError(
                    f"{path} is {mask.shape[1]}x{mask.shape[0]}, its mask in {rest.path} is "
                    f"{rest[image_id].shape[1]}x{rest[image_id].shape[0]}"
                )
            writer.add(image_id, mask)
        others = [] if rest is None else [image_id for image_id in rest.ids if image_id not in found]
        for image_id in others:
            assert rest is not None
            writer.add(image_id, rest[image_id])
    return len(found)


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


def to_h5(store: MaskStore, target: Path, ids: Sequence[str]) -> int:
    """Write a mask store with some of the images; returns how many."""
    with MaskWriter(target, store.classes, **{"stage": store.facts.get("stage", "export")}) as writer:
        for image_id in ids:
            writer.add(image_id, store[image_id])
    return len(ids)
