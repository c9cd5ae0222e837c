"""Which pixels of masks are to be trusted."""

from pydantic import Field

from pipeline.config.background import BackgroundSettings
from pipeline.config.base import Settings


class ConfidenceSettings(Settings):
    """Section ``confidence`` of a configuration."""

    share: float = Field(default=0.5, gt=0, le=1, description="share of each class's pixels of an image (KTSE, BECO)")


class ConfidenceStage(ConfidenceSettings):
    """Settings of the stage ``mark_confidence``."""

    background: BackgroundSettings = Field(
        default=BackgroundSettings(), description="the background's score among activation maps"
    )
