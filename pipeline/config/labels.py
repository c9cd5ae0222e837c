"""Clicks and scribbles: where they come from and how they are drawn."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config.base import Settings


class SparseLabelSettings(Settings):
    """Settings of the stage ``import_labels``."""

    kind: Literal["clicks", "scribbles"] = Field(default="clicks", description="kind of label")
    source: Literal["files", "masks", "boxes"] = Field(
        default="masks", description="files: what people drew; masks, boxes: simulated from the true masks or the boxes"
    )
    size: Literal[1, 3, 5] = Field(default=1, description="diameter of a click or width of a scribble, pixels")
    clicks: str | None = Field(default=None, description="What's-the-Point JSON {id: [{x, y, cls, rank}]}")
    background_clicks: str | None = Field(default=None, description="Gated-CRF JSON of background points, same layout")
    max_rank: int | None = Field(default=None, ge=0, description="clicks of a higher rank are left out; null: none")
    scribbles: str | None = Field(default=None, description="folder of ScribbleSup XML files or index PNGs")
    background_points: int = Field(default=3, ge=0, description="simulated clicks on the background of each image")
    seed: int = Field(default=0, ge=0, description="seed of the simulation")

    @model_validator(mode="after")
    def _files_are_named(self) -> "SparseLabelSettings":
        wanted = self.clicks if self.kind == "clicks" else self.scribbles
        if self.source == "files" and wanted is None:
            raise ValueError(f"source files with kind {self.kind} needs the key '{self.kind}'")
        if self.source == "boxes" and self.kind == "scribbles":
            raise ValueError("scribbles cannot be simulated from boxes; use source masks, or clicks")
        return self
