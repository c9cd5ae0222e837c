"""A large data set through every stage: jobs, time, memory and disk of each, with networks too small to matter.

    python tests/benchmarks/bench_scale.py [--images 1000 10000] [--classes 81] [--shards 4]

Method `cam` with CRF on generated JPEGs of 64 pixels with random tags and masks; both trainings take two steps. Memory
is flat if it is the same for both numbers of images. "disk" is the store file and its size over the packed data in it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import yaml
from PIL import Image

ROOT = Path(__file__).parents[2]


def make_data(folder: Path, images: int, classes: int) -> None:
    """Images of four random patches; a tenth of them is the validation split."""
    chance = np.random.default_rng(0)
    names = ["background", *(f"class{number:02d}" for number in range(1, classes))]
    for name in ("images", "masks"):
        (folder / "data" / name).mkdir(parents=True)
    rows = []
    for number in range(images):
        tags = chance.choice(np.arange(1, classes), size=2, replace=False)
        coarse = chance.choice([0, *tags], size=(4, 4)).astype(np.uint8)
        mask = np.kron(coarse, np.ones((16, 16), np.uint8))
        colours = (mask[..., None] * np.array([3, 5, 7]) + chance.integers(0, 40, (64, 64, 3))) % 256
        Image.fromarray(colours.astype(np.uint8)).save(folder / f"data/images/{number:06d}.jpg")
        Image.fromarray(mask).save(folder / f"data/masks/{number:06d}.png")
        rows.append(f"{number:06d},{';'.join(names[tag] for tag in tags)}")
    (folder / "data/tags.csv").write_text("id,tags\n" + "\n".join(rows))
    ids = [row.partition(",")[0] for row in rows]
    (folder / "data/train.txt").write_text("\n".join(ids[images // 10 :]))
    (folder / "data/val.txt").write_text("\n".join(ids[: images // 10]))
    tiny = {"backbone": "resnet10t", "backbone_options": {"channels": [8, 8, 8, 8]}, "output_stride": 16}
    training = {"steps": 2, "batch_size": 8, "optimiser": {"kind": "sgd", "lr": 0.01}}
    training["augment"] = {"long_side": [64, 64], "crop": 64}
    config = {
        "run": "scale",
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
        "cams": {"split": "train", "multi_scale": {"scales": [1.0], "flip": False}},
        "threshold": {"split": "train"},
        "refine": {"crf": {"crf": {"preset": "psa"}}},
        "segmenter": {"network": {**tiny, "decoder": "largefov", "decoder_channels": 8}, "training": training},
        "predict": {"split": "val", "multi_scale": {"scales": [1.0], "flip": False}},
        "predict_crf": None,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def snakemake(folder: Path, shards: int, *arguments: str) -> float:
    """Seconds of one call.

    Raises:
        SystemExit: it failed; what it said is printed.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1"]
    command += ["--configfile", "config.yaml", "--config", f"runtime__data_root={folder}", f"runtime__shards={shards}"]
    start = time.perf_counter()
    done = subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.perf_counter() - start


def stages(folder: Path) -> dict[str, tuple[float, int, str]]:
    """Seconds, peak MiB and disk ratio of each finished stage."""
    found = {}
    for link in sorted(path for path in (folder / "results/scale").iterdir() if path.is_symlink()):
        facts = json.loads((link / "provenance.json").read_text())
        parts = [facts, *facts.get("shards", [])]
        seconds = sum(part["wall_seconds"] for part in parts)
        disk = ""
        for store in link.glob("*.h5"):
            with h5py.File(store) as file:
                payload = sum(item.id.get_storage_size() for item in file[store.stem].values())
            disk = f"{store.stat().st_size / 2**20:.1f} MiB, {store.stat().st_size / payload:.2f}x"
        found[link.name] = (seconds, max(part["peak_memory_mib"] for part in parts), disk)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="stages on a large data set")
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--classes", type=int, default=81)
    parser.add_argument("--shards", type=int, default=4)
    options = parser.parse_args()
    for images in options.images:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_data(folder, images, options.classes)
            first = snakemake(folder, options.shards, "-n")
            dry = snakemake(folder, options.shards, "-n")
            whole = snakemake(folder, options.shards)
            again = snakemake(folder, options.shards)
            print(f"{images} images, {options.classes} classes, {options.shards} shards")
            print(f"  dry run {first:.1f} s, all files read once; then {dry:.1f} s; nothing to do {again:.1f} s")
            print(f"  whole run {whole:.0f} s")
            jobs = Counter(path.parent.parent.name for path in folder.glob("store/*/*/shards/*.json"))
            for stage, (seconds, memory, disk) in stages(folder).items():
                print(f"  {stage:20} {seconds:7.1f} s {memory:6} MiB  {disk}")
            print(f"  shard jobs: {sum(jobs.values())}")


if __name__ == "__main__":
    main()
