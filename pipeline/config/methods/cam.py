"""Settings of the baseline ``cam``: classifier, activation maps, refinement, segmenter."""

from typing import Literal

from pydantic import model_validator

from pipeline.config.background import LabelSettings, ThresholdSettings
from pipeline.config.base import Settings
from pipeline.config.cams import CamSettings
from pipeline.config.classifier import ClassifierSettings
from pipeline.config.irn import IrnRefinement
from pipeline.config.refine import CrfStage, ParStage
from pipeline.config.run import RunConfig
from pipeline.config.segmenter import SegmenterSettings


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


class Config(RunConfig):
    """Configuration of method ``cam``; ``threshold`` and ``evaluation`` need true masks, null leaves them out."""

    method: Literal["cam"]
    classifier: ClassifierSettings
    cams: CamSettings = CamSettings(split="train")
    threshold: ThresholdSettings | None = None
    labels: LabelSettings = LabelSettings()
    refine: RefineSettings = RefineSettings()
    segmenter: SegmenterSettings
    predict_crf: CrfStage | None = CrfStage()

    @model_validator(mode="after")
    def _splits_are_named(self) -> "Config":
        if self.data.masks is None and self.threshold is not None:
            raise ValueError("without true masks (data.masks: null) set threshold: null")
        if self.cams.split is None:
            raise ValueError("cams.split must name a split: it is trained on")
        return self
