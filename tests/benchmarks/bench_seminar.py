"""Cost of the parts of Seminar learning's loss: a training step with each part, against the student alone.

    python tests/benchmarks/bench_seminar.py [--config configs/mini/seminar.yaml] [--device cpu] [--repeats 5]

Random images at the batch size and crop of the configuration, random weights; on the CPU one thread and CPU time, on a
GPU wall time between synchronisations.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import torch
import yaml

from pipeline.config.classes import ClassTable
from pipeline.config.load import load_run
from pipeline.config.methods.seminar import Config
from pipeline.config.seminar import SeminarSettings
from pipeline.methods.objective import Batch
from pipeline.methods.seminar import build

ROOT = Path(__file__).parents[2]
CLASSES = ClassTable(names=("background", *(f"class{n}" for n in range(1, 21))))
PARTS: dict[str, dict[str, object]] = {
    "student alone": {"teacher": None, "consistency": None, "crf": None},
    "+ CRF": {"teacher": None, "consistency": None},
    "+ teacher": {"crf": None},
    "both": {},
}


def sample(settings: SeminarSettings, device: torch.device) -> Batch:
    """A batch of noise with a few labelled pixels per image."""
    torch.manual_seed(0)
    shape = (settings.training.batch_size, settings.training.augment.crop, settings.training.augment.crop)
    mask = torch.full(shape, 255)
    mask[:, 50:52, 50:52] = 1
    image = (torch.rand(shape[0], 3, *shape[1:]) * 2 - 1).contiguous(memory_format=torch.channels_last)
    return {
        "image": image.to(device),
        "valid": torch.ones(shape, dtype=torch.bool, device=device),
        "mask": mask.to(device),
    }


def milliseconds(step: Callable[[], None], device: torch.device, repeats: int) -> float:
    """Median time of a step."""
    times = []
    clock = perf_counter if device.type == "cuda" else process_time
    for _ in range(repeats + 1):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = clock()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append((clock() - start) * 1e3)
    return median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description="cost of the parts of Seminar learning's loss")
    parser.add_argument("--config", type=Path, default=ROOT / "configs/mini/seminar.yaml")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.set_num_threads(1)
    config = load_run(yaml.safe_load(options.config.read_text()), ROOT / "configs")
    assert isinstance(config, Config)
    network = config.model.network.model_copy(update={"weights": None})
    batch = sample(config.model, device)
    print(f"{options.config.name}, {device}, batch {tuple(batch['image'].shape)}, {torch.get_num_threads()} thread")
    bare = 0.0
    for name, changes in PARTS.items():
        settings = config.model.model_copy(update={"network": network, **changes})
        objective = build(settings, CLASSES, ROOT, {}).train().to(device, memory_format=torch.channels_last)

        def step(objective: torch.nn.Module = objective) -> None:
            parts = objective.training_step(batch, 10**6)  # type: ignore[operator]
            sum(parts.values()).backward()

        time = milliseconds(step, device, options.repeats)
        bare = bare or time
        print(f"  {name:14} {time:8.0f} ms  {100 * (time / bare - 1):+6.1f} %", flush=True)


if __name__ == "__main__":
    main()
