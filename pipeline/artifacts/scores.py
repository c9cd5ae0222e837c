"""The score store ``scores.h5``: float16 (K, h, w) per image under ``/scores``, only the classes that matter."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.hdf5 import Store, merge_stores, new_store, object_name
from pipeline.config.classes import ClassTable
from pipeline.errors import PseudomaskError

ScoreKind = Literal["cam", "probability", "logit"]


@dataclass(frozen=True)
class Scores:
    """Class scores of one image.

    Attributes:
        values: float32 (K, h, w); ``cam``: 0..1 per foreground class, no background; ``probability``: sums to at
            most 1 over K; ``logit``: any value.
        classes: int64 (K,) class indices of the channels, ascending.
        size: (H, W) of the image; h, w may be smaller.
        kind: meaning of the values.
    """

    values: NDArray[np.float32]
    classes: NDArray[np.int64]
    size: tuple[int, int]
    kind: ScoreKind


class ScoreWriter:
    """Writes a score store; the file appears under its name when the ``with`` block ends without an error."""

    def __init__(self, path: Path, classes: ClassTable, kind: ScoreKind, **facts: str) -> None:
        self._store = new_store(path, "scores", 1, classes, facts | {"score_kind": kind})
        self._classes = classes
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        file = self._stack.enter_context(self._store)
        self._group = file.create_group("scores", track_order=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]

    def add(
        self, image_id: str, values: NDArray[np.floating], classes: NDArray[np.integer], size: tuple[int, int]
    ) -> None:
        """Store the scores of one image (see :class:`Scores` for shapes).

        Raises:
            PseudomaskError: shapes disagree, a class is unknown, a value is not finite, or an id was added before.
        """
        if values.ndim != 3 or len(values) != len(classes):
            raise PseudomaskError(
                f"scores of '{image_id}': expected (K, h, w) with K = {len(classes)} classes, found {values.shape}"
            )
        last = len(self._classes) - 1
        if len(classes) and (min(classes) < 0 or max(classes) > last):
            raise PseudomaskError(f"scores of '{image_id}': class indices {list(classes)} outside 0..{last}")
        if not np.isfinite(values).all():
            raise PseudomaskError(f"scores of '{image_id}' hold NaN or infinity; the network that made them diverged")
        name = object_name(image_id)
        if name in self._group:
            raise PseudomaskError(f"image '{image_id}' is listed twice")
        # gzip needs a non-empty chunk; an image without any class has none.
        packing = {"chunks": values.shape, "compression": "gzip", "compression_opts": 4} if values.size else {}
        scores = self._group.create_dataset(name, data=values.astype(np.float16), track_times=False, **packing)
        scores.attrs["classes"] = np.asarray(classes, np.int32)
        scores.attrs["size"] = np.asarray(size, np.int32)


class ScoreStore(Store):
    """Read-only scores by image id."""

    kind = "scores"
    group = "scores"

    @property
    def score_kind(self) -> ScoreKind:
        """Meaning of the values of all images."""
        return self.facts["score_kind"]  # type: ignore[return-value]

    def __getitem__(self, image_id: str) -> Scores:
        """Scores of one image."""
        with self._object(image_id) as stored:
            height, width = (int(side) for side in stored.attrs["size"])
            classes = np.asarray(stored.attrs["classes"], np.int64)
            values = stored[()].astype(np.float32)
        return Scores(values, classes, (height, width), self.score_kind)


def merge_scores(shards: list[Path], target: Path) -> None:
    """Join score stores with different images into one."""
    merge_stores(shards, target, ScoreStore.group)
