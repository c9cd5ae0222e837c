"""What a training step costs over the bare networks: every training of every method, and of some with a part left out.

    python tests/benchmarks/bench_steps.py [CONFIG [KEY=VALUE ...]] [--device cpu] [--repeats 3]

The last steps of each training, when all its losses have set in, on made-up images of 500x375 pixels, with random
weights. Bare are forward and backward pass of the networks alone: every call of a network in one step is recorded with
its input and made again. "data" is reading and augmenting the batch, which a run leaves to its workers; "the rest" are
losses, labels and the optimiser. On the CPU one thread and CPU time, on a GPU wall time between synchronisations.

Next bottleneck: labels made in the step, the dense CRFs of ASDT and PAR in DuPL and KTSE; on a CPU also softmax and
resizing of logits at the size of the image.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from pipeline.config.classes import ClassTable
from pipeline.config.load import load_run, read_yaml
from pipeline.config.runtime import RuntimeSettings
from pipeline.config.training import TrainStage
from pipeline.methods.described import objective_name
from pipeline.report.planned import class_table
from pipeline.stages.runner import keep_freed_memory
from pipeline.stages.trial import late_trainer
from pipeline.training.loop import Trainer

ROOT = Path(__file__).parents[2]
KTSE, SEMINAR = "configs/mini/ktse.yaml", "configs/mini/seminar.yaml"
ROWS: list[tuple[str, list[str]]] = [
    ("configs/mini/cam.yaml", []),
    (KTSE, []),
    (KTSE, ["classifier__ssr__refine=null"]),
    (KTSE, ["classifier__ssr=null"]),
    (KTSE, ["classifier__head__pool=gap"]),
    ("configs/mini/asdt.yaml", []),
    ("configs/mini/dupl.yaml", []),
    (SEMINAR, []),
    (SEMINAR, ["model__crf=null"]),
    (SEMINAR, ["model__crf=null", "model__consistency=null", "model__teacher=null"]),
    ("configs/mini/mdh.yaml", []),
]
"""Configurations and settings changed; a training that an earlier row has is not measured again."""


class Recorder:
    """Calls of the outermost networks inside an objective: modules that have parameters."""

    def __init__(self, objective: nn.Module) -> None:
        self.calls: list[tuple[nn.Module, Any, bool]] = []
        self._depth = 0
        self._hooks = [
            handle
            for module in objective.modules()
            if module is not objective and next(module.parameters(), None) is not None
            for handle in (module.register_forward_pre_hook(self._enter), module.register_forward_hook(self._leave))
        ]

    def stop(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        if self._depth == 0:
            kept = tree_map(
                lambda x: x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x, inputs
            )
            self.calls.append((module, kept, torch.is_grad_enabled()))
        self._depth += 1

    def _leave(self, *_: Any) -> None:
        self._depth -= 1

    def replay(self) -> None:
        """All calls again, each with its own backward pass."""
        for module, inputs, with_gradient in self.calls:
            with torch.set_grad_enabled(with_gradient):
                trained = [tensor for tensor in tensors(module(*inputs)) if tensor.requires_grad]
            if trained:
                torch.autograd.backward(trained, [torch.ones_like(x) for x in trained])


def tensors(output: Any) -> list[Tensor]:
    """Tensors of what a network returns: of lists, mappings and data classes."""
    if is_dataclass(output):
        output = vars(output)
    leaves = [tensors(leaf) if is_dataclass(leaf) else [leaf] for leaf in tree_leaves(output)]
    return [leaf for found in leaves for leaf in found if isinstance(leaf, Tensor)]


def milliseconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median over calls; the first warms up."""
    clock, times = (perf_counter if device.type == "cuda" else process_time), []
    for _ in range(repeats + 1):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(1e3 * (clock() - start))
    return median(times[1:])


def costs(trainer: Trainer, micro_batches: int, repeats: int) -> tuple[float, float, float]:
    """Milliseconds of a step with its data, of the data, of the bare networks."""
    recorder = Recorder(trainer.objective)
    trainer.fit(until=trainer.step + 1)
    recorder.stop()
    whole = milliseconds(lambda: trainer.fit(until=trainer.step + 1), trainer.device, repeats)
    data = milliseconds(lambda: list(islice(trainer.loader(), micro_batches)), trainer.device, repeats)
    bare = milliseconds(recorder.replay, trainer.device, repeats)
    return whole, data, bare


def trainings(file: Path, changes: dict[str, Any], seen: list[Any]) -> Iterator[tuple[TrainStage, ClassTable]]:
    """Every training of a configuration that is not among those seen, with the classes; keys are ``a__b``."""
    config = load_run(read_yaml(file) | changes, ROOT / "configs")
    for _, settings in config.trained():
        plain = settings.model_dump(mode="json")
        if plain not in seen:
            seen.append(plain)
            stage = TrainStage(objective=objective_name(settings), split="train", seed=0, settings=plain)
            yield stage, class_table(config)


def main() -> None:
    parser = argparse.ArgumentParser(description="training steps over the bare networks")
    parser.add_argument("config", nargs="?", help="one configuration instead of those of voc-mini")
    parser.add_argument("changes", nargs="*", help="settings of it, such as model__crf=null")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    keep_freed_memory()
    runtime = RuntimeSettings(device=options.device, threads=1, workers=0)
    rows = [(options.config, options.changes)] if options.config else ROWS
    print(f"ms per step, {options.device:41} {'whole':>8} {'data':>7} {'networks':>8} {'the rest':>8}")
    seen: list[Any] = []
    for config, words in rows:
        changes = {key: yaml.safe_load(value) for key, _, value in (word.partition("=") for word in words)}
        for stage, classes in trainings(ROOT / config, changes, seen):
            training = stage.settings["training"]
            with TemporaryDirectory() as folder:
                trainer = late_trainer(stage, classes, runtime, Path(folder), 3 + options.repeats)
                whole, data, bare = costs(trainer, training["accumulate"], options.repeats)
            rest = whole - data - bare
            size = f"{training['batch_size']} x {training['augment']['crop']}"
            name = " ".join(words) or f"{Path(config).parent.name}/{Path(config).stem} {stage.objective}, {size}"
            print(f"{name:54} {whole:8.0f} {data:7.0f} {bare:8.0f} {rest:8.0f} {100 * rest / bare:+5.0f} %", flush=True)


if __name__ == "__main__":
    main()
