"""Settings of full supervision: a segmenter trained on true masks, the bound of every method."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config.run import RunConfig
from pipeline.config.segmenter import SegmenterSettings


class Config(RunConfig):
    """Configuration of method ``supervised``."""

    method: Literal["supervised"]
    split: str = Field(default="train", description="split to train on, several joined by +")
    segmenter: SegmenterSettings

    @model_validator(mode="after")
    def _masks_are_given(self) -> "Config":
        if self.data.masks is None:
            raise ValueError("full supervision learns from true masks: set data.masks")
        return self

    @property
    def supervision(self) -> str:
        """Labels the run learns from, in words."""
        return "true masks"
