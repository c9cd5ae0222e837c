"""The one training loop: any objective, resumable at any point, the same bits on CPU whatever interrupts it."""

import csv
import io
import logging
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from pipeline.artifacts.checkpoint import load_training_state, save_training_state
from pipeline.artifacts.files import write_text
from pipeline.artifacts.job import Job
from pipeline.config.runtime import RuntimeSettings
from pipeline.config.training import TrainingSettings
from pipeline.data.mixed import Samples
from pipeline.data.samples import INSIDE, collate, one_thread, seed_torch
from pipeline.errors import PseudomaskError
from pipeline.methods.objective import Objective
from pipeline.nets.device import find_device
from pipeline.nets.ema import MovingAverage
from pipeline.nets.synchronised import synchronise
from pipeline.training.progress import Progress
from pipeline.training.schedule import learning_rate

_log = logging.getLogger(__name__)


class _MicroBatches(Sampler[list[int]]):
    """Sample numbers of every micro-batch of this rank; step s of all ranks together uses s*B ... (s+1)*B - 1."""

    def __init__(self, settings: TrainingSettings, first_step: int, rank: int, ranks: int) -> None:
        self._settings, self._first, self._rank, self._ranks = settings, first_step, rank, ranks
        self._size = settings.per_device(ranks)

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self._first, self._settings.steps):
            for micro in range(self._settings.accumulate):
                part = micro * self._ranks + self._rank
                start = step * self._settings.batch_size + part * self._size
                yield list(range(start, start + self._size))

    def __len__(self) -> int:
        return (self._settings.steps - self._first) * self._settings.accumulate


@dataclass
class _State:
    """What must survive a kill beside networks and optimiser."""

    step: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)
    pending: list[dict[str, Tensor]] = field(default_factory=list)


class Trainer:
    """Trains one objective.

    Args:
        objective: networks and losses.
        samples: training samples by number.
        settings: length, optimiser, schedule.
        seed: seed of what is random inside a step, such as dropout.
        job: runtime settings and the folder of the checkpoint.
    """

    def __init__(self, objective: Objective, samples: Samples, settings: TrainingSettings, seed: int, job: Job) -> None:
        runtime = job.runtime
        try:
            size = settings.per_device(runtime.processes)
        except ValueError as error:
            raise PseudomaskError(str(error)) from None
        _log.info(
            "%d images a step: %d devices x %d micro-batches x %d",
            *(settings.batch_size, runtime.processes, settings.accumulate, size),
        )
        torch.set_num_threads(runtime.threads)
        self._settings, self._seed, self._job, self._samples = settings, seed, job, samples
        self._checkpoint = job.scratch / "training.safetensors"
        # Where SLURM is installed, Fabric recommends srun even for jobs that SLURM did not start.
        warnings.filterwarnings("ignore", "The `srun` command is available")
        self._fabric = Fabric(
            accelerator=find_device(runtime).type,
            devices=runtime.devices,
            num_nodes=runtime.nodes,
            precision=runtime.precision,
            plugins=_launcher(runtime),
        )
        self._fabric.launch()
        if self._fabric.world_size != runtime.processes:
            raise PseudomaskError(
                f"{runtime.processes} processes are to train ({runtime.nodes} nodes x {runtime.devices} devices), but "
                f"{self._fabric.world_size} were started; batches would be incomplete"
            )
        if runtime.processes > 1:
            synchronise(objective, self._fabric.device)
        self.objective = objective.train()
        if runtime.channels_last:
            objective.to(memory_format=torch.channels_last)
        self.average = MovingAverage(objective.export(), settings.ema) if settings.ema else None
        self._groups = list(objective.parameter_groups())
        optimiser = _optimiser(settings, self._groups)
        if runtime.compile:
            objective.training_step = torch.compile(objective.training_step)  # type: ignore[method-assign]
        self._module: _FabricModule
        self._optimiser: _FabricOptimizer
        self._module, self._optimiser = self._fabric.setup(objective, optimiser)
        self._module.mark_forward_method("training_step")
        if self.average is not None:
            self.average.to(self._fabric.device)
        self._state = _State()
        self._board: Any = None  # one file of events, however long the training

    @property
    def device(self) -> torch.device:
        """Where this process trains."""
        return self._fabric.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files."""
        return bool(self._fabric.is_global_zero)

    @property
    def step(self) -> int:
        """Steps taken."""
        return self._state.step

    def exported(self) -> dict[str, Tensor]:
        """State dict of the network later stages load: the moving average if there is one."""
        network = self.average.average if self.average is not None else self.objective.export()
        return network.state_dict()

    def fit(self, curves: Path | None = None, until: int | None = None) -> None:
        """Train to the last step, going on from a checkpoint if there is one.

        Args:
            curves: CSV of losses and learning rate, written at the end.
            until: stop after this step; another call goes on.

        Raises:
            PseudomaskError: a loss is not finite, or the checkpoint is damaged.
        """
        self._resume()
        loader = self.loader()
        progress = Progress(self._job.name, self._state.step, self._settings.steps, self._settings.batch_size)
        batches = iter(loader)
        last_save = time.monotonic()
        last = self._settings.steps if until is None else until
        while self._state.step < last:
            rate = self._train_step(batches)
            done = self._state.step
            if done % self._settings.log_every == 0 or done == self._settings.steps:
                self._record(rate, progress)
            if time.monotonic() - last_save >= self._job.runtime.checkpoint_seconds and done < self._settings.steps:
                self._save()
                last_save = time.monotonic()
        if curves is not None and self.is_main:
            write_text(curves, self._table())

    def skip_to(self, step: int) -> None:
        """Go on at ``step`` as if the steps before had been taken: to try what a late one costs."""
        self._state.step = step

    def finish(self) -> None:
        """Remove the checkpoint once the outputs exist."""
        if self.is_main:
            self._checkpoint.unlink(missing_ok=True)

    def _train_step(self, batches: Iterator[Any]) -> float:
        step, settings = self._state.step, self._settings
        rate = learning_rate(settings, step)
        for group, source in zip(self._optimiser.param_groups, self._groups, strict=True):
            group["lr"] = rate * source.lr_scale
        losses: dict[str, Tensor] = {}
        for micro in range(settings.accumulate):
            batch = next(batches)
            # After fetching: a loader's first batch draws from torch's generator.
            seed_torch(self._seed, INSIDE, step, micro, self._fabric.global_rank)
            if self._job.runtime.channels_last:
                for name in batch.keys() & {"image", "partner_image"}:
                    batch[name] = batch[name].contiguous(memory_format=torch.channels_last)
            with self._fabric.no_backward_sync(self._module, enabled=micro + 1 < settings.accumulate):
                parts = self._module.training_step(batch, step)
                parts = {name: part.float() / settings.accumulate for name, part in parts.items()}
                self._fabric.backward(torch.stack(list(parts.values())).sum())
            losses = {name: losses.get(name, 0) + part.detach() for name, part in parts.items()}
        if settings.clip_norm is not None:
            self._fabric.clip_gradients(
                self._module, self._optimiser, max_norm=settings.clip_norm, error_if_nonfinite=False
            )
        self._optimiser.step()
        self._optimiser.zero_grad()
        self.objective.on_step_end(step)
        if self.average is not None:
            self.average.update(self.objective.export())
        self._state.pending.append(losses)
        self._state.step += 1
        return rate

    def _record(self, rate: float, progress: Progress) -> None:
        """Mean losses since the last record, checked; only here does the loop wait for the device."""
        # An objective may have parts that set in later: each mean is over the steps that had the part.
        pending = self._state.pending
        names = list(dict.fromkeys(name for losses in pending for name in losses))
        nothing = torch.zeros((), device=self._fabric.device)
        stacked = torch.stack([torch.stack([losses.get(name, nothing) for name in names]) for losses in pending])
        values = cast(Tensor, self._fabric.all_reduce(stacked.double(), reduce_op="mean")).cpu()
        finite = values.isfinite().all(1)
        if not bool(finite.all()):
            index = int((~finite).nonzero()[0])
            parts = ", ".join(f"{n} {v:g}" for n, v in zip(names, values[index].tolist(), strict=True))
            step = self._state.step - len(pending) + index
            raise PseudomaskError(
                f"the loss of step {step} is not finite ({parts}; "
                f"learning rate {learning_rate(self._settings, step):g}); "
                "lower the learning rate, add warm-up steps or clip_norm, or look for damaged images or masks"
            )
        counts = [sum(name in losses for losses in pending) for name in names]
        means = {n: total / count for n, total, count in zip(names, values.sum(0).tolist(), counts, strict=True)}
        self._state.rows.append({"step": self._state.step, "lr": rate, **means})
        self._state.pending = []
        if self.is_main:
            progress.show(self._state.step, rate, means)
            self._log_to_tensorboard({"lr": rate, **means})

    def _log_to_tensorboard(self, values: dict[str, float]) -> None:
        if not self._job.runtime.tensorboard:
            return
        if self._board is None:
            self._board = _open_board(self._job.scratch.parent / "tensorboard")
        for name, value in values.items():
            self._board.add_scalar(name, value, self._state.step)
        self._board.flush()

    def _table(self) -> str:
        text = io.StringIO()
        columns = dict.fromkeys(name for row in self._state.rows for name in row)
        writer = csv.DictWriter(text, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._state.rows)
        return text.getvalue()

    def loader(self) -> Any:
        """Micro-batches of the steps still to take."""
        workers = self._job.runtime.workers
        loader = DataLoader(
            self._samples,
            batch_sampler=_MicroBatches(
                self._settings, self._state.step, self._fabric.global_rank, self._fabric.world_size
            ),
            collate_fn=collate,
            num_workers=workers,
            worker_init_fn=one_thread if workers else None,
            pin_memory=self._fabric.device.type == "cuda",
            prefetch_factor=4 if workers else None,
        )
        return self._fabric.setup_dataloaders(loader, use_distributed_sampler=False)

    def _save(self) -> None:
        if not self.is_main:
            return
        state = {
            "objective": self.objective.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "step": self._state.step,
            "rows": self._state.rows,
            "pending": self._state.pending,
        }
        save_training_state(self._checkpoint, state)

    def _resume(self) -> None:
        if not self._checkpoint.exists():
            return
        state = load_training_state(self._checkpoint)
        self.objective.load_state_dict(state["objective"])
        self._optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        device = self._fabric.device
        pending = [{name: loss.to(device) for name, loss in losses.items()} for losses in state["pending"]]
        self._state = _State(state["step"], state["rows"], pending)
        _log.info("%s: going on from step %d of %d", self._job.name, self._state.step, self._settings.steps)


def _open_board(folder: Path) -> Any:
    """A writer of TensorBoard's files.

    Raises:
        PseudomaskError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise PseudomaskError("runtime.tensorboard needs the package tensorboard: install it or unset it") from error
    return SummaryWriter(folder)


def _launcher(runtime: RuntimeSettings) -> ClusterEnvironment | None:
    """Who starts the processes of a training: on one node Fabric itself, on several srun or torchrun.

    Raises:
        PseudomaskError: several nodes are asked for, and neither has started this process.
    """
    if runtime.nodes == 1:
        # Also within a SLURM job: left to itself Fabric takes the job's one task for all processes.
        return LightningEnvironment()
    if not (SLURMEnvironment.detect() or TorchElasticEnvironment.detect()):
        raise PseudomaskError(
            f"runtime.nodes is {runtime.nodes}, but this process runs on one machine alone; say snakemake --profile "
            "slurm, or start it within an allocation of so many nodes"
        )
    return None


def _optimiser(settings: TrainingSettings, groups: list[Any]) -> torch.optim.Optimizer:
    chosen = settings.optimiser
    parameters = [
        {
            "params": group.parameters,
            "weight_decay": chosen.weight_decay if group.weight_decay is None else group.weight_decay,
        }
        for group in groups
    ]
    if chosen.kind == "sgd":
        return torch.optim.SGD(parameters, lr=chosen.lr, momentum=chosen.momentum)
    return torch.optim.AdamW(parameters, lr=chosen.lr)
