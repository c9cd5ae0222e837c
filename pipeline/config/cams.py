"""How class activation maps are made."""

from typing import Literal

from pydantic import Field

from pipeline.config.base import Settings
from pipeline.config.inference import MultiScaleSettings


class CamSettings(Settings):
    """Settings of the stage ``infer_cams``."""

    split: str | None = Field(
        default=None,
        description="split to make maps of, several joined by +; null: all images that have what is needed",
    )
    multi_scale: MultiScaleSettings = MultiScaleSettings(scales=(0.5, 1.0, 1.5, 2.0), flip=True)
    branch: int | None = Field(
        default=None, ge=0, description="which network of a file with several, from 0; null: it holds one"
    )
    classes: Literal["tags", "predicted"] = Field(
        default="tags", description="which classes get a map: those of the tags, or those the classifier finds"
    )
    threshold: float = Field(
        default=0.5, gt=0, lt=1, description="least probability of a class with 'classes: predicted'"
    )
    stride: int = Field(default=4, ge=1, description="image pixels per stored score")
