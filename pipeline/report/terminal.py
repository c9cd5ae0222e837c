"""Masks as coloured text and facts about artifacts, for the terminal."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from pipeline.artifacts.lineage import lineage
from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.masks import MaskStore
from pipeline.artifacts.scores import ScoreStore
from pipeline.config.classes import ClassTable
from pipeline.errors import PseudomaskError

Fact = tuple[str, str]


def picture(mask: NDArray[np.uint8], classes: ClassTable, columns: int) -> Text:
    """The mask in half-block characters, two pixels each, ``columns`` wide."""
    width = min(columns, mask.shape[1])
    height = max(2, round(mask.shape[0] * width / mask.shape[1]) // 2 * 2)
    small = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
    colours = classes.palette[small]
    text = Text(no_wrap=True)
    for upper, lower in zip(colours[::2], colours[1::2], strict=True):
        for top, bottom in zip(upper, lower, strict=True):
            text.append("▀", f"rgb({top[0]},{top[1]},{top[2]}) on rgb({bottom[0]},{bottom[1]},{bottom[2]})")
        text.append("\n")
    return text


def facts(path: Path) -> Iterator[Fact]:
    """What a file holds.

    Raises:
        PseudomaskError: the file is none of ours.
    """
    kind = kind_of(path)
    if kind == "masks":
        yield from _mask_facts(MaskStore(path))
    elif kind == "scores":
        scores = ScoreStore(path)
        yield from [
            ("images", str(len(scores))),
            ("values", scores.score_kind),
            ("classes", ", ".join(scores.classes.names)),
        ]
    elif kind == "manifest":
        manifest = Manifest.read(path)
        yield from [(f"split {split}", f"{len(manifest.split(split))} images") for split in manifest.splits]
        yield "classes", ", ".join(manifest.classes.names)
    else:
        yield from _weight_facts(path)
    for made in lineage([path.resolve()])[-1:]:
        yield "made by", f"stage {made.name}, key {made.spec['key']}"
        if made.facts:
            yield "took", f"{made.seconds} s, {made.memory} MiB, on {made.where}"


def kind_of(path: Path) -> str:
    """``masks``, ``scores``, ``manifest`` or ``weights``.

    Raises:
        PseudomaskError: the file does not exist or is none of ours.
    """
    if not path.exists():
        raise PseudomaskError(f"{path} does not exist")
    if path.suffix == ".parquet":
        return "manifest"
    if path.suffix == ".safetensors":
        return "weights"
    for kind, store in (("masks", MaskStore), ("scores", ScoreStore)):
        try:
            store(path)
        except PseudomaskError:
            continue
        return kind
    raise PseudomaskError(f"{path} is no mask store, score store, manifest or weights file")


def image_facts(mask: NDArray[np.uint8], classes: ClassTable) -> Iterator[Fact]:
    """Size of a mask and the share of each class in it."""
    yield "size", f"{mask.shape[1]} x {mask.shape[0]}"
    yield from _shares(np.bincount(mask.ravel(), minlength=256), classes)


def _mask_facts(store: MaskStore) -> Iterator[Fact]:
    counts = np.zeros(256, np.int64)
    for _, mask in store.items():
        counts += np.bincount(mask.ravel(), minlength=256)
    yield "images", str(len(store))
    yield from _shares(counts, store.classes)


def _shares(counts: NDArray[np.int64], classes: ClassTable) -> Iterator[Fact]:
    total = max(1, int(counts.sum()))
    for index in np.flatnonzero(counts):
        name = "ignored" if index == classes.ignore else classes.names[index]
        yield name, f"{100 * counts[index] / total:.2f} %"


def _weight_facts(path: Path) -> Iterator[Fact]:
    from pipeline.artifacts.checkpoint import load_weights

    state, card = load_weights(path)
    yield "parameters", f"{sum(tensor.numel() for tensor in state.values()):,}"
    yield from ((name, str(card[name])) for name in ("objective", "split", "images", "seed") if name in card)
