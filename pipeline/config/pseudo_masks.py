"""Settings of what lies between a classifier and masks of the training images, shared by methods."""

from pydantic import Field, model_validator

from pipeline.config.background import LabelSettings, ThresholdSettings
from pipeline.config.base import Settings
from pipeline.config.cams import CamSettings
from pipeline.config.irn import IrnRefinement
from pipeline.config.refine import CrfStage, ParStage
from pipeline.config.run import RunConfig


class RefineSettings(Settings):
    """From activation maps to pseudo-masks: PAR or IRN, then a dense CRF; null leaves a step out."""

    par: ParStage | None = None
    irn: IrnRefinement | None = None
    crf: CrfStage | None = CrfStage()

    @model_validator(mode="after")
    def _one_before_the_crf(self) -> "RefineSettings":
        if self.par is not None and self.irn is not None:
            raise ValueError("PAR and IRN both refine activation maps; set one of refine.par and refine.irn to null")
        return self


class PseudoMaskConfig(RunConfig):
    """Keys of methods with a classifier; ``threshold`` needs true masks, null leaves it out."""

    cams: CamSettings = CamSettings(split="train")
    threshold: ThresholdSettings | None = None
    labels: LabelSettings = LabelSettings()
    refine: RefineSettings = RefineSettings()
    given_masks: str | None = Field(
        default=None,
        description="mask store that later stages learn from instead of the pseudo-masks, such as these corrected by "
        "hand (`pseudomask import masks`)",
    )

    @model_validator(mode="after")
    def _splits_are_named(self) -> "PseudoMaskConfig":
        if self.threshold is None and self.refine.irn is not None and self.refine.irn.threshold is None:
            raise ValueError("refine.irn.threshold: null needs a labelled split to search on; set threshold")
        if self.cams.split is None:
            raise ValueError("cams.split must name a split: it is trained on")
        return self
