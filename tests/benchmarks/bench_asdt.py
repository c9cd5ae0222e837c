"""How long a training step of ASDT waits for its labels, made beside the step or inline, by our engine or pydensecrf.

    python tests/benchmarks/bench_asdt.py [--config configs/mini/asdt.yaml] [--device cpu] [--threads 1] [--repeats 5]

Smooth random images with one to three tags at the batch size and crop of the configuration, random weights. Every
second step is of the structure phase, which needs a third CRF per image; with tau 6 only every sixth is. Wall time of
forward and backward pass, so the machine must be idle.

Next bottleneck: the dense CRFs of the labels, two or three for each image; beside the step they delay it
only where no core is free.
"""

import argparse
from pathlib import Path
from time import perf_counter

import torch
import yaml

from pipeline.config.asdt import AsdtSettings
from pipeline.config.classes import ClassTable
from pipeline.config.load import load_run
from pipeline.config.methods.asdt import Config
from pipeline.methods.asdt import build
from pipeline.methods.objective import Batch
from pipeline.methods.side_work import SideWork
from pipeline.nets.decoders import upsample
from pipeline.nets.inference import normalise

ROOT = Path(__file__).parents[2]
CLASSES = ClassTable(names=("background", *(f"class{n}" for n in range(1, 21))))
WAYS = {"beside the step": (False, "auto"), "inline": (True, "auto"), "inline, pydensecrf": (True, "pydensecrf")}


def sample(settings: AsdtSettings, device: torch.device) -> Batch:
    """A batch of smooth images."""
    torch.manual_seed(0)
    count, side = settings.training.batch_size // settings.training.accumulate, settings.training.augment.crop
    colours = upsample(torch.rand(count, 3, 12, 12) * 255, (side, side)) + torch.randn(count, 3, side, side) * 6
    tags = torch.zeros(count, len(CLASSES) - 1)
    for row in tags:
        row[torch.randperm(len(row))[: int(torch.randint(1, 4, ()))]] = 1
    image = normalise(colours.clamp(0, 255), settings.network).contiguous(memory_format=torch.channels_last)
    valid = torch.ones(count, side, side, dtype=torch.bool)
    return {"image": image.to(device), "valid": valid.to(device), "tags": tags.to(device)}


def prepared(settings: AsdtSettings, engine: str) -> AsdtSettings:
    """The settings with random weights, equal phases and one CRF engine."""
    network = settings.network.model_copy(update={"weights": None})
    alternation = settings.alternation.model_copy(update={"period": 2, "tau": 2.0, "warmup_steps": 0})
    changes: dict[str, object] = {"network": network, "alternation": alternation, "start": "backbone", "strategy": "V"}
    for name in ("reliable", "distillation"):
        part = getattr(settings, name)
        changes[name] = part.model_copy(update={"crf": part.crf.model_copy(update={"backend": engine})})
    return settings.model_copy(update=changes)


def main() -> None:
    parser = argparse.ArgumentParser(description="share of a step of ASDT that waits for labels")
    parser.add_argument("--config", type=Path, default=ROOT / "configs/mini/asdt.yaml")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="of torch, and as many more make labels")
    parser.add_argument("--repeats", type=int, default=5, help="pairs of steps")
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.set_num_threads(options.threads)
    config = load_run(yaml.safe_load(options.config.read_text()), ROOT / "configs")
    assert isinstance(config, Config)
    batch = sample(config.model, device)
    print(f"{options.config.name}, {device}, batch {tuple(batch['image'].shape)}, {options.threads} thread(s)")
    for name, (inline, engine) in WAYS.items():
        torch.manual_seed(0)
        objective = build(prepared(config.model, engine), CLASSES, ROOT, {}).train()
        objective.to(device, memory_format=torch.channels_last)
        total = 0.0
        for step in range(-2, 2 * options.repeats):
            if step == 0:
                objective.side_work, total = SideWork(inline), 0.0
            start = perf_counter()
            torch.stack(list(objective.training_step(batch, step % 2).values())).sum().backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            total += perf_counter() - start
        side, steps = objective.side_work, 2 * options.repeats
        print(
            f"  {name:20} {1e3 * total / steps:7.0f} ms a step, {1e3 * side.worked / steps:6.0f} ms of it label work, "
            f"waited {100 * side.waited / total:5.1f} %",
            flush=True,
        )


if __name__ == "__main__":
    main()
