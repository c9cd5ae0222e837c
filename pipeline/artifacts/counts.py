"""Pixel counts of every image and class: what differences between runs, and their uncertainty, are computed from."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.artifacts.files import atomic_path
from pipeline.errors import PseudomaskError

Row = tuple[str, str, str]
"""Which numbers: name of the masks, split, protocol."""

_COUNTS = ("truth", "predicted", "both")


class ImageCounts:
    """Collects counts and writes them, one line per row, image and class that occurs."""

    def __init__(self) -> None:
        self._tables: list[pa.Table] = []

    def add(self, row: Row, ids: list[str], counts: NDArray[np.int64]) -> None:
        """Add the images of a row.

        Args:
            row: which numbers they are.
            ids: of the images.
            counts: int64 (M, 5), a line for each class that occurs in an image: place of the image in ``ids``, class,
                pixels in the truth, in the mask, and in both.
        """
        image, label, *found = counts.T
        columns = {
            name: pa.repeat(value, len(image)) for name, value in zip(("masks", "split", "protocol"), row, strict=True)
        }
        columns |= {"id": pa.array(ids, pa.string()).take(pa.array(image)), "class": label.astype(np.int32)}
        columns |= dict(zip(_COUNTS, found, strict=True))
        self._tables.append(pa.table(columns))

    def write(self, target: Path) -> None:
        """Write ``images.parquet``."""
        with atomic_path(target) as temporary:
            pq.write_table(pa.concat_tables(self._tables), temporary, compression="zstd")


def read_counts(path: Path, classes: int) -> dict[Row, tuple[list[str], NDArray[np.int64]]]:
    """Image ids in order and counts (N, C, 3) of every row of ``images.parquet``.

    Raises:
        PseudomaskError: the file is missing or no such file.
    """
    try:
        table = pd.read_parquet(path)
        groups = table.groupby(["masks", "split", "protocol"], sort=False, observed=True)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise PseudomaskError(f"{path} holds no pixel counts ({error}); run the evaluation again") from error
    found: dict[Row, tuple[list[str], NDArray[np.int64]]] = {}
    for (masks, split, protocol), part in groups:
        places, ids = pd.factorize(part["id"])
        values = np.zeros((len(ids), classes, 3), np.int64)
        values[places, part["class"].to_numpy()] = part[list(_COUNTS)].to_numpy()
        found[str(masks), str(split), str(protocol)] = ([str(image_id) for image_id in ids], values)
    return found
