"""Published numbers as data of a preset."""

from typing import Any

from pydantic import Field

from pipeline.config.base import Settings


class PublishedRow(Settings):
    """One number of a paper, and how this preset measures it."""

    table: str = Field(description="where it stands in the paper")
    row: str = Field(description="what the paper calls it")
    split: str = Field(description="split it is measured on; `test` needs the data set's server")
    masks: tuple[str, ...] = Field(
        default=(), description="rows of this run's table that stand for it; none: it is not measured here"
    )
    miou: float = Field(gt=0, lt=100, description="mean IoU in per cent")
    protocol: str = Field(default="full", description="how masks and truth are compared")
    overrides: dict[str, Any] = Field(
        default_factory=dict, description="settings that make it of the preset, as after --config"
    )
    note: str | None = Field(default=None, description="what a reader must know")


class Expected(Settings):
    """What a publication reports for a preset."""

    preset: str = Field(description="the preset's own file below configs/; a changed copy does not claim its numbers")
    rows: tuple[PublishedRow, ...] = Field(min_length=1)
