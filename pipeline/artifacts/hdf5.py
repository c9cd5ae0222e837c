"""What mask and score stores share: one HDF5 file, written once, one object per image."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote

import h5py
import numpy as np

from pipeline.artifacts.files import atomic_path
from pipeline.config.classes import ClassTable
from pipeline.errors import PseudomaskError

_FORMAT = ("v110", "v110")
"""HDF5 1.10 and later can read it. In older forms each image costs 3 KiB beside its pixels, here 0.4."""

REMEDY = "`pseudomask verify --remove` has the next run make it again"


def object_name(image_id: str) -> str:
    """HDF5 name of an image id: slashes and dots would be read as paths, so they are percent-encoded."""
    return quote(image_id, safe=" !#$&'()*+,:;=?@[]-_~").replace(".", "%2E")


@contextmanager
def new_store(path: Path, kind: str, version: int, classes: ClassTable, facts: dict[str, str]) -> Iterator[Any]:
    """A new HDF5 file that appears under its name when the block ends without an error."""
    with atomic_path(path) as temporary, h5py.File(temporary, "w", libver=_FORMAT) as file:
        file.attrs["format"] = f"pseudomask-{kind}-{version}"
        file.attrs["classes"] = classes.model_dump_json()
        file.attrs["class_names"] = list(classes.names)
        file.attrs["ignore"] = classes.ignore
        for name, value in facts.items():
            file.attrs[name] = value
        yield file


class Store:
    """Read-only view of a store; opened on first use in each process, so DataLoader workers may share it."""

    kind = ""
    group = ""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._file: Any = None
        if not self.path.exists():
            raise PseudomaskError(f"{path} does not exist")
        with self._open() as file:
            self.classes = ClassTable.model_validate_json(file.attrs["classes"])
            self.facts = {name: value for name, value in file.attrs.items() if isinstance(value, str)}
            self.ids: tuple[str, ...] = tuple(unquote(name) for name in file[self.group])
        self._names = frozenset(self.ids)

    def _open(self) -> Any:
        try:
            file = h5py.File(self.path, "r")
        except OSError as error:
            raise PseudomaskError(
                f"{self.path} is damaged or no HDF5 file; if a stage made it, {REMEDY} ({error})"
            ) from error
        found = str(file.attrs.get("format", "unknown format"))
        if not found.startswith(f"pseudomask-{self.kind}-"):
            file.close()
            raise PseudomaskError(f"{self.path} is no {self.kind} store but '{found}'")
        return file

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None}

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._names

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    @contextmanager
    def _object(self, image_id: str) -> Iterator[Any]:
        """The dataset of one image; while it is read, a broken checksum or structure becomes a message."""
        if image_id not in self._names:
            raise PseudomaskError(f"{self.path} holds no image '{image_id}' (it holds {len(self)} others)")
        if self._file is None:
            self._file = self._open()
        try:
            yield self._file[self.group][object_name(image_id)]
        except (OSError, KeyError, RuntimeError) as error:
            raise PseudomaskError(
                f"{self.path}: image '{image_id}' is damaged; if a stage made it, {REMEDY} ({error})"
            ) from error


def merge_stores(shards: list[Path], target: Path, group: str) -> None:
    """Join stores of one kind into one, copying compressed chunks as they are.

    Raises:
        PseudomaskError: two shards hold the same image.
    """
    with atomic_path(target) as temporary, h5py.File(temporary, "w", libver=_FORMAT) as merged:
        for number, shard in enumerate(shards):
            with h5py.File(shard, "r") as part:
                if number == 0:
                    merged.attrs.update(part.attrs)
                    for name in part:
                        if name != group:
                            part.copy(part[name], merged, name)
                    merged.create_group(group, track_order=True)
                _copy_images(part[group], merged[group], target)


def _copy_images(source: Any, into: Any, target: Path) -> None:
    """Copy every image of a group; a palette reference is made valid in the new file.

    By HDF5's own calls, since h5py's objects around them take three quarters of the time.
    """
    palette = np.array(into.file["palette"].ref, h5py.ref_dtype) if "palette" in into.file else None
    there = set(into.id)
    for name in source.id:
        if name in there:
            raise PseudomaskError(f"image '{unquote(name.decode())}' is in two of the shards of {target}")
        h5py.h5o.copy(source.id, name, into.id, name)
        if palette is not None:
            h5py.h5a.open(h5py.h5o.open(into.id, name), b"PALETTE").write(palette)
