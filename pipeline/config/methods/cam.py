"""Settings of the baseline ``cam``: classifier, activation maps, refinement, segmenter."""

from typing import Literal

from pydantic import Field

from pipeline.config.classifier import ClassifierSettings
from pipeline.config.pseudo_masks import PseudoMaskConfig
from pipeline.config.refine import CrfStage
from pipeline.config.segmenter import SegmenterSettings


class Config(PseudoMaskConfig):
    """Configuration of method ``cam``."""

    method: Literal["cam"]
    classifier: ClassifierSettings
    segmenter: SegmenterSettings | None = Field(description="null: the run ends with pseudo-masks")
    predict_crf: CrfStage | None = CrfStage()
