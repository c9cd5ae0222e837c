"""Further images that show one class each, such as those of a classification data set."""

from pydantic import Field

from pipeline.config.base import Settings


class ExtraSettings(Settings):
    """Settings of the stage ``add_images``."""

    root: str = Field(description="folder of the image folders, relative to the data root")
    folders: dict[str, str] = Field(min_length=1, description="folder of images, and the class they all show")
    extension: str = Field(default=".jpg", description="file extension of images")
    split: str = Field(
        default="extra", pattern=r"^[\w.-]+$", description="split they form; name it in `split` to train on it"
    )
    limit: int | None = Field(default=None, ge=1, description="use the first so many images of each folder")
