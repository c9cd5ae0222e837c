"""How a segmentation network is applied to images."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.base import Scale, Settings


class MultiScaleSettings(Settings):
    """Sizes and mirror images a network sees."""

    scales: tuple[Scale, ...] = Field(min_length=1, description="factors on the image size")
    flip: bool = Field(description="also look at the mirror image")


class InferenceSettings(Settings):
    """Settings of the stage ``infer_scores``."""

    split: str | None = Field(default=None, description="split to predict, several joined by +; null: all images")
    multi_scale: MultiScaleSettings = MultiScaleSettings(scales=(1.0,), flip=False)
    branch: Annotated[int, Field(ge=0)] | Literal["mean", "max"] | None = Field(
        default=None,
        description="which network of a file with several, from 0, or the mean or the maximum of their probabilities; "
        "null: it holds one",
    )
    fusion: Literal["mean", "max"] = Field(default="mean", description="how scores of several scales are joined")
    resize: Literal["none", "short_side", "square"] = Field(
        default="none",
        description="none: own size; short_side: that side gets `side` pixels; square: both do (DuPL 448, KTSE 512)",
    )
    side: int = Field(default=512, ge=16, description="pixels for `resize`, before scales apply")
    stride: int = Field(default=4, ge=1, description="image pixels per stored score")
    use_tags: bool = Field(
        default=False, description="leave out classes that the image's tags do not name; for images that are trained on"
    )
    min_probability: float = Field(
        default=0.01, ge=0, lt=1, description="classes that nowhere exceed this probability are not stored"
    )
