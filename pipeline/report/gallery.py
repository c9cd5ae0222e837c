"""Small pictures and facts of all images of a run, packed into one document for the page.

Images become WebP files. Masks stay class indices, so that the page can colour, blend and compare them; they and the
activation maps are deflated in blocks. Pictures shrink with the number of images until the document fits its budget.
"""

import base64
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.manifest import ImageRecord
from pipeline.artifacts.masks import MaskStore
from pipeline.artifacts.scores import Scores, ScoreStore
from pipeline.config.classes import ClassTable
from pipeline.data.images import load_preview
from pipeline.errors import PseudomaskError
from pipeline.evaluation.confusion import confusion_of, joint_counts
from pipeline.evaluation.metrics import mean_iou
from pipeline.report.palette import safe_colours
from pipeline.report.pictures import RGB, grow, is_sparse, shrink, webp

TRUTH = "truth"
BINS = 20
_SAMPLE = 48
_SMALLEST = 40
_SPARE = 0.92
_BLOCK_BYTES = 2**19
_BLOCK_IMAGES = 32
_HEAT_LEVELS = 15

Mask = NDArray[np.uint8]
Facts = dict[str, tuple[float, float, bytes]]
Item = TypeVar("Item")
Result = TypeVar("Result")
Follow = Callable[[Sequence[ImageRecord], str], Iterable[ImageRecord]]


@dataclass(frozen=True)
class Sources:
    """What pictures are made from.

    Attributes:
        records: the images.
        classes: their classes.
        root: folder image paths start from.
        masks: mask stores by the name shown, in the order in which one was made from the other.
        truth: true masks.
        scores: activation maps or probabilities.
    """

    records: Sequence[ImageRecord]
    classes: ClassTable
    root: Path
    masks: dict[str, MaskStore]
    truth: MaskStore | None = None
    scores: ScoreStore | None = None

    @property
    def stores(self) -> dict[str, MaskStore]:
        """All mask stores, the truth last."""
        return self.masks if self.truth is None else {**self.masks, TRUTH: self.truth}


class Column:
    """Facts of one mask store; index n is image n.

    Attributes:
        iou: mean IoU over the classes in truth or mask, NaN where there is no mask or no truth.
        ignored: share of pixels without a label, NaN where there is no mask.
        classes: foreground classes with pixels; None where there is no mask.
    """

    def __init__(self, count: int) -> None:
        self.iou = np.full(count, np.nan, np.float32)
        self.ignored = np.full(count, np.nan, np.float32)
        self.classes: list[bytes | None] = [None] * count

    def warnings(self, records: Sequence[ImageRecord]) -> dict[str, int]:
        """How many images have a mask without any class, a tag without pixels, pixels without the tag."""
        counts = {"empty": 0, "tags": 0, "pixels": 0}
        for record, found in zip(records, self.classes, strict=True):
            if found is None:
                continue
            counts["empty"] += not found
            if record.tags is not None:
                counts["tags"] += bool(set(record.tags) - set(found))
                counts["pixels"] += bool(set(found) - set(record.tags))
        return counts


@dataclass(frozen=True)
class Gallery:
    """What the page needs.

    Attributes:
        columns: facts of every image, by mask store.
        confidence: share of pixels whose strongest score lies in each of ``BINS`` equal parts of 0..1; zeros without
            scores.
        document: facts and pictures of the images shown, for JSON.
        side: longest side of a picture, pixels.
        shown: number of images with pictures.
    """

    columns: dict[str, Column]
    confidence: NDArray[np.float64]
    document: dict[str, Any]
    side: int
    shown: int


@dataclass(frozen=True)
class _Loaded:
    """One image with all that is known of it; no picture where only facts are wanted."""

    masks: dict[str, Mask]
    scores: Scores | None
    picture: RGB | None


@dataclass(frozen=True)
class _Look:
    """What is kept of one image: facts by mask store, pixels by confidence, and its pictures in few bytes."""

    facts: Facts
    bins: NDArray[np.float64] | None
    picture: bytes = b""
    layers: bytes = b""
    shape: tuple[int, int] = (0, 0)
    heat: bool = False


class _Album:
    """Collects the images shown; block after block of layers is deflated as it fills."""

    def __init__(self, sources: Sources) -> None:
        names = ("id", "path", "splits", "tags", "size", "shape", "bytes", "heat")
        self._images: dict[str, list[Any]] = {name: [] for name in names}
        self._stores: dict[str, dict[str, list[Any]]] = {
            name: {"iou": [], "ignored": [], "classes": []} for name in sources.stores
        }
        self._splits = sorted({split for record in sources.records for split in record.splits})
        self._classes = sources.classes
        self._blocks: list[dict[str, Any]] = []
        self._open: list[_Look] = []

    def __len__(self) -> int:
        return len(self._images["id"])

    def add(self, record: ImageRecord, look: _Look) -> None:
        """Append an image."""
        splits = [self._splits.index(split) for split in record.splits]
        tags = None if record.tags is None else list(record.tags)
        values = (record.id, record.path, splits, tags, [record.width, record.height])
        for name, value in zip(self._images, (*values, look.shape, len(look.picture), int(look.heat)), strict=True):
            self._images[name].append(value)
        for name, store in self._stores.items():
            iou, ignored, classes = look.facts.get(name, (math.nan, math.nan, None))
            store["iou"].append(None if math.isnan(iou) else round(1000 * iou))
            store["ignored"].append(None if math.isnan(ignored) else round(1000 * ignored))
            store["classes"].append(None if classes is None else list(classes))
        self._open.append(look)
        if len(self._open) == _BLOCK_IMAGES or sum(len(each.layers) for each in self._open) >= _BLOCK_BYTES:
            self._close_block()

    def document(self) -> dict[str, Any]:
        """Everything added, for JSON."""
        if self._open:
            self._close_block()
        palette = self._classes.palette
        return {
            "classes": list(self._classes.names),
            "ignore": self._classes.ignore,
            "palettes": {
                "data set": palette[: len(self._classes)].tolist(),
                "colour-blind safe": [(0, 0, 0), *safe_colours(len(self._classes) - 1)],
            },
            "splits": self._splits,
            "images": self._images,
            "stores": self._stores,
            "heatLevels": _HEAT_LEVELS,
            "blocks": self._blocks,
        }

    def _close_block(self) -> None:
        layers = zlib.compress(b"".join(look.layers for look in self._open))
        pictures = b"".join(look.picture for look in self._open)
        first = len(self) - len(self._open)
        self._blocks.append({"first": first, "pictures": _text(pictures), "layers": _text(layers)})
        self._open = []


def make_gallery(sources: Sources, side: int, megabytes: float, threads: int, follow: Follow) -> Gallery:
    """Look at every image once and pack what was seen.

    Where even the smallest pictures of all images do not fit, the gallery shows the worst, the best and some random
    images; facts are of all. Memory grows with the document, not with the images.

    Args:
        sources: images and stores.
        side: longest side of a picture at most, pixels.
        megabytes: size of the document at most.
        threads: images looked at in parallel.
        follow: wraps a list of images to say how far the work is.

    Raises:
        PseudomaskError: there is no image, or one cannot be read or differs in size from its true mask.
    """
    if not sources.records:
        raise PseudomaskError("no image of the run has a mask, so there is nothing to show")
    records = sources.records
    side, room = _fit(sources, side, megabytes * 1e6 * _SPARE)
    columns = {name: Column(len(records)) for name in sources.stores}
    confidence = np.zeros(BINS)
    album = _Album(sources)
    looks = _parallel(
        lambda r: _look(r, sources, side if room >= len(records) else 0), follow(records, "gallery"), threads
    )
    for number, (record, look) in enumerate(zip(records, looks, strict=True)):
        for name, (iou, ignored, classes) in look.facts.items():
            column = columns[name]
            column.iou[number], column.ignored[number], column.classes[number] = iou, ignored, classes
        if look.bins is not None:
            confidence += look.bins
        if room >= len(records):
            album.add(record, look)
    if room < len(records):
        chosen = [records[index] for index in _choose(last_iou(columns), room)]
        looks = _parallel(lambda r: _look(r, sources, side), follow(chosen, "pictures"), threads)
        for record, look in zip(chosen, looks, strict=True):
            album.add(record, look)
    return Gallery(columns, confidence / max(1.0, confidence.sum()), album.document(), side, len(album))


def last_iou(columns: dict[str, Column]) -> NDArray[np.float32]:
    """IoU of each image in the last store that holds it, the truth aside."""
    found = np.full(max(len(column.classes) for column in columns.values()), np.nan, np.float32)
    for name, column in columns.items():
        if name != TRUTH:
            held = np.array([classes is not None for classes in column.classes])
            found[held] = column.iou[held]
    return found


def _choose(iou: NDArray[np.float32], room: int) -> NDArray[np.int64]:
    """Places of the worst, the best and random images, a third each, in their order."""
    order = np.argsort(iou, kind="stable")  # unknown ones come last
    known = int(np.count_nonzero(~np.isnan(iou)))
    third = min(room // 3, known // 3)
    rest = np.concatenate([order[third : known - third], order[known:]])
    random = np.random.default_rng(0).permutation(rest)[: room - 2 * third]
    return np.sort(np.concatenate([order[:third], order[known - third : known], random]))


def _parallel(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Results in order, a few ahead of the one asked for."""
    left = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        while batch := list(islice(left, 8 * threads)):
            yield from pool.map(function, batch)


def _look(record: ImageRecord, sources: Sources, side: int) -> _Look:
    """Facts of an image, and with a ``side`` its pictures."""
    loaded = _load(record, sources, side)
    return _packed(loaded, _facts(loaded, sources.classes), sources, side)


def _load(record: ImageRecord, sources: Sources, side: int) -> _Loaded:
    masks = {name: store[record.id] for name, store in sources.stores.items() if record.id in store}
    scores = sources.scores[record.id] if sources.scores is not None and record.id in sources.scores else None
    picture = shrink(load_preview(record, sources.root, side), side) if side else None
    return _Loaded(masks, scores, picture)


def _facts(loaded: _Loaded, classes: ClassTable) -> Facts:
    """IoU, ignored share and classes of each mask."""
    truth = loaded.masks.get(TRUTH)
    found = {}
    for name, mask in loaded.masks.items():
        if truth is None or name == TRUTH:
            iou, counts = math.nan, np.bincount(mask.ravel(), minlength=256)
        else:
            joint = joint_counts(truth, mask)
            iou, counts = mean_iou(confusion_of(joint, len(classes), classes.ignore, "background")), joint.sum(0)
        present = np.flatnonzero(counts[1 : len(classes)]) + 1
        found[name] = iou, float(counts[classes.ignore] / mask.size), present.astype(np.uint8).tobytes()
    return found


def _packed(loaded: _Loaded, facts: Facts, sources: Sources, side: int) -> _Look:
    """Facts and, where the picture was loaded, pictures with their longer side at most ``side``."""
    bins = None if loaded.scores is None else _confidence(loaded.scores)
    if loaded.picture is None:
        return _Look(facts, bins)
    picture = shrink(loaded.picture, side)
    size = picture.shape[1], picture.shape[0]
    layers = [_small_mask(mask, sources.classes.ignore, size) for mask in loaded.masks.values()]
    if loaded.scores is not None:
        layers.append(_small_heat(loaded.scores, (-(-size[0] // 2), -(-size[1] // 2))))
    # What a lower quality loses is lost in a small picture anyway.
    encoded = webp(picture, 70 if side >= 160 else 55)
    return _Look(facts, bins, encoded, b"".join(layers), size, loaded.scores is not None)


def _small_mask(mask: Mask, ignore: int, size: tuple[int, int]) -> bytes:
    visible = grow(mask, ignore) if is_sparse(mask, ignore) else mask
    return np.asarray(cv2.resize(visible, size, interpolation=cv2.INTER_NEAREST), np.uint8).tobytes()


def _small_heat(scores: Scores, size: tuple[int, int]) -> bytes:
    """The strongest foreground score of each pixel in few levels."""
    values = _probability(scores)[scores.classes > 0]
    if not values.size:
        return bytes(size[0] * size[1])
    small = cv2.resize(values.max(0), size, interpolation=cv2.INTER_AREA)
    return np.asarray(small * _HEAT_LEVELS + 0.5, np.uint8).tobytes()


def _confidence(scores: Scores) -> NDArray[np.float64] | None:
    """Pixels by their strongest score, as shares of the image."""
    if not scores.values.size:
        return None
    strongest = _probability(scores).max(0)
    counts, _ = np.histogram(strongest, BINS, (0, 1))
    return np.asarray(counts / strongest.size, np.float64)


def _probability(scores: Scores) -> NDArray[np.float32]:
    """Scores as values in 0..1, (K, h, w)."""
    if scores.kind != "logit" or not scores.values.size:
        return scores.values.clip(0, 1)
    powers = np.exp(scores.values - scores.values.max(0))
    return np.asarray(powers / powers.sum(0), np.float32)


def _fit(sources: Sources, side: int, budget: float) -> tuple[int, int]:
    """Longest side of the pictures, and how many images have room.

    A sample spread over all images is packed at falling sizes until the whole should fit.
    """
    count = len(sources.records)
    sample = [sources.records[place] for place in sorted({n * count // _SAMPLE for n in range(_SAMPLE)})]
    loaded = [_load(record, sources, side) for record in sample]
    facts = [_facts(each, sources.classes) for each in loaded]
    while True:
        album = _Album(sources)
        for record, each, known in zip(sample, loaded, facts, strict=True):
            album.add(record, _packed(each, known, sources, side))
        room = int(budget / (len(json.dumps(album.document())) / len(sample)))
        if room >= count or side == _SMALLEST:
            return side, room
        # Bytes grow less than the area, so this comes near from above.
        side = max(_SMALLEST, min(side - 1, round(side * math.sqrt(room / count))))


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
