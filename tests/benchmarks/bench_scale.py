"""A large data set through every stage: jobs, time, memory and disk of each, with networks too small to matter.

    python tests/benchmarks/bench_scale.py [--images 1000 10000] [--classes 81] [--shards 4]
    python tests/benchmarks/bench_scale.py --config tests/workflow/tiny_mdh.yaml --images 200 2000

By itself method `cam` with PAR and CRF on JPEGs, a hundred drawn ones under many names, with tags and masks; both
trainings take two steps. With ``--config`` another configuration, its generated scenes that many. A tenth of the images
is the validation split. Memory is flat if it is the same for all numbers of images. "store" is its file, and that over
the packed data in it; "merge" the time of joining its shards, beside that of copying the file.

Next bottleneck: of the stages that no shard divides, the report page and the evaluation, 5 and 2.5 ms per image of
96x72.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import h5py
import numpy as np
import yaml
from PIL import Image

ROOT = Path(__file__).parents[2]
DRAWN = 100


def draw(chance: np.random.Generator, size: tuple[int, int], tags: list[int], folder: Path, name: str) -> None:
    """An image of smooth regions in the colours of two classes and the background, and its mask."""
    fields = cv2.resize(chance.standard_normal((6, 8, 3)), size, interpolation=cv2.INTER_CUBIC)
    mask = np.array([0, *tags], np.uint8)[fields.argmax(2)]
    noise = chance.integers(0, 20, (*mask.shape, 3))
    colours = (mask[..., None] * np.array([37, 59, 83]) + noise) % 256
    Image.fromarray(colours.astype(np.uint8)).save(folder / f"images/{name}.jpg")
    Image.fromarray(mask).save(folder / f"masks/{name}.png")


def make_data(folder: Path, images: int, classes: int, size: tuple[int, int]) -> dict[str, object]:
    """A data set in ``folder/data``; returns the configuration of a run on it."""
    chance = np.random.default_rng(0)
    names = ["background", *(f"class{number:02d}" for number in range(1, classes))]
    data = folder / "data"
    for name in ("images", "masks"):
        (data / name).mkdir(parents=True)
    ids = [f"{number:07d}" for number in range(images)]
    tags = [sorted(chance.choice(np.arange(1, classes), size=2, replace=False)) for _ in range(min(images, DRAWN))]
    for number, name in enumerate(ids):
        if number < DRAWN:
            draw(chance, size, tags[number], data, name)
        else:
            for file in ("images/{}.jpg", "masks/{}.png"):
                shutil.copyfile(data / file.format(ids[number % DRAWN]), data / file.format(name))
    rows = (f"{name},{';'.join(names[tag] for tag in tags[number % DRAWN])}" for number, name in enumerate(ids))
    (data / "tags.csv").write_text("id,tags\n" + "\n".join(rows))
    (data / "train.txt").write_text("\n".join(ids[images // 10 :]))
    (data / "val.txt").write_text("\n".join(ids[: images // 10]))
    tiny = {"backbone": "resnet10t", "backbone_options": {"channels": [8, 8, 8, 8]}, "output_stride": 16}
    training = {"steps": 2, "batch_size": 8, "optimiser": {"kind": "sgd", "lr": 0.01}}
    training["augment"] = {"long_side": [64, 64], "crop": 64}
    once = {"scales": [1.0], "flip": False}
    return {
        "method": "cam",
        "data": {
            "source": "csv",
            "root": "data",
            "images": "images",
            "masks": "masks",
            "tags": "table",
            "table": "tags.csv",
            "splits": {"train": "train.txt", "val": "val.txt"},
            "classes": {"names": names},
        },
        "classifier": {"network": tiny, "training": training},
        "cams": {"split": "train", "multi_scale": once},
        "threshold": {"split": "train"},
        "refine": {"par": {"par": {"iterations": 1}}, "crf": {"crf": {"preset": "psa"}}},
        "segmenter": {"network": {**tiny, "decoder": "largefov", "decoder_channels": 8}, "training": training},
        # An untrained network finds all classes equally probable; a trained one keeps few.
        "predict": {"split": "val", "multi_scale": once, "min_probability": 0.05},
        "evaluation": {},
    }


def configure(folder: Path, config: dict[str, object], shards: int) -> None:
    """Write the configuration of a run with one thread per job."""
    runtime = {"device": "cpu", "workers": 0, "threads": 1, "shards": shards, "data_root": str(folder)}
    (folder / "config.yaml").write_text(yaml.safe_dump({**config, "run": "scale", "runtime": runtime}))


def snakemake(folder: Path, *arguments: str) -> tuple[float, str]:
    """Seconds of one call, and what it said.

    Raises:
        SystemExit: it failed; what it said is printed.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1"]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "--configfile", "config.yaml", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.perf_counter() - start, done.stdout + done.stderr


def show_stages(folder: Path) -> None:
    """A line for each finished stage."""
    for link in sorted(path for path in (folder / "results/scale").iterdir() if path.is_symlink()):
        facts = json.loads((link / "provenance.json").read_text())
        shards = facts.get("shards", [])
        parts = [facts, *shards]
        seconds, memory = sum(part["wall_seconds"] for part in parts), max(part["peak_memory_mib"] for part in parts)
        text = f"  {link.name:20} {len(parts):3} jobs {seconds:8.1f} s {memory:6} MiB"
        for store in (link / "masks.h5", link / "scores.h5"):
            if store.exists():
                text += "  store " + packed(store)
                if shards:
                    text += f"  merge {facts['wall_seconds']:.1f} s, copy {copied(store):.1f} s"
        print(text)


def packed(store: Path) -> str:
    """Size of a store, and over the packed data in it."""
    with h5py.File(store) as file:
        payload = sum(item.id.get_storage_size() for item in file[store.stem].values())
    return f"{store.stat().st_size / 2**20:.1f} MiB {store.stat().st_size / payload:.2f}x"


def copied(store: Path) -> float:
    """Seconds of copying a file to the same disk."""
    start = time.perf_counter()
    copy = shutil.copyfile(store, store.with_suffix(".copy"))
    with copy.open("rb") as stream:
        os.fsync(stream.fileno())
    seconds = time.perf_counter() - start
    copy.unlink()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="stages on a large data set")
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--classes", type=int, default=81)
    parser.add_argument("--size", type=int, nargs=2, default=(500, 375), help="width and height in pixels")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--config", type=Path, help="another configuration, on generated scenes")
    options = parser.parse_args()
    for images in options.images:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if options.config is None:
                config = make_data(folder, images, options.classes, tuple(options.size))
            else:
                config = yaml.safe_load(options.config.read_text())
                config["data"]["scenes"]["counts"] = {"train": images - images // 10, "val": images // 10}
            configure(folder, config, options.shards)
            first, _ = snakemake(folder, "-n")
            dry, _ = snakemake(folder, "-n")
            whole, _ = snakemake(folder)
            again, said = snakemake(folder)
            assert "Nothing to be done" in said
            print(f"{images} images, {options.shards} shards, {options.config or f'{options.classes} classes'}")
            print(f"  dry run {first:.1f} s, every file read once; then {dry:.1f} s; nothing to do {again:.1f} s")
            print(f"  whole run {whole:.0f} s", flush=True)
            show_stages(folder)


if __name__ == "__main__":
    main()
