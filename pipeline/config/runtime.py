"""How a run is executed; nothing here changes what is computed beyond rounding, so nothing here enters a key."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from pipeline.config.base import Settings


class RuntimeSettings(Settings):
    """Devices, workers and places."""

    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="where networks run")
    devices: int = Field(default=1, ge=1, description="accelerators per training job, on each of its nodes")
    nodes: int = Field(default=1, ge=1, description="machines per training job; more than one with --profile slurm")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(default="32-true", description="Fabric precision")
    channels_last: bool = Field(default=True, description="memory layout of convolutions")
    compile: bool = Field(default=False, description="torch.compile the networks")
    workers: int = Field(default=1, ge=0, description="processes that load and augment training data")
    threads: int = Field(default=2, ge=1, description="CPU threads of one job")
    shards: int = Field(default=1, ge=1, le=1000, description="jobs an inference or refinement stage is split into")
    data_root: Path | None = Field(
        default=None, description="folder that relative data paths start from; default: $PSEUDOMASK_DATA, else '.'"
    )
    tensorboard: bool = Field(
        default=False, description="also write TensorBoard logs of trainings, to `tensorboard/` in the stage's folder"
    )
    checkpoint_seconds: float = Field(default=60, ge=0, description="least time between two training checkpoints")

    @property
    def processes(self) -> int:
        """Processes a training consists of, one per device of every node."""
        return self.nodes * self.devices
