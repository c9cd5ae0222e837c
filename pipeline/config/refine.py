"""How scores become refined masks."""

from typing import Literal

from pydantic import Field

from pipeline.config.background import BackgroundSettings
from pipeline.config.base import Settings
from pipeline.config.crf import CrfSettings


class ParSettings(Settings):
    """Refinement by pixels of like colour."""

    kind: Literal["par", "pamr"] = Field(
        default="par", description="par: of AFA, also in ToCo, DuPL, KTSE; pamr: of 1-stage-wseg"
    )
    dilations: tuple[int, ...] = Field(default=(1, 2, 4, 8, 12, 24), min_length=1, description="neighbour distances")
    iterations: int = Field(default=10, ge=1, description="rounds of averaging")
    colour_weight: float | None = Field(
        default=None, gt=0, description="w1: width of the affinities in deviations; null: 0.3 of par, 0.1 of pamr"
    )
    position_weight: float = Field(default=0.01, ge=0, description="w2: share of the position term, of par alone")
    scale: float = Field(default=0.5, gt=0, le=1, description="image size at which it works")

    @property
    def width(self) -> float:
        """w1."""
        return self.colour_weight or (0.3 if self.kind == "par" else 0.1)


class ParStage(Settings):
    """Settings of the stage ``refine_par``."""

    background: BackgroundSettings = BackgroundSettings()
    par: ParSettings = ParSettings()


class CrfStage(Settings):
    """Settings of the stage ``refine_crf``."""

    background: BackgroundSettings = BackgroundSettings()
    crf: CrfSettings = CrfSettings(preset="psa")
    temperature: float = Field(
        default=1.0, gt=0, description="probabilities are raised to 1/temperature before the CRF"
    )
    confidence: float = Field(
        default=0.0, ge=0, lt=1, description="pixels whose largest probability stays below become the ignore value"
    )
