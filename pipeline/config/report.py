"""What the report shows."""

from pydantic import Field

from pipeline.config.base import Settings


class ReportSettings(Settings):
    """Section ``report`` of a configuration."""

    images: int = Field(default=4, ge=1, le=50, description="images in each of the groups worst, best, random")
    thumbnail: int = Field(default=200, ge=50, le=300, description="longest side of a picture, pixels")


class ReportStage(ReportSettings):
    """Settings of the stage ``report``."""

    title: str = Field(description="heading of the page")
