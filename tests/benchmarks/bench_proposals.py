"""Proposals from boxes: how good on the objects of a VOC-like data set, and what they cost; the cost of priors.

    python tests/benchmarks/bench_proposals.py [--split S] [--images N] [--processes P]

The truth of an object is its class within its box. Where boxes overlap that is not what the object itself is, so
objects whose box meets none of their class ("lone") and none at all ("apart") are also counted by themselves. Last come
the masks of images made of all their objects, compared pixel by pixel. Ignored pixels of the truth are left out.

Next bottleneck: OpenCV's own grabCut, nearly all of GrabCut's time; of grouping the watershed and its graph, a
quarter, and the eigenvectors, a sixth.
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
from threadpoolctl import threadpool_limits

from pipeline.artifacts.boxes import Box, object_id
from pipeline.artifacts.manifest import ImageRecord
from pipeline.config.data import DataSettings
from pipeline.config.load import resolve
from pipeline.config.proposals import GrabCutSettings, GroupingSettings
from pipeline.data.images import load_record
from pipeline.data.importing import import_boxes, import_manifest
from pipeline.data.priors import class_prior, position_prior
from pipeline.data.voc import read_mask
from pipeline.proposals.fusion import assemble, fuse
from pipeline.proposals.grabcut import grabcut
from pipeline.proposals.grouping import Regions

CONFIGS = Path(__file__).parents[2] / "configs"
GROUPING, CUT, PLAIN_CUT = (
    GroupingSettings(),
    GrabCutSettings(),
    GrabCutSettings(samples=None, others=False, restart=False),
)


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
        others = [other.corners for other in (*boxes[:number], *boxes[number + 1 :])]
        cut = timed("GrabCut", grabcut, image, box.corners, CUT, object_id(name, number), others)
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


def overlap(first: Box, second: Box) -> bool:
    a, b = first.corners, second.corners
    return max(a[0], b[0]) < min(a[2], b[2]) and max(a[1], b[1]) < min(a[3], b[3])


def groups_of(boxes: list[Box]) -> list[set[str]]:
    """What each object counts as beside "all"."""
    found = [{"all", "lone", "apart"} for _ in boxes]
    for first, second in combinations(range(len(boxes)), 2):
        if overlap(boxes[first], boxes[second]):
            same = boxes[first].class_index == boxes[second].class_index
            for index in (first, second):
                found[index] -= {"lone", "apart"} if same else {"apart"}
    return found


def of_image(
    record: ImageRecord, boxes: list[Box], data: DataSettings, root: Path
) -> tuple[list, dict[str, tuple[float, ...]], dict[str, float]]:
    """Of every object its groups and, per source, IoU, kept-label accuracy, recall, ignored share; the same, recall
    aside, of the image's mask; costs.
    """
    cv2.setNumThreads(1)
    threadpool_limits(1, "blas")
    image = load_record(record, root)
    size = (record.height, record.width)
    mask = read_mask(root / data.root / f"{data.masks}/{record.id}.png", record.id, size, data.classes)
    proposals, cost = propose(image, boxes, record.id)
    rows = []
    for groups, box, masks in zip(groups_of(boxes), boxes, proposals, strict=True):
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
        rows.append((groups, row))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return rows, assembled(boxes, proposals, mask), {**cost, "peak": peak}


def assembled(boxes: list[Box], proposals: list[dict], truth: np.ndarray) -> dict[str, tuple[float, ...]]:
    """Of an image's masks per source: kept-label accuracy, the same within boxes, ignored share within boxes."""
    within = np.zeros(truth.shape, bool)
    for box in boxes:
        x0, y0, x1, y1 = box.corners
        within[y0:y1, x0:x1] = True
    known, result = truth != 255, {}
    for source in proposals[0] if proposals else ():
        objects = [
            np.where(masks[source] == 1, np.uint8(box.class_index), masks[source])
            for box, masks in zip(boxes, proposals, strict=True)
        ]
        found = assemble(objects, truth.shape, 255)
        right, kept = found == truth, (found != 255) & known
        inside = kept & within
        accuracy = right[inside].mean() if inside.any() else np.nan
        result[source] = (right[kept].mean(), accuracy, 1 - inside.sum() / (known & within).sum())
    return result


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
    found = [list(boxes.get(record.id, [])) for record in records]
    with ProcessPoolExecutor(options.processes) as pool:
        results = list(pool.map(work, records, found))
    wall = time.perf_counter() - start
    rows = [row for found, _, _ in results for row in found]
    images = [masks for _, masks, _ in results if masks]
    for group in ("all", "lone", "apart"):
        chosen = [row for groups, row in rows if group in groups]
        print(f"{len(chosen)} objects: {group}\n{'':14}{'IoU':>7}{'kept acc.':>11}{'recall':>8}{'ignored':>9}")
        for source in images[0]:
            values = np.nanmean([row[source] for row in chosen], 0)
            print(f"{source:14}{values[0]:7.3f}{values[1]:11.3f}{values[2]:8.3f}{values[3]:9.3f}")
    print(f"{len(images)} images of {options.split}\n{'':14}{'kept acc.':>11}{'in boxes':>10}{'ignored in boxes':>18}")
    for source in images[0]:
        values = np.nanmean([masks[source] for masks in images], 0)
        print(f"{source:14}{values[0]:11.3f}{values[1]:10.3f}{values[2]:18.3f}")
    costs = {
        name: np.mean([cost.get(name, 0) for *_, cost in results]) for name in ("grouping", "GrabCut", "plain GrabCut")
    }
    print(f"{sum(map(len, found)) / len(records):.2f} boxes per image, CPU seconds per image: ", end="")
    print(", ".join(f"{name} {value:.3f}" for name, value in costs.items()))
    peak = max(cost["peak"] for *_, cost in results)
    each = wall / len(records)
    print(f"{options.processes} processes: {wall:.0f} s wall, {each:.3f} s per image, peak {peak:.0f} MiB each")


if __name__ == "__main__":
    main()
