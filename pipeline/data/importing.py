"""From a data set on disk to a manifest and true masks, whatever its layout."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.boxes import Box
from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.config.classes import ClassTable
from pipeline.config.data import DataSettings
from pipeline.data.coco import CocoSplit
from pipeline.data.images import image_size
from pipeline.data.tags import Tags, from_mask, read_table
from pipeline.data.voc import image_path, inside, read_boxes, read_ids, read_mask
from pipeline.errors import PseudomaskError

What = Literal["images", "masks", "boxes"]


@dataclass(frozen=True)
class Problem:
    """An item that was set aside, and why."""

    image_id: str
    reason: str


def split_ids(data: DataSettings, folder: Path) -> dict[str, tuple[str, ...]]:
    """Splits of each image id, in the order ids are first listed."""
    found: dict[str, list[str]] = {}
    for split, name in data.splits.items():
        for image_id in read_ids(folder / name, data.limit):
            found.setdefault(image_id, []).append(split)
    return {image_id: tuple(splits) for image_id, splits in found.items()}


def image_ids(data: DataSettings, root: Path) -> list[str]:
    """Ids of all images, from the lists alone.

    Raises:
        PseudomaskError: a list is missing.
    """
    folder = root / data.root
    if data.source == "coco":
        return list(dict.fromkeys(Path(image["file_name"]).stem for _, image in _coco_images(data, folder)))
    return list(split_ids(data, folder))


def count_images(data: DataSettings, root: Path) -> dict[str, int]:
    """Images of each split, from the lists alone.

    Raises:
        PseudomaskError: a list is missing.
    """
    if data.scenes is not None:
        return dict(data.scenes.counts)
    folder = root / data.root
    if data.source == "coco":
        return {name: len(_coco_split(data, folder / file).images[: data.limit]) for name, file in data.splits.items()}
    return {name: len(read_ids(folder / file, data.limit)) for name, file in data.splits.items()}


def source_files(data: DataSettings, root: Path, what: What) -> list[Path]:
    """The user's files that importing images (with tags), true masks or boxes reads; opens id lists alone.

    Images without a true mask are allowed, and with ``bad_items: set_aside`` so are files that do not exist.

    Args:
        data: the data set; not for generated scenes, whose content follows from their settings.
        root: data root.
        what: ``images`` with everything tags come from, ``masks`` or ``boxes``.
    """
    folder = root / data.root
    lists = [folder / name for name in data.splits.values()]
    if data.source == "coco":
        if what != "images":
            return lists
        images = {folder / data.images / image["file_name"] for _, image in _coco_images(data, folder)}
        return lists + _of_items(data, sorted(images))
    ids = list(split_ids(data, folder))
    masks = [folder / f"{data.masks}/{image_id}.png" for image_id in ids] if data.masks else []
    boxes = [folder / f"{data.boxes}/{image_id}.xml" for image_id in ids]
    if what == "masks":
        return lists + [path for path in masks if path.exists()]
    if what == "boxes":
        return lists + _of_items(data, boxes)
    table = [folder / str(data.table)] if data.tags == "table" else []
    labels = {"boxes": boxes, "masks": masks}.get(data.tags, [])
    return lists + table + _of_items(data, [folder / image_path(data, image_id) for image_id in ids] + labels)


def _of_items(data: DataSettings, paths: list[Path]) -> list[Path]:
    """Those that must exist: a missing one stops the import, or its item is set aside."""
    return paths if data.bad_items == "stop" else [path for path in paths if path.exists()]


def import_manifest(
    data: DataSettings, root: Path, classes: ClassTable | None = None
) -> tuple[Manifest, list[Problem]]:
    """Read images, splits and tags.

    Args:
        data: layout and places.
        root: data root; paths of the manifest start there.
        classes: overrides ``data.classes``, for generated scenes.

    Returns:
        The manifest and what was set aside (empty when ``bad_items`` is ``stop``).

    Raises:
        PseudomaskError: names the first bad item, unless those are set aside.
    """
    folder = root / data.root
    if not folder.is_dir():
        raise PseudomaskError(
            f"data folder {folder} does not exist; set data.root, and $PSEUDOMASK_DATA or runtime.data_root"
        )
    problems: list[Problem] = []
    if data.source == "coco":
        return _import_coco(data, folder, problems)
    table = classes or data.classes
    assert table is not None
    tags_of = _tag_reader(data, folder, table)
    records = []
    for image_id, splits in split_ids(data, folder).items():
        read = partial(_voc_record, data, folder, image_id, splits, tags_of)
        record = _guarded(read, data, problems, image_id)
        if record is not None:
            records.append(record)
    return Manifest(table, tuple(records)), problems


def import_masks(data: DataSettings, root: Path, manifest: Manifest) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """True masks of the manifest's images by id, for images that have one.

    Raises:
        PseudomaskError: a mask is damaged, has another size than its image, or a colour of no class.
    """
    folder = root / data.root
    if data.source == "coco":
        for image_id, (split, image) in _coco_by_id(data, folder, manifest).items():
            yield image_id, split.mask(image)
        return
    for record in manifest:
        path = folder / f"{data.masks}/{record.id}.png"
        if data.masks and path.exists():
            yield record.id, read_mask(path, record.id, (record.height, record.width), manifest.classes)


def import_boxes(data: DataSettings, root: Path, manifest: Manifest) -> dict[str, list[Box]]:
    """Boxes of the manifest's images by id.

    Raises:
        PseudomaskError: a box file is missing or damaged, or a box is inverted or outside its image.
    """
    folder = root / data.root
    if data.source == "coco":
        found = _coco_by_id(data, folder, manifest)
        return {image_id: split.boxes(image) for image_id, (split, image) in found.items()}
    return {
        record.id: read_boxes(
            folder / f"{data.boxes}/{record.id}.xml", record.id, (record.height, record.width), manifest.classes
        )
        for record in manifest
    }


def _guarded(
    read: Callable[[], ImageRecord], data: DataSettings, problems: list[Problem], image_id: str
) -> ImageRecord | None:
    """What ``read`` returns; its error ends the import or is noted, as the settings say."""
    try:
        return read()
    except PseudomaskError as error:
        if data.bad_items == "stop":
            raise
        problems.append(Problem(image_id, str(error)))
        return None


def _voc_record(
    data: DataSettings,
    folder: Path,
    image_id: str,
    splits: tuple[str, ...],
    tags_of: Callable[..., tuple[int, ...] | None],
) -> ImageRecord:
    path = inside(folder, image_path(data, image_id), image_id)
    height, width = image_size(path, image_id)
    relative = f"{data.root}/{image_path(data, image_id)}"
    return ImageRecord(image_id, relative, splits, height, width, tags_of(image_id, (height, width)))


def _tag_reader(
    data: DataSettings, folder: Path, classes: ClassTable
) -> Callable[[str, tuple[int, int]], tuple[int, ...] | None]:
    table: Tags = read_table(folder / str(data.table), classes) if data.tags == "table" else {}

    def from_table(image_id: str, _: tuple[int, int]) -> tuple[int, ...]:
        if image_id not in table:
            raise PseudomaskError(f"image '{image_id}' is not in the tag table {data.table}; add a row for it")
        return table[image_id]

    def from_boxes(image_id: str, size: tuple[int, int]) -> tuple[int, ...]:
        boxes = read_boxes(folder / f"{data.boxes}/{image_id}.xml", image_id, size, classes)
        return tuple(sorted({box.class_index for box in boxes}))

    def from_masks(image_id: str, size: tuple[int, int]) -> tuple[int, ...]:
        return from_mask(read_mask(folder / f"{data.masks}/{image_id}.png", image_id, size, classes), classes)

    readers = {"table": from_table, "boxes": from_boxes, "masks": from_masks, "none": lambda *_: None}
    return readers[data.tags]  # type: ignore[return-value]


def _coco_split(data: DataSettings, path: Path) -> CocoSplit:
    return CocoSplit(path, data.classes, data.aliases, data.only_with_objects)


def _coco_images(data: DataSettings, folder: Path) -> Iterator[tuple[CocoSplit, dict[str, Any]]]:
    for name in data.splits.values():
        split = _coco_split(data, folder / name)
        for image in split.images[: data.limit]:
            yield split, image


def _coco_by_id(data: DataSettings, folder: Path, manifest: Manifest) -> dict[str, tuple[CocoSplit, dict[str, Any]]]:
    """The manifest's images in their files; one of several splits is in several."""
    found = ((Path(image["file_name"]).stem, (split, image)) for split, image in _coco_images(data, folder))
    return {image_id: entry for image_id, entry in found if image_id in manifest.by_id}


def _import_coco(data: DataSettings, folder: Path, problems: list[Problem]) -> tuple[Manifest, list[Problem]]:
    records: dict[str, ImageRecord] = {}
    classes = data.classes
    for split, name in data.splits.items():
        file = _coco_split(data, folder / name)
        classes = classes or file.classes
        for image in file.images[: data.limit]:
            image_id = Path(image["file_name"]).stem
            record = _guarded(partial(_coco_record, data, folder, file, image, split), data, problems, image_id)
            if record is not None:
                old = records.get(image_id)
                records[image_id] = replace(record, splits=(*old.splits, split)) if old else record
    assert classes is not None
    return Manifest(classes, tuple(records.values())), problems


def _coco_record(data: DataSettings, folder: Path, file: CocoSplit, image: dict[str, Any], split: str) -> ImageRecord:
    image_id = Path(image["file_name"]).stem
    relative = f"{data.images}/{image['file_name']}"
    height, width = image_size(inside(folder, relative, image_id), image_id)
    if (height, width) != (image["height"], image["width"]):
        raise PseudomaskError(
            f"image '{image_id}' is {width}x{height}, {file.path} says {image['width']}x{image['height']}"
        )
    return ImageRecord(image_id, f"{data.root}/{relative}", (split,), height, width, file.tags(image))
