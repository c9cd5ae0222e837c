"""Proposals from boxes: how good on the objects of a VOC-like data set, and what they cost; the cost of priors.

    python tests/benchmarks/bench_proposals.py [--images N] [--processes P]

The truth of an object is its class within its box, so objects that overlap others of their class are also counted apart
from the lone ones. Ignored pixels of the truth are left out everywhere.
"""

import argparse
import os
import resource
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np

from pipeline.artifacts.boxes import Box, object_id
from pipeline.artifacts.manifest import ImageRecord
from pipeline.config.data import DataSettings
from pipeline.config.load import resolve
from pipeline.config.proposals import GrabCutSettings, GroupingSettings
from pipeline.data.images import load_record
from pipeline.data.importing import import_boxes, import_manifest
from pipeline.data.priors import class_prior, position_prior
from pipeline.data.voc import read_mask
from pipeline.proposals.fusion import fuse
from pipeline.proposals.grabcut import grabcut
from pipeline.proposals.grouping import Regions

CONFIGS = Path(__file__).parents[2] / "configs"
GROUPING, CUT, PLAIN_CUT = GroupingSettings(), GrabCutSettings(), GrabCutSettings(restart=False, fallback="keep")


def propose(image: np.ndarray, boxes: list[Box], name: str) -> tuple[list[dict[str, np.ndarray]], dict[str, float]]:
    """Masks of all boxes by source, uint8 of 0, 1 and 255, and CPU seconds by source."""
    cost = defaultdict(float)

    def timed(source: str, function, *arguments):
        start = time.process_time()
        result = function(*arguments)
        cost[source] += time.process_time() - start
        return result

    regions = timed("grouping", Regions, image, GROUPING)
    found = []
    for number, box in enumerate(boxes):
        x0, y0, x1, y1 = box.corners
        filled = np.zeros(image.shape[:2], np.uint8)
        filled[y0:y1, x0:x1] = 1
        grouped = timed("grouping", regions.choose, box.corners, GROUPING).astype(np.uint8)
        cut = timed("GrabCut", grabcut, image, box.corners, CUT, object_id(name, number))
        robust = filled * np.uint8(255) if cut.collapsed else cut.foreground.astype(np.uint8)
        plain = timed("plain GrabCut", grabcut, image, box.corners, PLAIN_CUT, object_id(name, number))
        found.append(
            {
                "filled box": filled,
                "plain GrabCut": plain.foreground.astype(np.uint8),
                "GrabCut": robust,
                "grouping": grouped,
                "fused": fuse([robust, grouped], 255),
            }
        )
    return found, cost


def prior_cost(repeats: int = 50) -> None:
    """CPU milliseconds per box of 375 x 500 images: closed form against distance transforms."""
    random = np.random.default_rng(0)
    corners = [(x, y, x + 150, y + 120) for x, y in zip(*random.integers(0, (300, 200), (8, 2)).T, strict=True)]
    boxes = [Box(1, each) for each in corners]

    def transform() -> None:
        for x0, y0, x1, y1 in corners:
            edge = np.ones((375, 500), np.uint8)
            edge[y0:y1, x0:x1] = 0
            edge[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] = 1
            cv2.distanceTransform(edge, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)

    for name, function in (
        ("position and class prior", lambda: (position_prior(boxes, (375, 500)), class_prior(boxes, (375, 500)))),
        ("OpenCV's exact transform alone", transform),
    ):
        function()
        start = time.process_time()
        for _ in range(repeats):
            function()
        print(f"{name}: {(time.process_time() - start) / repeats / len(boxes) * 1000:.2f} ms per box")


def overlaps(first: Box, second: Box) -> bool:
    a, b = first.corners, second.corners
    touch = max(a[0], b[0]) < min(a[2], b[2]) and max(a[1], b[1]) < min(a[3], b[3])
    return touch and first.class_index == second.class_index


def of_image(record: ImageRecord, boxes: list[Box], data: DataSettings, root: Path) -> tuple[list, dict[str, float]]:
    """Of every object: whether it is alone, then per source IoU, kept-label accuracy, recall, ignored share."""
    cv2.setNumThreads(1)
    image = load_record(record, root)
    size = (record.height, record.width)
    mask = read_mask(root / data.root / f"{data.masks}/{record.id}.png", record.id, size, data.classes)
    crowded = {
        box for pair in combinations(range(len(boxes)), 2) if overlaps(*(boxes[i] for i in pair)) for box in pair
    }
    proposals, cost = propose(image, boxes, record.id)
    rows = []
    for number, (box, masks) in enumerate(zip(boxes, proposals, strict=True)):
        x0, y0, x1, y1 = box.corners
        part = mask[y0:y1, x0:x1]
        known, truth = part != 255, part == box.class_index
        if not truth.any():
            continue
        row = {}
        for source, proposed in masks.items():
            inside = proposed[y0:y1, x0:x1]
            foreground, kept = (inside == 1) & known, (inside != 255) & known
            iou = (foreground & truth).sum() / (foreground | truth).sum()
            accuracy = ((inside == 1) == truth)[kept].mean() if kept.any() else np.nan
            row[source] = (iou, accuracy, foreground[truth].mean(), 1 - kept.sum() / known.sum())
        rows.append((number not in crowded, row))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return rows, {**cost, "peak": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="datasets/voc-mini.yaml", help="file below configs/")
    parser.add_argument("--split", default="train")
    parser.add_argument("--images", type=int, help="every n-th image, so that about so many are used")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    prior_cost()
    root = Path(os.environ.get("PSEUDOMASK_DATA", "."))
    data = DataSettings.model_validate(resolve({"extends": [options.data]}, CONFIGS)["data"])
    if not (root / data.root).is_dir():
        print(f"{root / data.root} does not exist; set PSEUDOMASK_DATA")
        return
    manifest, _ = import_manifest(data, root)
    boxes = import_boxes(data, root, manifest)
    records = manifest.split(options.split).records
    records = records[:: max(1, len(records) // options.images) if options.images else 1]
    start = time.perf_counter()
    work = partial(of_image, data=data, root=root)
    with ProcessPoolExecutor(options.processes) as pool:
        results = list(pool.map(work, records, [list(boxes.get(record.id, [])) for record in records]))
    wall = time.perf_counter() - start
    rows = [row for found, _ in results for row in found]
    lone = [row for alone, row in rows if alone]
    print(f"{len(records)} images of {options.split}, {len(rows)} objects, {len(lone)} of them lone")
    print(f"{'':14}{'IoU':>7}{'lone':>7}{'kept acc.':>11}{'recall':>8}{'ignored':>9}")
    for source in rows[0][1]:
        values = np.nanmean([row[source] for _, row in rows], 0)
        alone = np.mean([row[source][0] for row in lone])
        print(f"{source:14}{values[0]:7.3f}{alone:7.3f}{values[1]:11.3f}{values[2]:8.3f}{values[3]:9.3f}")
    costs = {
        name: np.mean([cost.get(name, 0) for _, cost in results]) for name in ("grouping", "GrabCut", "plain GrabCut")
    }
    print("CPU seconds per image: " + ", ".join(f"{name} {value:.3f}" for name, value in costs.items()))
    peak = max(cost["peak"] for _, cost in results)
    each = wall / len(records)
    print(f"{options.processes} processes: {wall:.0f} s wall, {each:.3f} s per image, peak {peak:.0f} MiB each")


if __name__ == "__main__":
    main()
