"""How a network is trained: length, optimiser, schedule, augmentation."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config.base import Settings
from pipeline.config.network import NetworkSettings


class OptimiserSettings(Settings):
    """The optimiser and its base learning rate."""

    kind: Literal["sgd", "adamw"] = Field(default="sgd", description="optimiser")
    lr: float = Field(default=0.01, gt=0, description="base learning rate; groups multiply it")
    momentum: float = Field(
        default=0.9, ge=0, lt=1, description="momentum of SGD; 0 for what the PSA family really did"
    )
    weight_decay: float = Field(default=1e-4, ge=0, description="weight decay")


class ScheduleSettings(Settings):
    """Polynomial decay after a linear warm-up, per step."""

    power: float = Field(default=0.9, ge=0, description="lr = lr0 (1 - t/T)^power; 0 keeps it constant")
    length: int | None = Field(default=None, ge=1, description="T; null: the steps of the training")
    warmup_steps: int = Field(default=0, ge=0, description="steps of linear growth from lr0 / warmup_steps")
    min_lr: float = Field(default=0.0, ge=0, description="the learning rate never falls below this times its factor")


class AugmentSettings(Settings):
    """Random changes of a training image; ranges are drawn uniformly."""

    long_side: tuple[int, int] | None = Field(
        default=(320, 640), description="long side after resizing; null: as it is"
    )
    short_side: tuple[int, int] | None = Field(
        default=None, description="short side after resizing (rloss); null: not used"
    )
    mask_resize: Literal["nearest", "scatter"] = Field(
        default="nearest", description="scatter: every labelled pixel keeps a place when sizes change, as clicks need"
    )
    crop: int = Field(default=320, ge=16, description="side of the square crop; smaller images are padded")
    flip: float = Field(default=0.5, ge=0, le=1, description="probability of mirroring")
    brightness: float = Field(default=0.0, ge=0, lt=1, description="factor 1 +- this")
    contrast: float = Field(default=0.0, ge=0, lt=1, description="factor 1 +- this")
    saturation: float = Field(default=0.0, ge=0, lt=1, description="factor 1 +- this")

    blur: float = Field(
        default=0.0, ge=0, le=1, description="probability of a Gaussian blur of up to one pixel's deviation"
    )

    @field_validator("long_side", "short_side")
    @classmethod
    def _ordered(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and not 16 <= value[0] <= value[1]:
            raise ValueError("must be two lengths from 16 on, the smaller first")
        return value


class TrainingSettings(Settings):
    """One training run."""

    steps: int = Field(default=1000, ge=1, description="optimiser steps")
    batch_size: int = Field(default=16, ge=1, description="images per optimiser step, over all devices together")
    accumulate: int = Field(
        default=1, ge=1, description="micro-batches a step is made of, for small memories; divides batch_size"
    )
    clip_norm: float | None = Field(default=None, gt=0, description="largest gradient norm; null: no clipping")
    optimiser: OptimiserSettings = OptimiserSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    augment: AugmentSettings = AugmentSettings()
    ema: float | None = Field(
        default=None, gt=0, lt=1, description="decay of a moving average of the weights, which is then exported"
    )
    log_every: int = Field(default=20, ge=1, description="steps between lines of the curve and the log")

    @model_validator(mode="after")
    def _schedule_is_long_enough(self) -> "TrainingSettings":
        if self.schedule.length is not None and self.schedule.length < self.steps:
            raise ValueError(f"schedule.length {self.schedule.length} is shorter than the {self.steps} steps")
        return self

    @model_validator(mode="after")
    def _micro_batches_are_equal(self) -> "TrainingSettings":
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of accumulate {self.accumulate}")
        return self

    def per_device(self, devices: int) -> int:
        """Images of a micro-batch on each device: ``batch_size`` = devices x accumulate x this, whatever the devices.

        Raises:
            ValueError: no whole number; the message says what to set.
        """
        size, left = divmod(self.batch_size, devices * self.accumulate)
        if left:
            fitting = [str(n) for n in range(1, self.batch_size + 1) if self.batch_size % (n * self.accumulate) == 0]
            raise ValueError(
                f"batch_size {self.batch_size} is no whole number of images on each of {devices} devices in each of "
                f"{self.accumulate} micro-batches; let runtime.devices x runtime.nodes be one of "
                f"{', '.join(fitting)}, or change accumulate (results belong to batch_size, so that should stay)"
            )
        return size


class TrainStage(Settings):
    """Settings of the stage ``train``."""

    objective: str = Field(pattern=r"^[a-z_]+$", description="module of pipeline.methods")
    split: str = Field(description="split to train on, several joined by +")
    seed: int = Field(ge=0, description="seed of order, augmentation, initial weights and dropout")
    settings: dict[str, Any] = Field(description="settings of the objective, with keys `network` and `training`")


def check_batch(network: NetworkSettings, training: TrainingSettings) -> None:
    """Refuse micro-batches that batch norm cannot learn from.

    Raises:
        ValueError: a decoder that normalises one value per image gets one image at a time.
    """
    pools = network.decoder == "pspnet" or (network.decoder == "deeplabv3plus" and network.decoder_pooling)
    if pools and training.batch_size == training.accumulate:
        raise ValueError(
            f"decoder '{network.decoder}' normalises one value per image and cannot learn from micro-batches of 1; "
            f"found batch_size {training.batch_size} in {training.accumulate} parts: raise it, lower accumulate"
            + (", or set network.decoder_pooling to false" if network.decoder == "deeplabv3plus" else "")
        )
