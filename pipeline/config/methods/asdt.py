"""Settings of ASDT: a classifier, the network of teachers and student, its masks, a final segmenter."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.config.asdt import AsdtSettings
from pipeline.config.background import LabelSettings, ThresholdSettings
from pipeline.config.base import Settings
from pipeline.config.cams import CamSettings
from pipeline.config.classifier import ClassifierSettings
from pipeline.config.crf import CrfSettings
from pipeline.config.extra import ExtraSettings
from pipeline.config.inference import InferenceSettings
from pipeline.config.refine import CrfStage
from pipeline.config.run import RunConfig
from pipeline.config.segmenter import SegmenterSettings

Output = Literal["seg_teacher", "student", "maximum"]


class PseudoMaskSettings(Settings):
    """Masks of the training images, which the final segmenter learns from."""

    output: Output = Field(default="maximum", description="whose probabilities, or the larger ones of both (paper)")
    inference: InferenceSettings = InferenceSettings()
    crf: CrfStage | None = Field(default=CrfStage(crf=CrfSettings(preset="rrm")), description="null: none")


class Config(RunConfig):
    """Configuration of method ``asdt``."""

    decided: ClassVar[tuple[str, ...]] = (
        *(*RunConfig.decided, "cams.split", "cams.branch"),
        *("pseudo_masks.inference.split", "pseudo_masks.inference.branch"),
    )

    method: Literal["asdt"]
    split: str = Field(default="train", description="split to train on, several joined by +")
    extra: ExtraSettings | None = Field(default=None, description="further images that show one class each; null: none")
    classifier: ClassifierSettings | None = Field(
        default=None, description="training of the classifier that model.start: classifier goes on from"
    )
    model: AsdtSettings
    cams: CamSettings = Field(default=CamSettings(), description="activation maps of the trained class-teacher")
    labels: LabelSettings = Field(default=LabelSettings(), description="how these become masks")
    threshold: ThresholdSettings | None = Field(
        default=None, description="labelled split on which maps and pseudo-masks are measured, background score chosen"
    )
    pseudo_masks: PseudoMaskSettings = PseudoMaskSettings()
    segmenter: SegmenterSettings | None = Field(default=None, description="final network; null: none")

    @model_validator(mode="after")
    def _parts_fit(self) -> "Config":
        if (self.model.start == "classifier") != (self.classifier is not None):
            raise ValueError("model.start: classifier and the section `classifier` need each other")
        if self.pseudo_masks.output not in self.outputs:
            raise ValueError(f"strategy I has no output '{self.pseudo_masks.output}'; set pseudo_masks.output: student")
        return self

    @property
    def outputs(self) -> dict[str, int | str]:
        """Results of the network by name, and the branch each is read from."""
        if self.model.strategy == "I":
            return {"student": 0}
        return {"seg_teacher": 0, "student": 1, "maximum": "max"}
