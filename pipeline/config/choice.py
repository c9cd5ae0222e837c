"""Choosing the best of several mask stores."""

from pydantic import Field

from pipeline.config.base import Settings


class ChoiceSettings(Settings):
    """Settings of the stage ``choose_masks``."""

    split: str = Field(description="labelled split whose mean IoU decides")
