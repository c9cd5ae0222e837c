"""Image tags from a table, from boxes or from masks."""

import csv
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.classes import ClassTable
from pipeline.errors import PseudomaskError

Tags = Mapping[str, tuple[int, ...]]


def read_table(path: Path, classes: ClassTable) -> Tags:
    """Tags by image id, from a CSV file or a ``.npy`` dictionary such as ``cls_labels.npy``.

    A CSV has a column ``id`` and either a column ``tags`` (names joined by ``;``) or one 0/1 column per class.

    Raises:
        PseudomaskError: names file, line, column and what is allowed.
    """
    if not path.is_file():
        raise PseudomaskError(f"tag table {path} does not exist; check data.table")
    return _read_npy(path, classes) if path.suffix == ".npy" else _read_csv(path, classes)


def from_mask(mask: NDArray[np.uint8], classes: ClassTable) -> tuple[int, ...]:
    """Foreground classes with at least one pixel."""
    values = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
    return tuple(int(value) for value in values if 0 < value < len(classes))


def read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a CSV of tags; a row that is cut short has empty ends.

    Raises:
        PseudomaskError: the file is missing, has no column ``id``, or lists an id twice.
    """
    if not path.is_file():
        raise PseudomaskError(f"tag table {path} does not exist; name a CSV file with a column 'id'")
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream, restval="")
        columns, rows = list(reader.fieldnames or []), list(reader)
    if "id" not in columns:
        raise PseudomaskError(f"{path} has no column 'id'; it has: {', '.join(columns)}")
    seen: set[str] = set()
    for number, row in enumerate(rows, 2):
        if row["id"] in seen:
            raise PseudomaskError(f"{path} line {number}: id '{row['id']}' is listed twice; remove one")
        seen.add(row["id"])
    return columns, rows


def names_of(row: Mapping[str, str]) -> list[str]:
    """Names in the column ``tags`` of a row."""
    return [name.strip() for name in row["tags"].split(";") if name.strip()]


def _read_csv(path: Path, classes: ClassTable) -> Tags:
    columns, rows = read_rows(path)
    if "tags" not in columns:
        for name in columns:
            if name != "id":
                classes.index(name, f"{path} column '{name}'")
    tags = {}
    for number, row in enumerate(rows, 2):
        where = f"{path} line {number}"
        tags[row["id"]] = _names(row, where, classes) if "tags" in columns else _flags(row, where, classes)
    return tags


def _names(row: Mapping[str, str], where: str, classes: ClassTable) -> tuple[int, ...]:
    return tuple(sorted({classes.index(name, where) for name in names_of(row)}))


def _flags(row: Mapping[str, str], where: str, classes: ClassTable) -> tuple[int, ...]:
    found = []
    for name, value in row.items():
        if name == "id":
            continue
        if value not in ("0", "1"):
            raise PseudomaskError(f"{where}: column '{name}' holds {value!r}; allowed: 0, 1")
        if value == "1":
            found.append(classes.index(name, where))
    return tuple(sorted(found))


class _ArraysOnly(pickle.Unpickler):
    """Unpickler that builds numpy arrays and plain containers, and calls nothing else."""

    _ALLOWED = frozenset(
        (f"numpy.{core}.{module}", name)
        for core in ("core", "_core")
        for module, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
    ) | {("numpy", "ndarray"), ("numpy", "dtype")}

    def find_class(self, module: str, name: str) -> Any:
        """Allow what a pickled array needs.

        Raises:
            PseudomaskError: anything else is asked for.
        """
        if (module, name) not in self._ALLOWED:
            raise PseudomaskError(f"the file wants to run '{module}.{name}'; only arrays are read")
        return super().find_class(module, name)


def _read_npy(path: Path, classes: ClassTable) -> Tags:
    with path.open("rb") as stream:
        try:
            np.lib.format.read_magic(stream)
            np.lib.format.read_array_header_1_0(stream)
            content = _ArraysOnly(stream).load()
            labels = content.item() if isinstance(content, np.ndarray) else content
        except (ValueError, pickle.UnpicklingError, EOFError) as error:
            raise PseudomaskError(f"{path} cannot be read as a dictionary of labels: {error}") from error
    if not isinstance(labels, dict):
        raise PseudomaskError(f"{path} holds a {type(labels).__name__}, expected a dictionary id -> 0/1 vector")
    result = {}
    for key, vector in labels.items():
        flags = np.asarray(vector)
        if flags.shape != (len(classes) - 1,):
            raise PseudomaskError(f"{path}: '{key}' has {flags.shape} labels, expected {len(classes) - 1}")
        result[_voc_id(key)] = tuple(int(index) + 1 for index in np.flatnonzero(flags))
    return result


def _voc_id(key: object) -> str:
    """PSA and IRN write 2007_000032 as the number 2007000032."""
    text = str(key)
    return f"{text[:4]}_{text[4:]}" if isinstance(key, int | np.integer) else text
