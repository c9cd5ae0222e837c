"""Several runs as one page: table, differences, and the images on which they disagree most."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.artifacts.layout import SPEC
from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.masks import MaskStore
from pipeline.config.runtime import RuntimeSettings
from pipeline.data.images import data_root
from pipeline.errors import PseudomaskError
from pipeline.evaluation.compare import Difference, FinishedRun, joined_rows
from pipeline.report.gallery import Sources, make_gallery
from pipeline.report.page import Page, Part, gallery_part, overview, table
from pipeline.report.stages import duration

_SIDE, _MEGABYTES = 320, 16.0


def comparison_page(
    groups: Sequence[list[FinishedRun]], found: Mapping[str, Sequence[Difference]], folder: Path
) -> Page:
    """The page of runs joined by seed.

    Args:
        groups: runs that differ by seed alone, together; pictures are of the first of each group.
        found: differences to the first group, by the name of the first run of the other.
        folder: where the page will lie; links to image files start there.

    Raises:
        PseudomaskError: runs do not have the same classes, or masks of a run are gone.
    """
    runs = [group[0] for group in groups]
    costs = [[group[0].folder.name, cost_words(group)] for group in groups]
    parts = [
        Part("Runs", overview([row for group in groups for row in joined_rows(group)])),
        Part("Time", table(["run", "all stages one after the other, mean of the seeds; the longest"], costs)),
    ]
    note = f"{sum(map(len, groups))} runs, {len(groups)} of them differ by more than the seed"
    title = " / ".join(run.folder.name for run in runs)
    rows = [[name, *each.row, each.interval, str(each.images)] for name, all_of in found.items() for each in all_of]
    if not rows:
        return Page(title, note, [*parts, Part("Differences", "<p>No row is measured on the same images.</p>")])
    header = ["run", "masks", "split", "protocol", f"minus {runs[0].folder.name}, mIoU % [95 %]", "images"]
    parts.append(Part("Differences", table(header, rows)))
    sources = _sources(runs, found)
    gallery = make_gallery(sources, _SIDE, _MEGABYTES, 1, lambda items, _: items)
    parts.append(
        gallery_part(
            f"{gallery.shown} images on which a run is furthest from {runs[0].folder.name}; IoU of an image is the "
            "mean over the classes in its truth or mask. Masks of the runs stand side by side: choose an image, then "
            "move the border between two of them; ? lists the keys."
        )
    )
    data = {
        "gallery": gallery.document,
        "entries": None,
        "commands": {name: os.path.relpath(store.path) for name, store in sources.masks.items()},
        "base": f"{os.path.relpath(sources.root, folder)}/",
        "start": {"stage": list(sources.masks)[-1], "sort": "changed"},
    }
    return Page(title, note, parts, data)


def cost_words(runs: Sequence[FinishedRun]) -> str:
    """What runs took in words, mean over those whose stages are known, where, and their three longest stages."""
    known = [{stage.name: stage.seconds or 0.0 for stage in run.stages} for run in runs if run.stages]
    if not known:
        return "not known"
    devices = dict.fromkeys(device for run in runs for stage in run.stages for device in stage.devices)
    if len(devices) > 1:
        devices.pop("cpu", None)  # where stages without networks ran
    mean = {name: sum(run.get(name, 0.0) for run in known) / len(known) for name in known[0]}
    longest = sorted(mean, key=mean.__getitem__, reverse=True)[:3]
    return f"{duration(sum(mean.values()))} on {', '.join(devices)}; " + ", ".join(
        f"{name} {duration(mean[name])}" for name in longest
    )


def _sources(runs: Sequence[FinishedRun], found: Mapping[str, Sequence[Difference]]) -> Sources:
    """Images and masks: for each row measured, the masks of all runs one after the other."""
    specs = {run.folder.name: _evaluation(run) for run in runs}
    rows = list(dict.fromkeys(each.row[0] for all_of in found.values() for each in all_of))
    masks = {}
    for row in rows:
        for name, inputs in specs.items():
            if row in inputs["masks"]:
                masks[f"{row}: {name}"] = MaskStore(inputs["masks"][row])
    first = specs[runs[0].folder.name]
    manifest = Manifest.read(first["manifest"])
    for name, store in masks.items():
        if store.classes.names != manifest.classes.names:
            raise PseudomaskError(
                f"'{name}' has other classes than {runs[0].folder.name}; compare runs on the same data"
            )
    ids = dict.fromkeys(image_id for all_of in found.values() for each in all_of for image_id, _ in each.disagree)
    records = [manifest.by_id[image_id] for image_id in ids]
    return Sources(records, manifest.classes, first["root"], masks, MaskStore(first["truth"]))


def _evaluation(run: FinishedRun) -> dict[str, Any]:
    """Files behind the numbers of a run: ``manifest``, ``truth``, ``masks`` by row, and ``root`` of the images."""
    base = run.folder.absolute().parents[1]
    spec = json.loads((run.folder / "evaluation" / SPEC).read_text())
    inputs = spec["inputs"]
    return {
        "manifest": base / inputs["manifest"],
        "truth": base / inputs["truth"],
        "masks": {name: base / path for name, path in inputs["masks"].items()},
        "root": base / data_root(RuntimeSettings.model_validate(spec["runtime"])),
    }
