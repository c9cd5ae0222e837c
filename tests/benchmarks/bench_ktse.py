"""Cost of KTSE's classification step over the bare networks: labels, losses, pyramid against three plain passes.

    python tests/benchmarks/bench_ktse.py [--config configs/mini/ktse.yaml] [--device cpu] [--repeats 5]

Random images at the batch size and crop of the configuration, random weights, two tags in every second image and one in
the others. Bare are forward and backward passes of the same images, alone, joined and erased, with the sum of the maps
as loss. Rounds of all candidates alternate. On the CPU one thread and CPU time, on a GPU wall time between
synchronisations.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import torch
import yaml

from pipeline.config.classes import ClassTable
from pipeline.config.ktse import KtseSettings
from pipeline.config.load import load_run
from pipeline.config.methods.ktse import Config
from pipeline.methods.ktse import Ktse, build
from pipeline.methods.objective import Batch

ROOT = Path(__file__).parents[2]
BARE = "bare networks"
PARTS: dict[str, dict[str, object]] = {
    "whole step": {},
    "without labels' refinement": {"ssr": {"refine": None}},
    "without self-supervision": {"ssr": None},
    "mean instead of pyramid": {"head": {"pool": "gap"}},
}


def sample(settings: KtseSettings, classes: int, device: torch.device) -> Batch:
    """A batch of noise with tags."""
    torch.manual_seed(0)
    count, side = settings.training.batch_size, settings.training.augment.crop
    tags = torch.zeros(count, classes - 1)
    tags[:, 0] = 1
    tags[::2, 1] = 1

    def images(number: int) -> torch.Tensor:
        noise = torch.rand(number, 3, side, side) * 2 - 1
        return noise.contiguous(memory_format=torch.channels_last).to(device)

    partners = settings.sie.pairs if settings.sie is not None and settings.sie.partner == "dataset" else 0
    valid = torch.ones(count, side, side, dtype=torch.bool, device=device)
    return {
        "image": images(count),
        "valid": valid,
        "tags": tags.to(device),
        "partner_image": images(partners),
        "partner_valid": valid[:partners],
        "partner_tags": tags[:partners].to(device),
    }


def bare(objective: Ktse, batch: Batch, settings: KtseSettings) -> None:
    """The same images through the network, and back."""
    image, pairs = batch["image"], settings.sie.pairs if settings.sie is not None else 0
    alone = torch.cat([image, batch["partner_image"]])
    joined = torch.cat([image[:pairs], image[:pairs]], -2)
    sum(objective.network(seen).float().sum() for seen in (alone, joined, image)).backward()  # type: ignore[union-attr]


def milliseconds(steps: dict[str, Callable[[], None]], device: torch.device, repeats: int) -> dict[str, float]:
    """Median time of each kind of step; the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    clock = perf_counter if device.type == "cuda" else process_time
    for _ in range(repeats + 1):
        for name, step in steps.items():
            if device.type == "cuda":
                torch.cuda.synchronize()
            start = clock()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            times[name].append((clock() - start) * 1e3)
    return {name: median(found[1:]) for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="cost of KTSE's classification step over the bare networks")
    parser.add_argument("--config", type=Path, default=ROOT / "configs/mini/ktse.yaml")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.set_num_threads(1)
    config = load_run(yaml.safe_load(options.config.read_text()), ROOT / "configs")
    assert isinstance(config, Config)
    scenes = config.data.scenes is not None
    classes = ClassTable(names=("background", *(f"class{n}" for n in range(1, 5 if scenes else 21))))
    plain = config.classifier.model_dump()
    plain["network"]["weights"] = None
    settings = KtseSettings.model_validate(plain)
    batch = sample(settings, len(classes), device)
    print(f"{options.config.name}, {device}, batch {tuple(batch['image'].shape)}, {len(classes)} classes, 1 thread")

    def objective(changes: dict[str, object]) -> Ktse:
        merged = {**plain, **{k: {**plain[k], **v} if isinstance(v, dict) else v for k, v in changes.items()}}
        made = build(KtseSettings.model_validate(merged), classes, ROOT, {}).train()
        return made.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def step(model: Ktse) -> None:
        parts = model.training_step(batch, 10**6)
        torch.stack(list(parts.values())).sum().backward()

    models = {name: objective(changes) for name, changes in PARTS.items()}
    steps: dict[str, Callable[[], None]] = {name: partial(step, model) for name, model in models.items()}
    times = milliseconds({BARE: partial(bare, objective({}), batch, settings), **steps}, device, options.repeats)
    for name, time in times.items():
        print(f"  {name:28} {time:8.0f} ms  {100 * (time / times[BARE] - 1):+6.1f} %")


if __name__ == "__main__":
    main()
