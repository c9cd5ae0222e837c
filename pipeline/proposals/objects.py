"""The masks of single objects that every source of proposals writes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.boxes import Box, Corners, object_id
from pipeline.artifacts.manifest import ImageRecord
from pipeline.artifacts.masks import MaskWriter
from pipeline.config.classes import ClassTable
from pipeline.proposals.fusion import clipped

OfBox = Callable[[Corners, int], NDArray[np.bool_] | None]
"""Foreground of a box, bool (H, W), from its corners inside the image and its number; None: not to be trusted."""


def write_objects(
    path: Path,
    classes: ClassTable,
    records: Iterable[ImageRecord],
    boxes: Mapping[str, Sequence[Box]],
    propose: Callable[[ImageRecord], OfBox],
    **facts: str,
) -> None:
    """Write a mask store with one mask per box, in the class of the box.

    Args:
        path: store to write.
        classes: of the data set.
        records: images, in order.
        boxes: by image id; an image without boxes is passed over unread.
        propose: prepares an image; a box whose foreground is not to be trusted is ignored as a whole, one without area
            inside the image is background.
        facts: kept with the store.
    """
    with MaskWriter(path, classes, **facts) as writer:
        for record in records:
            found = boxes.get(record.id, ())
            if not found:
                continue
            of_box = propose(record)
            for number, box in enumerate(found):
                size = (record.height, record.width)
                mask = np.zeros(size, np.uint8)
                corners = clipped(box.corners, size)
                if corners is not None:
                    foreground = of_box(corners, number)
                    if foreground is None:
                        x0, y0, x1, y1 = corners
                        mask[y0:y1, x0:x1] = classes.ignore
                    else:
                        mask[foreground] = box.class_index
                writer.add(object_id(record.id, number), mask)
