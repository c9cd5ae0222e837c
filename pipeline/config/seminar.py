"""Settings of one model of Seminar learning: a student, its teacher, and the losses of the student."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config.base import Settings
from pipeline.config.network import NetworkSettings
from pipeline.config.training import TrainingSettings, check_batch


class TeacherSettings(Settings):
    """The moving average of the student."""

    decay: float = Field(default=0.999, gt=0, lt=1, description="alpha of Eq. 1; the first steps are a plain average")
    batch_norm: Literal["own", "copy", "average"] = Field(
        default="own", description="statistics: of its own forward passes (mean teacher), the student's, their average"
    )


class ConsistencySettings(Settings):
    """Squared difference of student and teacher (Eq. 3, with the sign it must have)."""

    weight: float = Field(default=200.0, gt=0, description="lambda_pCons after the ramp")
    ramp_steps: int = Field(default=35280, ge=0, description="steps of linear growth from 0; paper: 40 x 882")
    update_every: int = Field(default=882, ge=1, description="steps between changes of the weight; the paper: an epoch")
    reduction: Literal["mean_all", "sum_classes"] = Field(
        default="mean_all", description="mean over pixels and classes, or over pixels of the sum over classes"
    )


class EnergySettings(Settings):
    """The dense CRF's energy as a loss (Eq. 4; rloss)."""

    weight: float = Field(default=2e-9, gt=0, description="weight built into rloss")
    factor: float = Field(default=1.0, gt=0, description="lambda_CRF, on top of the weight")
    sxy: float = Field(default=100.0, gt=0, description="deviation of position, pixels of the crop")
    srgb: float = Field(default=15.0, gt=0, description="deviation of colour, 0..255")
    scale: float = Field(default=0.5, gt=0, le=1, description="the energy is taken at this scale")
    report: Literal["quadratic", "full"] = Field(
        default="quadratic", description="quadratic: the value of the code, negative; full: of the paper, from 0 on"
    )


class PseudoLabelSettings(Settings):
    """Heterogeneous pseudo-labels: what the finished student of the model before says (Eq. 6)."""

    weight: float = Field(default=1.0, gt=0, description="lambda_pseudo")
    mode: Literal["online", "offline"] = Field(
        default="online", description="online: predicted on the augmented image; offline: read from a mask store"
    )


class SeminarSettings(Settings):
    """One model: Eq. 5, with ``pseudo`` Eq. 7. Each part of the loss is left out by null."""

    network: NetworkSettings = NetworkSettings(decoder="deeplabv3plus")
    training: TrainingSettings = TrainingSettings()
    lr_scale: float = Field(default=10.0, gt=0, description="factor on the learning rate of the decoder")
    extra_batch_division: bool = Field(
        default=False, description="divide the cross-entropy of labels by the batch size once more, as rloss does"
    )
    teacher: TeacherSettings | None = TeacherSettings()
    consistency: ConsistencySettings | None = ConsistencySettings()
    crf: EnergySettings | None = EnergySettings()
    pseudo: PseudoLabelSettings | None = None
    start: Literal["backbone", "previous"] = Field(
        default="backbone", description="initial weights: the backbone's, or all of the model before (self-generation)"
    )
    output: Literal["student", "teacher"] = Field(default="student", description="network that is exported")

    @model_validator(mode="after")
    def _parts_fit(self) -> "SeminarSettings":
        if self.teacher is None and (self.consistency is not None or self.output == "teacher"):
            raise ValueError("consistency and output: teacher need a teacher; set them to null and student, or add it")
        if self.training.ema is not None:
            raise ValueError("training.ema has no place beside the teacher; use teacher.decay and output: teacher")
        check_batch(self.network, self.training)
        return self
