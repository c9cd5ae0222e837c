"""Settings of DuPL: two students, thresholds that fall, filtered labels, consistency."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config.base import Settings, Share
from pipeline.config.inference import MultiScaleSettings
from pipeline.config.network import NetworkSettings
from pipeline.config.refine import ParSettings
from pipeline.config.training import TrainingSettings


class DiscrepancySettings(Settings):
    """Loss that keeps the students' features apart (Eq. 2 and 3)."""

    weight: float = Field(default=0.1, gt=0, description="lambda_1")
    start_step: int = Field(default=0, ge=0, description="first step")
    form: Literal["log", "one_plus_cos"] = Field(
        default="log", description="-log(1 - cos) of the paper, or 1 + cos of the code"
    )
    axis: Literal["token", "spatial_per_channel", "global_flat"] = Field(
        default="token",
        description="vectors compared: features of each place; each channel over all places (code); everything at once",
    )


class ThresholdSchedule(Settings):
    """From activation maps to labels: below low is background, above high is foreground, between is ignored (Eq. 5)."""

    low: Share = Field(default=0.25, description="tau_l")
    high_start: Share = Field(default=0.7, description="tau_h(0)")
    high_end: Share = Field(default=0.55, description="tau_h(T)")
    dynamic: bool = Field(default=True, description="tau_h falls along a cosine; false: it stays at tau_h(0)")
    per_class_end: dict[str, Share] = Field(
        default_factory=dict, description="tau_h(T) of single classes (the code has 0.7 for six classes of VOC)"
    )


class NoiseFilterSettings(Settings):
    """Adaptive noise filtering: labels the network's own loss speaks against are ignored (Eq. 6 and 7)."""

    start_step: int = Field(default=8000, ge=0, description="first step")
    gamma: Share = Field(default=0.9, description="posterior of the noise component above which a pixel is noise")
    eta: float = Field(default=1.0, gt=0, description="least distance of the components' means")
    min_loss: float = Field(default=0.1, ge=0, description="the mixture is fitted to losses above this (code)")
    min_pixels: int = Field(default=1000, ge=2, description="and only if there are more than so many (code)")
    only_above_clean_mean: bool = Field(
        default=False, description="a loss below the clean component's mean is never noise, though a wide one says so"
    )


class RegularisationSettings(Settings):
    """Consistency with a strongly changed view, where labels were filtered (Eq. 8)."""

    weight: float = Field(default=0.05, gt=0, description="lambda_3")
    target: Literal["own_prediction", "pseudo_label"] = Field(
        default="own_prediction",
        description="own_prediction: confident classes of the plain view (code); pseudo_label: labels before filtering",
    )
    confidence: Share = Field(default=0.9, description="least probability of an own prediction")
    operations: int = Field(default=5, ge=1, description="changes of colour per image")
    magnitude: float = Field(default=10, ge=0, le=30, description="strength of 30")
    scale: float = Field(default=0.75, gt=0, le=1, description="size of the changed view, which is also mirrored")


class TokenContrastSettings(Settings):
    """ToCo's patch-token contrast: features of equal label alike, of others not."""

    weight: float = Field(default=0.2, gt=0, description="weight of the term")
    start_step: int = Field(default=0, ge=0, description="first step")


class DuplSettings(Settings):
    """One training run; each part of the loss is left out by null."""

    network: NetworkSettings = NetworkSettings(decoder="largefov")
    training: TrainingSettings = TrainingSettings()
    lr_scale: float = Field(default=10.0, gt=0, description="factor on the learning rate of classifiers and decoder")
    dual: bool = Field(default=True, description="two students; false: one that learns from its own labels")
    cross_labels: bool = Field(default=True, description="a student learns from the other's labels, not its own")
    different_views: bool = Field(
        default=False, description="the second student sees the image mirrored and in other colours (Diff. Aug)"
    )
    pooling: Literal["max", "average"] = Field(default="max", description="from places to an image's logits")
    auxiliary: int | None = Field(
        default=-3, lt=0, description="features of the auxiliary classifier, counted from the last; null: none"
    )
    warmup_steps: int = Field(default=2000, ge=0, description="steps without segmentation")
    auxiliary_labels_until: int = Field(
        default=0,
        ge=0,
        description="until this step labels come from auxiliary maps, and tau_h does not fall (COCO's code)",
    )
    cam: MultiScaleSettings = MultiScaleSettings(scales=(1.0, 0.5, 1.5), flip=True)
    thresholds: ThresholdSchedule = ThresholdSchedule()
    par: ParSettings | None = Field(default=ParSettings(), description="refinement of the maps; null: none")
    segmentation_weight: float = Field(default=0.2, gt=0, description="lambda_2")
    discrepancy: DiscrepancySettings | None = DiscrepancySettings()
    noise: NoiseFilterSettings | None = NoiseFilterSettings()
    regularisation: RegularisationSettings | None = RegularisationSettings()
    contrast: TokenContrastSettings | None = TokenContrastSettings()

    @model_validator(mode="after")
    def _parts_fit(self) -> "DuplSettings":
        if self.regularisation is not None and self.noise is None:
            raise ValueError("regularisation acts where noise was filtered: set it to null, or noise to a mapping")
        if self.different_views and not self.dual:
            raise ValueError("different_views needs two students; set dual: true")
        return self
