"""The report page of many real images: size, time and memory to make it, and the time of each action in Chromium.

    PSEUDOMASK_DATA=data python tests/benchmarks/bench_page.py [--images 10000] [--keep FOLDER]

The photographs and true masks of voc-mini, repeated under new ids, with activation maps (blurred truth and noise),
their masks and a finer mask. Times of actions are by the clock, until all 48 pictures of a page are drawn.

Next bottleneck: WebP of the photographs, a quarter of the time; then reading masks and activation out of their
stores, a sixth.
"""

import argparse
import csv
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser import Browser

from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.artifacts.masks import MaskWriter
from pipeline.artifacts.scores import ScoreWriter
from pipeline.config.classes import ClassTable
from pipeline.config.report import ReportStage
from pipeline.config.runtime import RuntimeSettings
from pipeline.data.set_up import VOC_CLASSES
from pipeline.stages import report

CLASSES = ClassTable(names=("background", *VOC_CLASSES))
DRAWN = "return document.getElementById('place').textContent !== ''"
FORGET = "document.getElementById('place').textContent = ''"
SET = """const e = document.getElementById(arguments[0]); e.value = arguments[1];
e.dispatchEvent(new Event(e.tagName === 'SELECT' ? 'change' : 'input'))"""
CHOICES = [
    *(("sort", kind) for kind in ("id", "random", "median", "better", "poorer", "changed", "ignored", "best", "worst")),
    *(("class", number) for number in ("8", "15", "0")),
    *(("split", split) for split in ("1", "0", "*")),
    *(("warning", kind) for kind in ("pixels", "tags", "empty", "")),
    *(("stage", name) for name in ("CAM", "pseudo-mask", "*")),
    *(("show", layer) for layer in ("difference", "activation", "truth", "image", "mask")),
    *(("search", text) for text in ("2008", "2008_0", "000032-5", "")),
    *(("opacity", share) for share in ("10", "65")),
    *(("palette", name) for name in ("colour-blind safe", "data set")),
]

Mask = NDArray[np.uint8]


def rows(data: Path, count: int) -> Iterator[ImageRecord]:
    """Images of voc-mini, again and again under new ids."""
    with (data / "voc-mini/image_labels.csv").open(newline="") as stream:
        tags = {
            row.pop("id"): [CLASSES.names.index(name) for name in row if row[name] == "1"]
            for row in csv.DictReader(stream)
        }
    val = set((data / "voc-mini/ImageSets/val.txt").read_text().split())
    names = sorted(tags)
    for number in range(count):
        name = names[number % len(names)]
        with Image.open(data / f"voc-mini/JPEGImages/{name}.jpg") as image:
            width, height = image.size
        split = "val" if name in val else "train"
        path = f"voc-mini/JPEGImages/{name}.jpg"
        yield ImageRecord(f"{name}-{number // len(names)}", path, (split,), height, width, tuple(tags[name]))


def blurred(truth: Mask, tags: tuple[int, ...], sigma: float, draw: np.random.Generator) -> NDArray[np.float32]:
    """Maps of the tags, (K, H, W) in 0..1: the truth out of focus, with coarse noise."""
    maps = np.zeros((len(tags), *truth.shape), np.float32)
    for index, tag in enumerate(tags):
        noise = cv2.resize(draw.random((12, 16), np.float32), truth.shape[::-1], interpolation=cv2.INTER_CUBIC)
        maps[index] = (cv2.GaussianBlur((truth == tag).astype(np.float32), (0, 0), sigma) + 0.4 * noise - 0.2).clip(
            0, 1
        )
    return maps


def labelled(maps: NDArray[np.float32], tags: tuple[int, ...]) -> Mask:
    """The strongest class of each pixel, background where none is above 0.4."""
    found = np.asarray(tags, np.uint8)[maps.argmax(0)]
    return np.where(maps.max(0) > 0.4, found, 0).astype(np.uint8)


def make_run(data: Path, folder: Path, count: int) -> report.Inputs:
    """Manifest, masks and scores as a run would leave them."""
    masks = {name: folder / f"{name}.h5" for name in ("CAM", "pseudo-mask")}
    inputs = report.Inputs(folder / "manifest.parquet", masks, {}, folder / "scores.h5", None, folder / "truth.h5")
    if all(path.exists() for path in inputs.files):
        return inputs
    records = tuple(rows(data, count))
    Manifest(CLASSES, records).write(inputs.manifest)
    draw = np.random.default_rng(0)
    with (
        MaskWriter(folder / "truth.h5", CLASSES) as truths,
        MaskWriter(masks["CAM"], CLASSES) as coarse,
        MaskWriter(masks["pseudo-mask"], CLASSES) as fine,
        ScoreWriter(folder / "scores.h5", CLASSES, "cam") as scores,
    ):
        for record in records:
            name = record.id.partition("-")[0]
            truth = np.asarray(Image.open(data / f"voc-mini/SegmentationClass/{name}.png"), np.uint8)
            maps = blurred(truth, record.tags or (), 24, draw)
            truths.add(record.id, truth)
            coarse.add(record.id, labelled(maps, record.tags or ()))
            fine.add(record.id, labelled(blurred(truth, record.tags or (), 6, draw), record.tags or ()))
            small = np.stack([cv2.resize(each, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA) for each in maps])
            scores.add(record.id, small, np.asarray(record.tags), truth.shape)
    return inputs


def build(inputs: report.Inputs, page: Path, data: Path) -> tuple[float, float, float]:
    """Make the page; seconds by the clock and of CPU, and the peak memory of this process in MiB."""
    start = time.perf_counter()
    job = Job("report", "0" * 16, RuntimeSettings(data_root=data, threads=1), page.parent)
    report.run(ReportStage(title="many", run="many"), inputs, report.Outputs(page, page.with_name("sheet.jpg")), job)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def seconds(browser: Browser, act: Callable[[], object]) -> float:
    """By the clock, until all pictures are drawn."""
    browser.run(FORGET)
    start = time.perf_counter()
    act()
    browser.until(DRAWN)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="a page of many real images")
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("--keep", type=Path, help="folder for the page and what it is made from, which is taken again")
    options = parser.parse_args()
    data = Path(os.environ["PSEUDOMASK_DATA"]).resolve()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        page = folder / "index.html"
        inputs = make_run(data, folder, options.images)
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            clock, cpu, memory = pool.submit(build, inputs, page, data).result()
        print(f"{options.images} images: {page.stat().st_size / 1e6:.1f} MB")
        print(f"  made in {clock:.0f} s, {cpu:.0f} s of CPU, one thread; peak memory {memory:.0f} MiB")
        with closing(Browser()) as browser:
            start = time.perf_counter()
            browser.open(page)
            browser.until(DRAWN)
            print(f"  opened in {time.perf_counter() - start:.2f} s")
            actions = {
                f"{control} {value}": lambda c=control, v=value: browser.run(SET, c, v) for control, value in CHOICES
            }
            actions |= {"next page": lambda: browser.click("#next"), "previous page": lambda: browser.press("left")}
            times = {name: seconds(browser, act) for name, act in actions.items()}
            for name, value in sorted(times.items(), key=lambda item: -item[1]):
                print(f"  {value:6.2f} s  {name}")
            print(f"  console: {browser.errors() or 'nothing'}; requests: {len(browser.requests())}, the page itself")


if __name__ == "__main__":
    main()
