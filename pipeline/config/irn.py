"""Settings of IRN: labels made of activation maps, the boundary network, the random walk."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config.base import Settings
from pipeline.config.crf import CrfSettings
from pipeline.config.network import NetworkSettings
from pipeline.config.training import TrainingSettings


class IrnLabelStage(Settings):
    """Settings of the stage ``label_irn``: sure foreground, sure background, and what to ignore."""

    foreground: float = Field(default=0.3, gt=0, lt=1, description="background score sure foreground must beat")
    background: float = Field(
        default=0.05, gt=0, lt=1, description="background score sure background must not even reach (KTSE: 0.10)"
    )
    crf: CrfSettings | None = Field(default=CrfSettings(preset="irn"), description="CRF on the labels; null: none")
    gt_prob: float = Field(default=0.7, gt=0, lt=1, description="what the CRF trusts a label with")

    @model_validator(mode="after")
    def _background_is_lower(self) -> "IrnLabelStage":
        if self.background >= self.foreground:
            raise ValueError(f"background {self.background} must be below foreground {self.foreground}")
        return self


class IrnSettings(Settings):
    """The network that finds class boundaries, on a frozen backbone."""

    network: NetworkSettings = NetworkSettings(backbone="resnet50", batch_norm="frozen")
    training: TrainingSettings = TrainingSettings()
    start: Literal["backbone", "classifier"] = Field(
        default="backbone",
        description="the frozen backbone: that of network.weights, or of the run's classifier (of the same network)",
    )
    radius: int = Field(
        default=10, ge=2, le=20, description="pairs of places nearer than this are compared, at stride 4"
    )
    displacement: bool = Field(
        default=True, description="also learn displacements; the walk does not use them, instance masks would"
    )
    lr_scale: float = Field(default=10.0, gt=0, description="factor on the learning rate of the displacement branch")


class IrnWalkStage(Settings):
    """Settings of the stage ``walk_irn``."""

    radius: int = Field(default=5, ge=2, le=20, description="places nearer than this are linked, at stride 4")
    beta: float = Field(default=10.0, gt=0, description="exponent of the affinities")
    doublings: int = Field(default=8, ge=0, le=12, description="the walk has 2^doublings steps")
    flip: bool = Field(default=True, description="average boundaries with those of the mirror image")


class IrnRefinement(Settings):
    """From activation maps to maps that end at boundaries."""

    labels: IrnLabelStage = IrnLabelStage()
    model: IrnSettings = IrnSettings()
    walk: IrnWalkStage = IrnWalkStage()
    threshold: float | None = Field(
        default=0.25, gt=0, lt=1, description="background score of the result; null: searched, as `threshold` says"
    )
