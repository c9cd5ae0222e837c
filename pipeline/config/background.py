"""How activation maps, which know no background, get a background score."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config.base import Settings


class BackgroundSettings(Settings):
    """The score a pixel's classes must beat."""

    kind: Literal["constant", "power"] = Field(
        default="constant", description="constant: a threshold (IRN, KTSE, DuPL); power: (1 - largest CAM)^alpha (PSA)"
    )
    threshold: float = Field(
        default=0.3, gt=0, lt=1, description="background score of kind constant, where no search found one"
    )
    offset: float = Field(default=0.0, gt=-1, lt=1, description="added to the threshold, given or found")
    alpha: float = Field(default=4.0, gt=0, description="exponent of kind power")

    def at(self, threshold: float) -> "BackgroundSettings":
        """The same with a constant background score."""
        return self.model_copy(update={"kind": "constant", "threshold": threshold})


class LabelSettings(Settings):
    """Settings of the stage ``label_scores``."""

    background: BackgroundSettings = BackgroundSettings()
    ignore_band: float = Field(
        default=0.0, ge=0, lt=0.5, description="scores this near to the threshold become the ignore value; 0: none"
    )
    min_probability: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="tau of MDH: pixels whose best probability is not above this become the ignore value",
    )


class ThresholdSettings(Settings):
    """Settings of the stage ``search_threshold``: which background score agrees best with a labelled split."""

    split: str = Field(description="labelled split, several joined by +")
    start: float = Field(default=0.05, ge=0, lt=1, description="first threshold tried")
    stop: float = Field(default=0.7, gt=0, le=1, description="last threshold tried")
    step: float = Field(default=0.01, gt=0, lt=1, description="distance of thresholds")
    classes: tuple[str, ...] = Field(default=(), description="classes whose mean IoU decides; none: all")

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> "ThresholdSettings":
        if self.start > self.stop:
            raise ValueError(f"start {self.start} is above stop {self.stop}")
        return self
