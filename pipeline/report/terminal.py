"""Masks and activation maps as coloured text, and facts about artifacts, for the terminal."""

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from pipeline.artifacts.layout import SPEC
from pipeline.artifacts.lineage import lineage
from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.masks import MaskStore
from pipeline.artifacts.scores import ScoreStore
from pipeline.artifacts.store import Run
from pipeline.config.classes import ClassTable
from pipeline.config.runtime import RuntimeSettings
from pipeline.data.images import data_root, load_record
from pipeline.errors import PseudomaskError
from pipeline.report.pictures import RGB, heat, overlay
from pipeline.report.stages import state_of
from pipeline.report.state import stages_of

Fact = tuple[str, str]


def look(path: Path, image_id: str) -> tuple[RGB, list[Fact]]:
    """An image of a store as a picture, with facts: its mask or its strongest activation, over the photograph where
    the file's stage tells which that is.

    Raises:
        PseudomaskError: the file is neither a mask nor a score store, or does not hold the image.
    """
    kind = kind_of(path)
    if kind == "masks":
        store = MaskStore(path)
        mask = store[image_id]
        image = _photograph(path, image_id)
        drawn = store.classes.palette[mask] if image is None else overlay(image, mask, store.classes)
        return drawn, [("size", f"{mask.shape[1]} x {mask.shape[0]}"), *_shares(_counts(mask), store.classes)]
    if kind == "scores":
        maps = ScoreStore(path)
        scores = maps[image_id]
        height, width = scores.size
        image = _photograph(path, image_id)
        drawn = heat(np.zeros((height, width, 3), np.uint8) if image is None else image, scores)
        strongest = [
            (maps.classes.names[index], f"up to {values.max():.2f}, mean {values.mean():.2f}")
            for index, values in zip(scores.classes, scores.values, strict=True)
        ]
        return drawn, [("size", f"{width} x {height}"), ("values", scores.kind), *strongest]
    raise PseudomaskError(f"{path} holds no masks and no scores; leave the image id out")


def picture(image: RGB, columns: int) -> Text:
    """An image in half-block characters, two pixels each, ``columns`` wide."""
    width = min(columns, image.shape[1])
    height = max(2, round(image.shape[0] * width / image.shape[1]) // 2 * 2)
    colours = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
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
    if kind == "run":
        yield from ((stage.name, state_of(stage)[1]) for stage in stages_of(Run(path)))
    elif kind == "masks":
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
    """``run``, ``masks``, ``scores``, ``manifest`` or ``weights``.

    Raises:
        PseudomaskError: the file does not exist or is none of ours.
    """
    if not path.exists():
        raise PseudomaskError(f"{path} does not exist")
    if path.is_dir() and (path / "config.yaml").exists():
        return "run"
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
    raise PseudomaskError(f"{path} is no mask store, score store, manifest, weights file or folder of a run")


def _photograph(path: Path, image_id: str) -> RGB | None:
    """The image a stage's result is of; None where no stage made the file or the image is gone."""
    spec = path.resolve().with_name(SPEC)
    document = json.loads(spec.read_text()) if spec.exists() else {"inputs": {}}
    if "manifest" not in document["inputs"]:
        return None
    working = spec.parents[3]  # store/<kind>/<key>/stage.json
    manifest = working / document["inputs"]["manifest"]
    records = {record.id: record for record in Manifest.read(manifest)} if manifest.exists() else {}
    try:
        return load_record(records[image_id], working / data_root(RuntimeSettings(**document["runtime"])))
    except (KeyError, PseudomaskError):
        return None


def _mask_facts(store: MaskStore) -> Iterator[Fact]:
    counts = np.zeros(256, np.int64)
    for _, mask in store.items():
        counts += _counts(mask)
    yield "images", str(len(store))
    yield from _shares(counts, store.classes)


def _counts(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pixels of each of 256 values."""
    return np.bincount(mask.ravel(), minlength=256)


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
