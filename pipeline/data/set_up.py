"""Setting up a data set: what lies in a folder becomes ``configs/datasets/<name>.yaml`` and a run to start."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from pipeline.config.runtime import RuntimeSettings
from pipeline.data.images import data_root
from pipeline.data.tags import names_of, read_rows
from pipeline.errors import PseudomaskError

CONFIGS = Path("configs")
VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


def set_up_csv(images: Path, table: Path, name: str, val: float, configs: Path = CONFIGS) -> str:
    """Images with a table of tags; writes id lists beside the table.

    An image falls into ``val`` by the hash of its id, so that more images later move none.

    Returns:
        What was found and what to do next.

    Raises:
        PseudomaskError: the table has no rows or no tags, or a listed image does not exist.
    """
    ids, tags = _read(table)
    extension = _extension(ids, table, images)
    folder = table.resolve().parent
    held = {image_id for image_id in ids if int(hashlib.sha256(image_id.encode()).hexdigest()[:8], 16) < val * 2**32}
    splits = {"train": [i for i in ids if i not in held], "val": [i for i in ids if i in held]}
    splits = {split: members for split, members in splits.items() if members}
    for split, members in splits.items():
        (folder / f"{name}-{split}.txt").write_text("".join(f"{image_id}\n" for image_id in members))
    data = {
        "source": "csv",
        "root": _relative(folder),
        "images": os.path.relpath(images.resolve(), folder),
        "extension": extension,
        "classes": {"names": ["background", *tags]},
        "splits": {split: f"{name}-{split}.txt" for split in splits},
        "tags": "table",
        "table": table.name,
        "masks": None,
    }
    counts = ", ".join(f"{split} {len(members)}" for split, members in splits.items())
    return f"{len(ids)} images ({counts}), classes {', '.join(tags)}\n{_write(data, name, configs)}"


def set_up_voc(folder: Path, name: str, classes: Sequence[str], configs: Path = CONFIGS) -> str:
    """A folder in VOC's layout; splits are the lists ``train*.txt`` and ``val.txt``, those of SBD where they exist.

    Raises:
        PseudomaskError: images, lists or tags are missing.
    """
    lists = _first(folder, ("ImageSets/Segmentation", "ImageSets"), "val.txt")
    train = lists and _first(folder / lists, ("train_aug.txt", "train.txt"))
    if not (folder / "JPEGImages").is_dir() or not lists or not train:
        raise PseudomaskError(
            f"{folder} has not VOC's layout: it needs JPEGImages/ and train.txt and val.txt in ImageSets/Segmentation/"
        )
    masks = _first(folder, ("SegmentationClassAug", "SegmentationClass"))
    boxes = (folder / "Annotations").is_dir()
    if not boxes and masks is None:
        raise PseudomaskError(
            f"{folder} has neither Annotations/ (boxes) nor SegmentationClass/: no tags are to be had"
        )
    data = {
        "source": "voc",
        "root": _relative(folder),
        "classes": {"names": ["background", *classes]},
        "splits": {"train": f"{lists}/{train}", "val": f"{lists}/val.txt"},
        "tags": "boxes" if boxes else "masks",
        "masks": masks,
    }
    return _write(data, name, configs)


def set_up_coco(images: Path, train: Path, val: Path, name: str, configs: Path = CONFIGS) -> str:
    """Images with COCO's instances files; classes, tags and masks come from these.

    Raises:
        PseudomaskError: a path does not exist.
    """
    for path in (images, train, val):
        if not path.exists():
            raise PseudomaskError(f"{path} does not exist; name the images and both instances files")
    folder = Path(os.path.commonpath([path.resolve() for path in (images, train.parent, val.parent)]))
    relative = {key: os.path.relpath(path.resolve(), folder) for key, path in (("train", train), ("val", val))}
    data = {
        "source": "coco",
        "root": _relative(folder),
        "images": os.path.relpath(images.resolve(), folder),
        "splits": relative,
    }
    return _write(data, name, configs)


def _first(folder: Path, names: Sequence[str], file: str = "") -> str | None:
    """The first of ``names`` that is in ``folder``, with ``file`` in it if given."""
    return next((name for name in names if (folder / name / file).exists()), None)


def _relative(folder: Path) -> str:
    return os.path.relpath(folder.resolve(), data_root(RuntimeSettings()).resolve())


def _write(data: dict[str, Any], name: str, configs: Path) -> str:
    """Write the data set, and the run if there is none; returns what to do next."""
    target = configs / "datasets" / f"{name}.yaml"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(yaml.safe_dump({"data": data}, sort_keys=False, allow_unicode=True))
    run = configs / f"{name}.yaml"
    if not run.exists():
        measured = "" if data.get("masks", "") is None else "threshold: {split: train}\nevaluation: {}\n"
        predicted = "" if "val" in data["splits"] else "predict: {split: train}\n"
        # The preset is for some dozen photographs; sets in these layouts have thousands.
        parts = () if data["source"] == "csv" else ("classifier", "segmenter")
        longer = "".join(f"{part}: {{training: {{steps: 1000}}}}\n" for part in parts)
        run.write_text(f"extends: [own/cam.yaml, datasets/{name}.yaml]\nrun: {name}\n{longer}{measured}{predicted}")
    return (
        f"wrote {target} and {run}; look: pseudomask import check {target}; "
        f"start: snakemake --cores all --configfile {run} (from ImageNet weights: pseudomask weights list)"
    )


def _extension(ids: Sequence[str], table: Path, images: Path) -> str:
    """What has to be added to an id for the name of its file: nothing where ids are whole names."""
    if not images.is_dir():
        raise PseudomaskError(f"{images} is no folder; name the folder of the photographs")
    known = Image.registered_extensions()
    files = [path for path in images.iterdir() if path.suffix.lower() in known and path.is_file()]
    if {path.name for path in files} >= set(ids):
        return ""
    extensions = {path.stem: path.suffix for path in files}
    missing = [image_id for image_id in ids if image_id not in extensions]
    if missing:
        raise PseudomaskError(f"{len(missing)} ids of {table} have no image in {images}, such as '{missing[0]}'")
    kinds = {extensions[image_id] for image_id in ids}
    if len(kinds) > 1:
        raise PseudomaskError(
            f"images have several extensions: {', '.join(sorted(kinds))}; write whole file names into the column id of "
            f"{table}, such as {ids[0]}{extensions[ids[0]]}"
        )
    return kinds.pop()


def _read(table: Path) -> tuple[list[str], list[str]]:
    """Ids and class names of a tag table."""
    columns, rows = read_rows(table)
    if not rows:
        raise PseudomaskError(f"{table} has no row; write one for every image")
    if "tags" in columns:
        names = sorted({name for row in rows for name in names_of(row)})
    else:
        names = [column for column in columns if column != "id"]
    if not names:
        raise PseudomaskError(f"{table} names no class: it needs a column 'tags' or one 0/1 column per class")
    return [row["id"] for row in rows], names
