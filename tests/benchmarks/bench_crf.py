"""Dense CRF: equality with pydensecrf, speed, memory and the regularised loss, all in one run.

    PSEUDOMASK_DATA=... python tests/benchmarks/bench_crf.py [--images 50] [--repeats 9] [--tuned FOLDER]

FOLDER holds a pydensecrf2 built with this machine's flags, so that the gain can be told from the flags':

    CFLAGS="-O3 -march=native" pip install --no-cache-dir --no-deps --no-binary :all: --target FOLDER pydensecrf2

Without PSEUDOMASK_DATA the images are generated. Engines alternate within every measurement; figures are medians, of
CPU time where one thread works (other people's jobs do not count) and of wall time for two threads and the GPU.

Next bottleneck: slicing, softmax and splatting of a block of pixels, 55 to 60 % of the time with 3 and 21 labels; the
blur takes a twentieth.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pipeline.config.crf import PRESETS, CrfTerm
from pipeline.crf import native, reference
from pipeline.crf.backends import pick_backend
from pipeline.crf.energy import as_energy
from pipeline.crf.loss import DenseEnergyLoss

PSA = PRESETS["psa"]
Case = tuple[NDArray[np.uint8], NDArray[np.float32]]


def smooth(rng: np.random.Generator, planes: int, height: int, width: int) -> NDArray[np.float32]:
    """Noise with a correlation length of sixteen pixels, (planes, height, width)."""
    coarse = torch.from_numpy(rng.normal(size=(1, planes, height // 16 + 2, width // 16 + 2)).astype(np.float32))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0].numpy()


def cases(count: int, size: tuple[int, int] | None = None) -> list[NDArray[np.uint8]]:
    """Images (H, W, 3) of voc-mini, of one size where asked, or generated ones."""
    folder = os.environ.get("PSEUDOMASK_DATA")
    found: list[NDArray[np.uint8]] = []
    if folder:
        for path in sorted((Path(folder) / "voc-mini" / "JPEGImages").glob("*.jpg"))[:: 1 if size else 803 // count]:
            image = Image.open(path)
            if size is None or image.size == size:
                found.append(np.array(image.convert("RGB")))
            if len(found) == count:
                return found
    rng = np.random.default_rng(1)
    width, height = size or (320, 240)
    while len(found) < count:
        scene = smooth(rng, 3, height, width) * 60 + 128 + rng.normal(0, 4, (3, height, width))
        found.append(np.clip(scene, 0, 255).astype(np.uint8).transpose(1, 2, 0).copy())
    return found


def energy(image: NDArray[np.uint8], labels: int, seed: int = 0) -> NDArray[np.float32]:
    """Energies of smooth random scores over ``image``."""
    logits = 1.5 * smooth(np.random.default_rng(seed), labels, *image.shape[:2])
    scores = np.exp(logits)
    return as_energy(scores / scores.sum(0))


def medians(
    work: Sequence[Callable[[], object]], repeats: int, clock: Callable[[], float] = process_time
) -> list[float]:
    """Median milliseconds of each piece of work; they alternate."""
    times: list[list[float]] = [[] for _ in work]
    for _ in range(repeats):
        for one, into in zip(work, times, strict=True):
            start = clock()
            one()
            into.append((clock() - start) * 1e3)
    return [median(values) for values in times]


def equality(count: int) -> None:
    """Agreement of the labels and largest difference of the probabilities, per preset."""
    labels = (2, 3, 4, 5, 7, 8, 9, 13, 17, 21)
    print(f"\nEquality with pydensecrf, {count} images, {labels} labels in turn, 10 iterations")
    images = cases(count)
    for preset, terms in PRESETS.items():
        same = total = 0
        apart = 0.0
        for index, image in enumerate(images):
            unary = energy(image, labels[index % len(labels)], index)
            ours, theirs = (engine.infer(image, [unary], terms, 10)[0] for engine in (native, reference))
            same += int((ours.argmax(0) == theirs.argmax(0)).sum())
            total += ours[0].size
            apart = max(apart, float(np.abs(ours - theirs).max()))
        print(f"  {preset:8} labels equal {same / total:.6f}   largest difference {apart:.1e}", flush=True)


def speed(repeats: int, tuned: str | None) -> None:
    """Whole runs, set-up (no iteration) and one iteration, against pydensecrf."""
    print("\n500x375, 10 iterations, one thread, ms of CPU time: whole, set-up, per iteration")
    image = cases(1, (500, 375))[0]
    for preset in ("psa", "irn"):
        for labels in (21, 3):
            unary, terms = energy(image, labels), PRESETS[preset]
            work = [
                lambda engine=engine, unary=unary, terms=terms, n=n: engine.infer(image, [unary], terms, n)
                for engine in (native, reference)
                for n in (10, 0)
            ]
            ours, ours_0, theirs, theirs_0 = medians(work, repeats)
            row(f"{preset}, {labels} labels, native", ours, ours_0, ours, ours_0)
            row("  pydensecrf, its flags", theirs, theirs_0, ours, ours_0)
            if tuned:
                row("  pydensecrf, -O3 -march=native", *tuned_times(tuned, preset, labels, repeats), ours, ours_0)


def lattices(repeats: int) -> None:
    """Set-up alone: pydensecrf's two ``addPairwise`` calls, ours with two labels and no iteration, which does more."""
    from pydensecrf.densecrf import DenseCRF2D

    image = cases(1, (500, 375))[0]
    unary = energy(image, 2)
    print("\nSet-up of both lattices, ms of CPU time")
    for preset in ("psa", "irn"):
        terms = PRESETS[preset]
        near, far = terms

        def theirs(near: CrfTerm = near, far: CrfTerm = far) -> None:
            crf = DenseCRF2D(image.shape[1], image.shape[0], 2)
            crf.addPairwiseGaussian(sxy=near.sxy, compat=near.compat)
            crf.addPairwiseBilateral(sxy=far.sxy, srgb=far.srgb, rgbim=image, compat=far.compat)

        ours, peer = medians([lambda terms=terms: native.infer(image, [unary], terms, 0), theirs], repeats)
        print(f"  {preset:8} native {ours:5.1f}   pydensecrf {peer:5.1f}   ratio {peer / ours:.2f}")


def row(name: str, whole: float, setup: float, ours: float, ours_setup: float) -> None:
    """One line of the table, with ratios to our engine."""
    each, our_each = (whole - setup) / 10, (ours - ours_setup) / 10
    print(
        f"  {name:32} {whole:7.1f} {setup:6.1f} {each:6.2f}   ratios {whole / ours:5.2f} {setup / ours_setup:5.2f} "
        f"{each / our_each:5.2f}",
        flush=True,
    )


def tuned_times(folder: str, preset: str, labels: int, repeats: int) -> tuple[float, float]:
    """Whole and set-up time of the pydensecrf in ``folder``, in a process of its own."""
    command = [sys.executable, __file__, "--child", preset, str(labels), str(repeats)]
    path = os.pathsep.join([folder, str(Path(__file__).resolve().parents[2])])
    answer = subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": path}).stdout
    whole, setup = json.loads(answer)
    return whole, setup


def threads(repeats: int) -> None:
    """Two threads over eight images against one."""
    items = [(image, energy(image, 21)) for image in cases(8, (500, 375))]

    def run(count: int) -> None:
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda item: native.infer(item[0], [item[1]], PSA, 10), items))

    one, two = medians([lambda: run(1), lambda: run(2)], repeats, perf_counter)
    print(f"\nTwo threads, eight images: {one:.0f} ms on one, {two:.0f} ms on two, {one / two:.2f} times as fast")


def memory() -> None:
    """Peak resident memory that one 21-label run adds, each engine in a process of its own."""
    print("\nPeak memory added by one 500x375 image, 21 labels")
    for name in ("native", "pydensecrf"):
        out = subprocess.run([sys.executable, __file__, "--peak", name], check=True, capture_output=True, text=True)
        print(f"  {name:10} {int(out.stdout) / 1024:6.0f} MiB")


def peak(name: str) -> None:
    """Child of ``memory``."""
    image = cases(1, (500, 375))[0]
    unary = energy(image, 21)
    engine = {"native": native, "pydensecrf": reference}[name]
    engine.infer(image[:8, :8], [np.ascontiguousarray(unary[:, :8, :8])], PSA, 1)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = resident("VmRSS")
    engine.infer(image, [unary], PSA, 10)
    print(resident("VmHWM") - before)


def resident(field: str) -> int:
    """A memory figure of this process from /proc, KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def loss(repeats: int) -> None:
    """Forward and backward of the regularised loss on crops."""
    torch.set_num_threads(1)
    images = torch.stack([torch.from_numpy(image[60:188, 60:188]) for image in cases(12, (500, 375))])
    images = images.permute(0, 3, 1, 2).float()
    soft = torch.randn(12, 21, 128, 128, generator=torch.Generator().manual_seed(0)).softmax(1).requires_grad_()
    module = DenseEnergyLoss(2e-9, scale=1)
    (time,) = medians([lambda: module(images, soft).backward()], repeats)
    print(f"\nLoss, batch 12, 21 labels, 128x128, forward and backward: {time:.1f} ms on one core")


def gpu(repeats: int) -> None:
    """Batches on CUDA."""
    if not torch.cuda.is_available():
        print("\nGPU: none here, not measured")
        return
    from pipeline.crf.torch_backend import Lattices, mean_field

    images = [torch.from_numpy(image).cuda() for image in cases(16, (500, 375))]
    unaries = [torch.from_numpy(energy(image.cpu().numpy(), 21)).cuda() for image in images]

    def run() -> None:
        mean_field(Lattices(images, PSA), unaries, 10)
        torch.cuda.synchronize()

    run()
    (time,) = medians([run], repeats, perf_counter)
    print(f"\nGPU {torch.cuda.get_device_name()}: {time / len(images):.2f} ms per 500x375 image, batches of 16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--tuned", help="folder with a pydensecrf2 built with -march=native")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        return peak(options.peak)
    if options.child:
        preset, labels, repeats = options.child
        image = cases(1, (500, 375))[0]
        unary = energy(image, int(labels))
        work = [lambda n=n: reference.infer(image, [unary], PRESETS[preset], n) for n in (10, 0)]
        return print(json.dumps(medians(work, int(repeats))))
    print(f"engine: {pick_backend().why}")
    equality(options.images)
    lattices(options.repeats)
    speed(options.repeats, options.tuned)
    threads(max(3, options.repeats // 2))
    memory()
    loss(options.repeats)
    gpu(options.repeats)


if __name__ == "__main__":
    main()
