"""How boxes become masks of objects."""

from typing import Literal

from pydantic import Field

from pipeline.config.base import Settings

Hierarchy = Literal["boundary", "spectral_boundary", "volume", "area", "colour", "texture", "spectral"]


class GrabCutSettings(Settings):
    """GrabCut of single boxes."""

    iterations: int = Field(default=1, ge=1, description="rounds of fitting colours and cutting (tutorials: 5)")
    samples: int | None = Field(
        default=5000,
        ge=50,
        description="most pixels inside and outside the box that colours are fitted to, evenly spread; null: all",
    )
    others: bool = Field(
        default=True,
        description="boxes of other objects are no sample of the ground's colours, smaller ones none of the object's",
    )
    min_share: float = Field(
        default=0.1, ge=0, lt=1, description="a foreground below this share of its box counts as collapsed"
    )
    restart: bool = Field(
        default=True, description="cut a collapsed object again, the core of its box being surely foreground"
    )
    core: float = Field(default=0.4, gt=0, le=1, description="side of that core, as a share of the box's")
    fallback: Literal["box", "ignore", "keep"] = Field(
        default="ignore",
        description="an object that stays collapsed becomes: the filled box, an ignored box, what it is",
    )
    seed: int = Field(default=0, ge=0, description="seed of the colour models' first clusters")


class ChoiceOfCandidate(Settings):
    """Which candidate stands for the object in a box."""

    by: Literal["balanced", "tight_box", "filled_box"] = Field(
        default="balanced",
        description="tight_box: IoU of the candidate's tight box with the box; filled_box: IoU of the candidate with "
        "the filled box; balanced: share of the box it spans + share of it inside + IoU with a soft ellipse",
    )
    clip: bool = Field(default=True, description="cut the chosen candidate at the box")


class GroupingSettings(Settings):
    """Combinatorial grouping."""

    edges: str | None = Field(
        default=None,
        description="folder of edge maps <id>.png (grey, 255 strongest), relative to the data root, such as those of a "
        "trained edge detector; null: colour gradients",
    )
    hierarchies: tuple[Hierarchy, ...] = Field(
        default=("boundary", "spectral_boundary", "volume", "area", "colour", "texture", "spectral"),
        min_length=1,
        description="trees of regions: by mean boundary strength (with spectral cues), by volume or area of basins, by "
        "colour, by colour and texture, by eigenvectors",
    )
    regions: Literal[1, 2, 3] = Field(default=2, description="most neighbouring regions a candidate is made of")
    choice: ChoiceOfCandidate = ChoiceOfCandidate()


class McgSettings(Settings):
    """Pre-computed MCG candidates."""

    folder: str = Field(description="folder of <id>.mat files of pre-computed candidates, relative to the data root")
    choice: ChoiceOfCandidate = ChoiceOfCandidate(by="tight_box")


class _OfSplit(Settings):
    split: str = Field(description="split whose boxes get masks, several joined by +")


class GrabCutStage(GrabCutSettings, _OfSplit):
    """Settings of the stage ``propose_grabcut``."""


class GroupingStage(GroupingSettings, _OfSplit):
    """Settings of the stage ``propose_groups``."""


class McgStage(McgSettings, _OfSplit):
    """Settings of the stage ``propose_mcg``."""


class FusionStage(_OfSplit):
    """Settings of the stage ``fuse_proposals``."""
