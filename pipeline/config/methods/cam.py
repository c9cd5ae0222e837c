"""Settings of the baseline ``cam``: classifier, activation maps, refinement, segmenter."""

from typing import Literal

from pydantic import model_validator

from pipeline.config.background import LabelSettings, ThresholdSettings
from pipeline.config.base import Settings
from pipeline.config.cams import CamSettings
from pipeline.config.classifier import ClassifierSettings
from pipeline.config.evaluation import EvaluationSettings
from pipeline.config.inference import InferenceSettings
from pipeline.config.refine import CrfStage, ParStage
from pipeline.config.report import ReportSettings
from pipeline.config.run import RunConfig
from pipeline.config.segmenter import SegmenterSettings


class RefineSettings(Settings):
    """From activation maps to pseudo-masks: PAR (null: left out), then a dense CRF."""

    par: ParStage | None = None
    crf: CrfStage = CrfStage()


class Config(RunConfig):
    """Configuration of method ``cam``; ``threshold`` and ``evaluation`` need true masks, null leaves them out."""

    method: Literal["cam"]
    classifier: ClassifierSettings
    cams: CamSettings = CamSettings(split="train")
    threshold: ThresholdSettings | None = None
    labels: LabelSettings = LabelSettings()
    refine: RefineSettings = RefineSettings()
    segmenter: SegmenterSettings
    predict: InferenceSettings = InferenceSettings(split="val")
    predict_crf: CrfStage = CrfStage()
    evaluation: EvaluationSettings | None = None
    report: ReportSettings = ReportSettings()

    @model_validator(mode="after")
    def _splits_are_named(self) -> "Config":
        if self.data.masks is None and (self.threshold is not None or self.evaluation is not None):
            raise ValueError("without true masks (data.masks: null) set threshold: null and evaluation: null")
        if self.evaluation is not None and self.threshold is None:
            raise ValueError("evaluation measures CAMs on threshold.split; set threshold, or evaluation: null")
        for section, split in (("cams", self.cams.split), ("predict", self.predict.split)):
            if split is None:
                raise ValueError(
                    f"{section}.split must name a split: cams.split is trained on, predict.split measured on"
                )
        return self
