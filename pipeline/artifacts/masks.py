"""The mask store ``masks.h5``: one uint8 image per id under ``/masks``, with a palette HDF5 viewers understand."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.hdf5 import Store, merge_stores, new_store, object_name
from pipeline.config.classes import ClassTable
from pipeline.errors import PseudomaskError


class MaskWriter:
    """Writes a mask store; the file appears under its name when the ``with`` block ends without an error.

    Args:
        path: file to write.
        classes: class table of the masks.
        facts: short texts to keep with the file, such as the stage that made it.
    """

    def __init__(self, path: Path, classes: ClassTable, **facts: str) -> None:
        self._store = new_store(path, "masks", 1, classes, facts)
        self._classes = classes
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        file = self._stack.enter_context(self._store)
        palette = file.create_dataset("palette", data=self._classes.palette)
        palette.attrs["CLASS"] = np.bytes_("PALETTE")
        palette.attrs["PAL_VERSION"] = np.bytes_("1.2")
        palette.attrs["PAL_COLORMODEL"] = np.bytes_("RGB")
        palette.attrs["PAL_TYPE"] = np.bytes_("STANDARD8")
        self._palette = palette.ref
        self._group = file.create_group("masks", track_order=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]

    def add(self, image_id: str, mask: NDArray[np.uint8]) -> None:
        """Store the mask of one image.

        Args:
            image_id: id of the image; each may be added once.
            mask: uint8 (H, W) of class indices and the ignore value.

        Raises:
            PseudomaskError: wrong type or shape, a value outside the classes, or an id added before.
        """
        if mask.ndim != 2 or mask.dtype != np.uint8:
            raise PseudomaskError(f"mask of '{image_id}': expected uint8 (H, W), found {mask.dtype} {mask.shape}")
        values = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
        bad = [int(v) for v in values if v >= len(self._classes) and v != self._classes.ignore]
        if bad:
            allowed = f"0..{len(self._classes) - 1} and {self._classes.ignore}"
            raise PseudomaskError(f"mask of '{image_id}' holds value {bad[0]}; allowed: {allowed}")
        name = object_name(image_id)
        if name in self._group:
            raise PseudomaskError(f"image '{image_id}' is listed twice")
        image = self._group.create_dataset(
            name, data=mask, chunks=mask.shape, compression="gzip", compression_opts=4, track_times=False
        )
        image.attrs["CLASS"] = np.bytes_("IMAGE")
        image.attrs["IMAGE_VERSION"] = np.bytes_("1.2")
        image.attrs["IMAGE_SUBCLASS"] = np.bytes_("IMAGE_INDEXED")
        image.attrs["PALETTE"] = self._palette


class MaskStore(Store):
    """Read-only masks by image id."""

    kind = "masks"
    group = "masks"

    def __getitem__(self, image_id: str) -> NDArray[np.uint8]:
        """Mask of one image, uint8 (H, W)."""
        with self._object(image_id) as stored:
            mask: NDArray[np.uint8] = stored[()]
        return mask

    def items(self) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Ids with their masks, in the order written."""
        return ((image_id, self[image_id]) for image_id in self.ids)


def merge_masks(shards: list[Path], target: Path) -> None:
    """Join mask stores with different images into one."""
    merge_stores(shards, target, MaskStore.group)
