"""What the report shows."""

from pydantic import Field

from pipeline.config.base import Settings


class ReportSettings(Settings):
    """Section ``report`` of a configuration."""

    images: int = Field(
        default=4, ge=1, le=50, description="images of the contact sheet in each of the groups worst, best, random"
    )
    thumbnail: int = Field(
        default=256, ge=40, le=1024, description="longest side of a picture on the page at most, pixels"
    )
    megabytes: float = Field(
        default=19, gt=0, le=200, description="size of the page at most; pictures shrink with the number of images"
    )


class ReportStage(ReportSettings):
    """Settings of the stage ``report``."""

    title: str = Field(description="heading of the page")
    run: str = Field(description="name of the run, for commands that show an image again")
