"""What is measured, and how it is written down."""

from typing import Literal

from pydantic import Field

from pipeline.config.base import Settings

IgnoredAs = Literal["background", "excluded"]


class Protocol(Settings):
    """How masks are compared with the truth."""

    size: Literal["full", "center_crop"] = Field(
        default="full", description="full: own size; center_crop: short side resized to crop_size, then the centre"
    )
    crop_size: int = Field(default=513, ge=1, description="side of the centre crop")
    ignored_as: IgnoredAs = Field(
        default="background", description="pixels a mask leaves open count as background (IRN) or not at all"
    )
    boundary: bool = Field(default=False, description="also boundary IoU (2 % of the diagonal), which is slow")

    @property
    def name(self) -> str:
        """What a table says."""
        name = self.size if self.size == "full" else f"centre crop {self.crop_size}"
        return name if self.ignored_as == "background" else f"{name}, open pixels excluded"


class EvaluationSettings(Settings):
    """Section ``evaluation`` of a configuration."""

    protocols: tuple[Protocol, ...] = Field(default=(Protocol(),), min_length=1, description="each gives its own rows")
    subsets: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="named lists of classes to give a mean of their own"
    )


class Entry(Settings):
    """One row of the results: which masks on which split, and what a reader must know about them."""

    name: str = Field(description="row name, and the name of the mask store among the inputs")
    split: str = Field(description="split it is measured on")
    crf: bool = Field(description="whether a CRF had a part in the masks")
    scales: tuple[float, ...] = Field(default=(), description="scales of inference")
    flip: bool = Field(default=False, description="mirror images in inference")
    published: dict[str, float] = Field(
        default_factory=dict, description="mean IoU the paper reports for the row, by name of the protocol"
    )


class EvaluateStage(EvaluationSettings):
    """Settings of the stage ``evaluate``."""

    entries: tuple[Entry, ...] = Field(description="rows")
    seed: int = Field(ge=0, description="seed of the run")
    supervision: str = Field(description="labels the run learned from, in words")
