"""Settings of KTSE: classification with erasing, IRN, two segmentation networks that teach each other."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config.confidence import ConfidenceSettings
from pipeline.config.cotraining import CotrainingSettings
from pipeline.config.ktse import KtseSettings
from pipeline.config.pseudo_masks import PseudoMaskConfig
from pipeline.config.segmenter import SegmenterSettings


class Config(PseudoMaskConfig):
    """Configuration of method ``ktse``."""

    method: Literal["ktse"]
    classifier: KtseSettings
    confidence: ConfidenceSettings = ConfidenceSettings()
    cotraining: CotrainingSettings | None = Field(
        default=None, description="final networks that teach each other where masks are not trusted (BECO)"
    )
    segmenter: SegmenterSettings | None = Field(default=None, description="or one final network trained on the masks")

    @model_validator(mode="after")
    def _one_trainer(self) -> "Config":
        if (self.cotraining is None) == (self.segmenter is None):
            raise ValueError("set one of cotraining and segmenter, and the other to null")
        return self

    @model_validator(mode="after")
    def _batch_norm_has_statistics(self) -> "Config":
        network = self.classifier.network
        if self.classifier.warmup_steps == 0 and network.weights is None and network.batch_norm == "trained":
            raise ValueError(
                "batch norm of random weights learns its statistics in the warm-up: set classifier.warmup_steps"
            )
        return self

    @property
    def branch(self) -> int | Literal["mean"] | None:
        """How the final networks are joined."""
        if self.cotraining is None:
            return None
        return "mean" if self.cotraining.networks > 1 else 0
