"""Settings of DuPL: one training of two students; the better one may feed a final segmenter."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.config.background import LabelSettings, ThresholdSettings
from pipeline.config.base import Settings
from pipeline.config.cams import CamSettings
from pipeline.config.dupl import DuplSettings
from pipeline.config.inference import InferenceSettings
from pipeline.config.run import RunConfig
from pipeline.config.segmenter import SegmenterSettings


class FinalSettings(Settings):
    """Masks of the better student for the training images, and a segmenter trained on them."""

    masks: InferenceSettings = InferenceSettings()
    segmenter: SegmenterSettings = SegmenterSettings()


class Config(RunConfig):
    """Configuration of method ``dupl``."""

    decided: ClassVar[tuple[str, ...]] = (
        *(*RunConfig.decided, "cams.split", "cams.branch"),
        *("final.masks.split", "final.masks.branch"),
    )

    method: Literal["dupl"]
    split: str = Field(default="train", description="split to train on, several joined by +")
    model: DuplSettings
    cams: CamSettings = Field(default=CamSettings(), description="activation maps of the trained students")
    labels: LabelSettings = Field(default=LabelSettings(), description="how maps become masks (the paper: 0.5)")
    threshold: ThresholdSettings | None = Field(
        default=None, description="labelled split on which maps are measured, and the background score chosen"
    )
    choose_on: str | None = Field(
        default=None, description="labelled split on which the better student is chosen (code: val); null: the first"
    )
    final: FinalSettings | None = Field(default=None, description="a final segmenter, which the paper does without")

    @model_validator(mode="after")
    def _parts_fit(self) -> "Config":
        if self.data.masks is None and self.choose_on is not None:
            raise ValueError("without true masks (data.masks: null) set choose_on: null")
        return self

    @property
    def students(self) -> int:
        """How many there are."""
        return 2 if self.model.dual else 1
