"""Data sets in COCO layout: one instances JSON per split."""

import json
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.boxes import Box
from pipeline.config.classes import ClassTable
from pipeline.errors import PseudomaskError


class CocoSplit:
    """The annotations of one split.

    Args:
        path: instances JSON.
        classes: classes to use, matched by name; None: all categories of the file in the order of their ids.
        aliases: classes that categories of other names stand for.
        only_with_objects: whether images without an object of the classes are left out.

    Raises:
        PseudomaskError: the file is missing or lacks a part.
    """

    def __init__(
        self,
        path: Path,
        classes: ClassTable | None,
        aliases: Mapping[str, str] | None = None,
        only_with_objects: bool = False,
    ) -> None:
        self.path = path
        try:
            self._content: dict[str, Any] = json.loads(path.read_text())
        except FileNotFoundError as error:
            raise PseudomaskError(f"{path} does not exist; check data.root and data.splits") from error
        except json.JSONDecodeError as error:
            raise PseudomaskError(f"{path} is no valid JSON: {error}") from error
        for part in ("images", "annotations", "categories"):
            if part not in self._content:
                raise PseudomaskError(f"{path} has no list '{part}'; expected COCO's instances format")
        categories = sorted(self._content["categories"], key=lambda category: category["id"])
        self.classes = classes or ClassTable(names=("background", *(category["name"] for category in categories)))
        known = {name: index for index, name in enumerate(self.classes.names)}
        # Categories outside the chosen classes are background, as when COCO is reduced to VOC's 20.
        names = {c["id"]: (aliases or {}).get(c["name"], c["name"]) for c in categories}
        self._index = {number: known[name] for number, name in names.items() if name in known}
        self._only_with_objects = only_with_objects

    @property
    def images(self) -> list[dict[str, Any]]:
        """Records with id, file_name, height, width."""
        images: list[dict[str, Any]] = self._content["images"]
        if self._only_with_objects:
            return [image for image in images if self.tags(image)]
        return list(images)

    @cached_property
    def _by_image(self) -> dict[Any, list[dict[str, Any]]]:
        grouped: dict[Any, list[dict[str, Any]]] = {}
        for annotation in self._content["annotations"]:
            grouped.setdefault(annotation["image_id"], []).append(annotation)
        return grouped

    def tags(self, image: dict[str, Any]) -> tuple[int, ...]:
        """Classes of the image's annotations, crowds included."""
        found = {self._index.get(annotation["category_id"]) for annotation in self._by_image.get(image["id"], [])}
        return tuple(sorted(index for index in found if index is not None))

    def boxes(self, image: dict[str, Any]) -> list[Box]:
        """Boxes of single objects, crowds left out; fractions of a pixel are rounded outwards and clipped.

        Raises:
            PseudomaskError: a box has no area within the image.
        """
        found = []
        for annotation in self._by_image.get(image["id"], []):
            index = self._index.get(annotation["category_id"])
            if index is None or annotation.get("iscrowd", 0):
                continue
            x, y, width, height = annotation["bbox"]
            corners = (
                max(0, math.floor(x)),
                max(0, math.floor(y)),
                min(image["width"], math.ceil(x + width)),
                min(image["height"], math.ceil(y + height)),
            )
            if corners[0] >= corners[2] or corners[1] >= corners[3]:
                raise PseudomaskError(
                    f"{self.path}: box {annotation['bbox']} of annotation {annotation.get('id')} has no area within "
                    f"image {image['id']} of {image['width']}x{image['height']} pixels"
                )
            found.append(Box(index, corners))
        return found

    def mask(self, image: dict[str, Any]) -> NDArray[np.uint8]:
        """Class mask, smaller objects over larger ones, crowds only where nothing else is.

        Raises:
            PseudomaskError: a segmentation cannot be decoded.
        """
        from pycocotools import mask as rle

        height, width = image["height"], image["width"]
        result = np.zeros((height, width), np.uint8)
        annotations = [a for a in self._by_image.get(image["id"], []) if a["category_id"] in self._index]
        for annotation in sorted(annotations, key=lambda a: (not a.get("iscrowd", 0), -a.get("area", 0))):
            shape: Any = annotation.get("segmentation")
            try:
                if isinstance(shape, list):
                    code = rle.merge(rle.frPyObjects(shape, height, width))
                elif isinstance(shape["counts"], list):
                    code = rle.frPyObjects(shape, height, width)
                else:
                    code = shape
                covered = rle.decode(code).astype(bool)
            except (TypeError, ValueError, KeyError, IndexError) as error:
                raise PseudomaskError(
                    f"{self.path}: annotation {annotation.get('id')} of image {image['id']} has no usable "
                    "segmentation; expected polygons or a run-length code"
                ) from error
            if covered.shape != result.shape:
                raise PseudomaskError(
                    f"{self.path}: annotation {annotation.get('id')} has another size than image "
                    f"{image['id']}, {width}x{height}; correct its segmentation"
                )
            result[covered] = self._index[annotation["category_id"]]
        return result
