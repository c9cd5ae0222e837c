"""Labelled boxes of a data set: ``boxes.parquet``, one row per box."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts.files import atomic_path
from pipeline.errors import PseudomaskError

Corners = tuple[int, int, int, int]
"""(x0, y0, x1, y1), 0-based, end exclusive."""

_SCHEMA = pa.schema(
    [("id", pa.string()), ("class_index", pa.int32()), *((side, pa.int32()) for side in ("x0", "y0", "x1", "y1"))]
)


@dataclass(frozen=True)
class Box:
    """A labelled rectangle: class index and corners."""

    class_index: int
    corners: Corners


def write_boxes(path: Path, boxes: Mapping[str, Sequence[Box]]) -> None:
    """Write the boxes of all images by id; an image without box has no row."""
    rows = [(image_id, box.class_index, *box.corners) for image_id, found in boxes.items() for box in found]
    table = pa.Table.from_pylist([dict(zip(_SCHEMA.names, row, strict=True)) for row in rows], _SCHEMA)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


def read_box_table(path: Path) -> dict[str, list[Box]]:
    """Boxes by image id, in the order they were written.

    Raises:
        PseudomaskError: the file is missing or no box table.
    """
    try:
        table = pq.read_table(path, schema=_SCHEMA)
    except (OSError, pa.ArrowInvalid) as error:
        raise PseudomaskError(f"{path} is no readable box table ({error}); run the stage import_boxes again") from error
    found: dict[str, list[Box]] = {}
    for row in table.to_pylist():
        found.setdefault(row["id"], []).append(Box(row["class_index"], (row["x0"], row["y0"], row["x1"], row["y1"])))
    return found


def object_id(image_id: str, number: int) -> str:
    """Id under which stores of single objects keep the object in box ``number``, from 0, of an image."""
    return f"{image_id}#{number}"
