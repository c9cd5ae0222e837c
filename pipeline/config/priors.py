"""What a network sees of boxes beside the image."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config.base import Settings


class PriorSettings(Settings):
    """Position and class prior (MDH, Sec. 3.2), further channels after RGB."""

    position: bool = Field(default=True, description="distance from the edges of the boxes (Eq. 1 and 2)")
    classes: bool = Field(default=True, description="class of the smallest box around a pixel")
    order: Literal["truncate_first", "rescale_first"] = Field(
        default="truncate_first",
        description="of Eq. 2: as printed, or distances are stretched before they are cut at 0..255",
    )
    normalise: bool = Field(default=True, description="both in 0..1; false: 0..255 and class indices")
    initial: Literal["zeros", "mean_rgb", "kaiming"] = Field(
        default="zeros", description="the first convolution's weights of these channels, where it starts from weights"
    )

    @model_validator(mode="after")
    def _something_is_left(self) -> "PriorSettings":
        if not (self.position or self.classes):
            raise ValueError("priors without position and classes have no channel; set priors to null")
        return self

    @property
    def channels(self) -> int:
        """How many there are."""
        return self.position + self.classes
