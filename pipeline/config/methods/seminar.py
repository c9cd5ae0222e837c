"""Settings of Seminar learning: clicks or scribbles, an ancillary model, a chain of primary models."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.config.inference import InferenceSettings
from pipeline.config.labels import SparseLabelSettings
from pipeline.config.run import RunConfig
from pipeline.config.seminar import PseudoLabelSettings, SeminarSettings


class Config(RunConfig):
    """Configuration of method ``seminar``."""

    decided: ClassVar[tuple[str, ...]] = (*RunConfig.decided, "heterogeneous.split")

    method: Literal["seminar"]
    split: str = Field(default="train", description="split to train on, several joined by +")
    labels: SparseLabelSettings | None = Field(
        default=SparseLabelSettings(), description="clicks or scribbles; null: the true masks (full supervision)"
    )
    model: SeminarSettings = Field(description="the ancillary model, and the primary ones but for their pseudo-labels")
    pseudo: PseudoLabelSettings = PseudoLabelSettings()
    modules: int = Field(default=1, ge=0, le=9, description="primary models in a row (student-student modules)")
    source: Literal["student_student", "self_reset", "self_unchanged"] = Field(
        default="student_student",
        description="whose pseudo-labels: another model's, or its own, going on with its weights (Fig. 4) at the "
        "learning rate of the start or of the end",
    )
    equal_seeds: bool = Field(default=False, description="all models share the seed, a negative control")
    heterogeneous: InferenceSettings = Field(
        default=InferenceSettings(), description="how pseudo-labels are written for inspection, and for mode offline"
    )
    given_masks: str | None = Field(
        default=None, description="mask store that replaces the first model's pseudo-labels; needs pseudo.mode: offline"
    )

    @model_validator(mode="after")
    def _parts_fit(self) -> "Config":
        if self.model.pseudo is not None or self.model.start != "backbone":
            raise ValueError("pseudo-labels belong under `pseudo`, and `source` decides the start; unset them in model")
        if self.given_masks is not None and self.pseudo.mode != "offline":
            raise ValueError("given_masks needs pseudo.mode: offline")
        if self.data.masks is None and (self.labels is None or self.labels.source == "masks"):
            raise ValueError("without true masks (data.masks: null) labels.source must be files or boxes")
        return self

    @property
    def supervision(self) -> str:
        """Labels the run learns from."""
        if self.labels is None:
            return "true masks"
        origin = "by people" if self.labels.source == "files" else f"simulated from {self.labels.source}"
        return f"{self.labels.kind} of {self.labels.size} px, {origin}"

    def settings_of(self, module: int) -> SeminarSettings:
        """Settings of model ``module``: 0 is the ancillary one."""
        if module == 0:
            return self.model
        own = self.source != "student_student"
        changes: dict[str, object] = {"pseudo": self.pseudo, "start": "previous" if own else "backbone"}
        if self.source == "self_unchanged":
            training = self.model.training
            last = training.optimiser.lr * (1 / training.steps) ** training.schedule.power
            changes["training"] = training.model_copy(
                update={
                    "optimiser": training.optimiser.model_copy(update={"lr": max(last, training.schedule.min_lr)}),
                    "schedule": training.schedule.model_copy(update={"power": 0.0, "warmup_steps": 0}),
                }
            )
        return self.model.model_copy(update=changes)

    def seed_of(self, module: int) -> int:
        """Seed of model ``module``; each has its own unless ``equal_seeds``."""
        return self.seed if self.equal_seeds else self.seed + 1000 * module
