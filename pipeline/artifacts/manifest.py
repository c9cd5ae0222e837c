"""The list of images of a data set: ``manifest.parquet``, one row per image, the class table in its metadata."""

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts.files import atomic_path
from pipeline.config.classes import ClassTable
from pipeline.errors import PseudomaskError

_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("path", pa.string()),
        ("splits", pa.list_(pa.string())),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("tags", pa.list_(pa.int32())),
    ]
)
_ROWS = 4096  # converted at a time


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image.

    Attributes:
        id: unique name of the image.
        path: image file, relative to the data root (absolute paths stay as they are).
        splits: names of the splits it belongs to; an image may be in several.
        height: rows in pixels, after the EXIF orientation.
        width: columns in pixels.
        tags: sorted indices of the foreground classes present, or None when the image has no tags.
    """

    id: str
    path: str
    splits: tuple[str, ...]
    height: int
    width: int
    tags: tuple[int, ...] | None


@dataclass(frozen=True)
class Manifest:
    """Images in a fixed order together with the classes."""

    classes: ClassTable
    records: tuple[ImageRecord, ...]

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[ImageRecord]:
        return iter(self.records)

    @cached_property
    def by_id(self) -> dict[str, ImageRecord]:
        """Record of each id."""
        return {record.id: record for record in self.records}

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of all splits, sorted."""
        return tuple(sorted({split for record in self.records for split in record.splits}))

    def split(self, name: str) -> "Manifest":
        """The images of one split, or of several joined by ``+``.

        Raises:
            PseudomaskError: no image belongs to a named split.
        """
        wanted = set(name.split("+"))
        unknown = wanted - set(self.splits)
        if unknown:
            known = ", ".join(self.splits)
            raise PseudomaskError(f"split '{sorted(unknown)[0]}' has no image; splits of this data set: {known}")
        return replace(self, records=tuple(r for r in self.records if wanted & set(r.splits)))

    def only(self, ids: Container[str]) -> "Manifest":
        """The images whose id is in ``ids``, such as a store's."""
        return replace(self, records=tuple(r for r in self.records if r.id in ids))

    def shard(self, index: int, count: int) -> "Manifest":
        """The ``index``-th of ``count`` consecutive parts of nearly equal length."""
        bounds = [len(self) * part // count for part in (index, index + 1)]
        return replace(self, records=self.records[bounds[0] : bounds[1]])

    def write(self, path: Path) -> None:
        """Write ``path`` atomically."""
        schema = _SCHEMA.with_metadata({"format": "pseudomask-manifest-1", "classes": self.classes.model_dump_json()})
        columns = {name: [getattr(record, name) for record in self.records] for name in schema.names}
        table = pa.Table.from_pydict(columns, schema)
        with atomic_path(path) as temporary:
            pq.write_table(table, temporary)

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Read a manifest.

        Raises:
            PseudomaskError: the file is missing or no manifest.
        """
        if not path.exists():
            raise PseudomaskError(f"{path} does not exist; run the stage that imports the data first")
        try:
            table = pq.read_table(path)
            classes = ClassTable.model_validate_json((table.schema.metadata or {})[b"classes"])
        except (pa.ArrowInvalid, KeyError) as error:
            raise PseudomaskError(f"{path} is not a pseudomask manifest: {error}") from error
        return cls(classes, tuple(_records(table)))


def _records(table: pa.Table) -> Iterator[ImageRecord]:
    """Rows of a table; a few thousand at a time exist twice, and equal splits and tags are one object."""
    known: dict[tuple[str | int, ...], tuple[str | int, ...]] = {}

    def shared(lists: list[list[str | int] | None]) -> list[tuple[str | int, ...] | None]:
        return [None if each is None else known.setdefault(tuple(each), tuple(each)) for each in lists]

    for batch in table.to_batches(max_chunksize=_ROWS):
        columns = {name: batch[name].to_pylist() for name in _SCHEMA.names}
        columns |= {name: shared(columns[name]) for name in ("splits", "tags")}
        yield from map(ImageRecord, *columns.values())
