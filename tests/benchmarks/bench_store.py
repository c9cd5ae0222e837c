"""The mask store against a tree of palette PNGs: size on disk, writing, and random reads with one and two workers.

    PSEUDOMASK_DATA=... python tests/benchmarks/bench_store.py [--reads 2000]

Masks of voc-mini; without PSEUDOMASK_DATA blocks of classes. Workers are processes, as those of a data loader; each
reads the same masks in an order of its own. Wall time, files in the page cache.

Next bottleneck: the look-up of a name and h5py's objects around it, a third of a read; the rest is unpacking.
"""

import argparse
import os
import random
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.artifacts.export import to_png
from pipeline.artifacts.masks import MaskStore, MaskWriter
from pipeline.config.classes import ClassTable

CLASSES = ClassTable(names=("background", *(f"class{n}" for n in range(1, 21))))
Mask = NDArray[np.uint8]


def masks() -> dict[str, Mask]:
    """By image id."""
    folder = os.environ.get("PSEUDOMASK_DATA")
    if folder:
        files = sorted((Path(folder) / "voc-mini/SegmentationClass").glob("*.png"))
        return {file.stem: np.array(Image.open(file)) for file in files}
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 21, (800, 12, 16)).astype(np.uint8)
    return {str(n): np.kron(each, np.ones((32, 32), np.uint8))[:375, :500] for n, each in enumerate(coarse)}


def read_store(path: Path, ids: Iterable[str]) -> int:
    with MaskStore(path) as store:
        return sum(store[image_id].size for image_id in ids)


def read_pngs(path: Path, ids: Iterable[str]) -> int:
    return sum(np.array(Image.open(path / f"{image_id}.png")).size for image_id in ids)


def per_second(
    read: Callable[[Path, Iterable[str]], int], path: Path, ids: list[str], reads: int, workers: int
) -> float:
    """Random reads per second of all workers together."""
    orders = [random.Random(seed).choices(ids, k=reads) for seed in range(workers)]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        list(pool.map(read, [path] * workers, [ids[:1]] * workers))  # starts them
        start = perf_counter()
        list(pool.map(read, [path] * workers, orders))
        return workers * reads / (perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description="mask store against PNGs")
    parser.add_argument("--reads", type=int, default=2000)
    reads = parser.parse_args().reads
    found = masks()
    with TemporaryDirectory() as name:
        store, tree = Path(name) / "masks.h5", Path(name) / "png"
        start = perf_counter()
        with MaskWriter(store, CLASSES) as writer:
            for image_id, mask in found.items():
                writer.add(image_id, mask)
        written = len(found) / (perf_counter() - start)
        start = perf_counter()
        to_png(MaskStore(store), tree, MaskStore(store).ids)
        exported = len(found) / (perf_counter() - start)
        sizes = [[file.stat().st_size, file.stat().st_blocks * 512] for file in tree.iterdir()]
        apparent, blocks = (sum(column) / 2**20 for column in zip(*sizes, strict=True))
        print(f"{len(found)} masks, {sum(mask.size for mask in found.values()) / 1e6:.0f} Mpixel")
        print(f"  {'':22}{'store':>12}{'PNG tree':>12}{'ratio':>8}")
        show("size, MiB", store.stat().st_size / 2**20, apparent)
        show("on disk, MiB", store.stat().st_blocks * 512 / 2**20, blocks)
        show("written per s", written, exported)
        for workers in (1, 2):
            ours = per_second(read_store, store, list(found), reads, workers)
            show(f"reads per s, {workers} workers", ours, per_second(read_pngs, tree, list(found), reads, workers))


def show(name: str, ours: float, theirs: float) -> None:
    """A row of the table; the ratio is the store's over the tree's."""
    print(f"  {name:22}{ours:12.4g}{theirs:12.4g}{ours / theirs:8.2f}", flush=True)


if __name__ == "__main__":
    main()
