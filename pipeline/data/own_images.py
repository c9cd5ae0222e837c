"""Setting up a user's own images: a folder and a table of tags become a data set configuration."""

import csv
import hashlib
import os
from pathlib import Path

import yaml

from pipeline.config.runtime import RuntimeSettings
from pipeline.data.images import data_root
from pipeline.errors import PseudomaskError


def set_up(images: Path, table: Path, name: str, val: float, configs: Path = Path("configs/datasets")) -> str:
    """Write id lists beside the table, ``configs/datasets/<name>.yaml`` and a run to start, ``configs/<name>.yaml``.

    An image falls into ``val`` by the hash of its id, so that more images later move none.

    Returns:
        What was found and what to do next.

    Raises:
        PseudomaskError: the table has no rows or no tags, or a listed image does not exist.
    """
    ids, tags = _read(table)
    extensions = {path.stem: path.suffix for path in images.iterdir() if path.is_file()}
    missing = [image_id for image_id in ids if image_id not in extensions]
    if missing:
        raise PseudomaskError(f"{len(missing)} ids of {table} have no image in {images}, such as '{missing[0]}'")
    kinds = {extensions[image_id] for image_id in ids}
    if len(kinds) > 1:
        raise PseudomaskError(f"images have several extensions: {', '.join(sorted(kinds))}; convert them to one")
    root = data_root(RuntimeSettings())
    folder = table.resolve().parent
    held = {image_id for image_id in ids if int(hashlib.sha256(image_id.encode()).hexdigest()[:8], 16) < val * 2**32}
    splits = {"train": [i for i in ids if i not in held], "val": [i for i in ids if i in held]}
    splits = {split: members for split, members in splits.items() if members}
    for split, members in splits.items():
        (folder / f"{name}-{split}.txt").write_text("".join(f"{image_id}\n" for image_id in members))
    data = {
        "source": "csv",
        "root": os.path.relpath(folder, root.resolve()),
        "images": os.path.relpath(images.resolve(), folder),
        "extension": kinds.pop(),
        "classes": {"names": ["background", *tags]},
        "splits": {split: f"{name}-{split}.txt" for split in splits},
        "tags": "table",
        "table": table.name,
        "masks": None,
    }
    target = configs / f"{name}.yaml"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(yaml.safe_dump({"data": data}, sort_keys=False, allow_unicode=True))
    run = configs.parent / f"{name}.yaml"
    if not run.exists():
        run.write_text(f"extends: [own/cam.yaml, datasets/{name}.yaml]\nrun: {name}\n")
    counts = ", ".join(f"{split} {len(members)}" for split, members in splits.items())
    found = f"{len(ids)} images ({counts}), classes {', '.join(tags)}"
    return f"{found}\nwrote {target} and {run}; start: snakemake --cores all --configfile {run}"


def _read(table: Path) -> tuple[list[str], list[str]]:
    """Ids and class names of a tag table."""
    with table.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        columns = reader.fieldnames or []
        rows = list(reader)
    if "id" not in columns or not rows:
        raise PseudomaskError(f"{table} needs a column 'id' and at least one row; it has: {', '.join(columns)}")
    if "tags" in columns:
        names = sorted({tag.strip() for row in rows for tag in row["tags"].split(";") if tag.strip()})
    else:
        names = [column for column in columns if column != "id"]
    if not names:
        raise PseudomaskError(f"{table} names no class: it needs a column 'tags' or one 0/1 column per class")
    return [row["id"] for row in rows], names
