"""Settings of ASDT: a class-teacher, a segmentation teacher and their student, in one network."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config.base import Scale, Settings, Share
from pipeline.config.crf import CrfSettings
from pipeline.config.network import NetworkSettings
from pipeline.config.training import TrainingSettings


class ReliableSettings(Settings):
    """Labels of the class-teacher: where activation maps and two dense CRFs agree and are sure (RRM, AAAI 2020)."""

    low_alpha: float = Field(
        default=4.0, gt=0, description="exponent of the strong background (1 - largest map)^alpha foreground must beat"
    )
    high_alpha: float = Field(
        default=32.0, gt=0, description="exponent of the weak background; where it wins, the pixel is background"
    )
    crf: CrfSettings = Field(default=CrfSettings(preset="psa"), description="CRF on both")
    doubtful: float = Field(
        default=0.6, ge=0, lt=1, description="share of a class's pixels, the weakest ones, that is not sure"
    )
    least: float = Field(default=0.1, ge=0, lt=1, description="weaker pixels are not counted for that share")
    background: Share = Field(default=0.8, description="background score above which background is sure")
    confidence: float = Field(default=0.8, ge=0, le=1, description="least probability after the CRF")

    @model_validator(mode="after")
    def _backgrounds_differ(self) -> "ReliableSettings":
        if self.low_alpha > self.high_alpha:
            raise ValueError(f"low_alpha {self.low_alpha} must not be above high_alpha {self.high_alpha}")
        return self


class DistillationSettings(Settings):
    """Labels of the segmentation teacher: its probabilities of the present classes after a dense CRF."""

    crf: CrfSettings = CrfSettings(preset="rrm")
    targets: Literal["hard", "soft"] = Field(
        default="hard", description="hard: the strongest class (paper); soft: the probabilities themselves"
    )
    joint_alpha: float = Field(
        default=4.0, gt=0, description="strategies III and IV: background (1 - largest map)^alpha beside the maps"
    )


class AlternationSettings(Settings):
    """Which teacher the student listens to at which step (Eq. 4)."""

    period: int = Field(default=150, ge=1, description="T: steps until the pattern repeats")
    tau: float = Field(default=6.0, ge=1, description="T divided by the length of one of the two phases")
    tau_refers_to: Literal["structure", "location"] = Field(
        default="structure",
        description="phase whose length is T / tau: structure, of the segmentation teacher (code), or location, of "
        "the class-teacher (paper)",
    )
    warmup_steps: int = Field(default=1000, ge=0, description="first steps, all of the location phase (code)")
    order: Literal["structure_first", "location_first"] = Field(
        default="structure_first", description="phase a period begins with"
    )

    @property
    def structure_steps(self) -> int:
        """Steps of a period in which the student learns from the segmentation teacher."""
        named = round(self.period / self.tau)
        return named if self.tau_refers_to == "structure" else self.period - named


class StructureSettings(Settings):
    """L_str: the dense CRF's energy, gated where labels are known (RRM)."""

    weight: float = Field(default=1e-7, gt=0, description="weight; belongs to one crop and scale")
    sxy: float = Field(default=100.0, gt=0, description="deviation of position, pixels of the crop")
    srgb: float = Field(default=15.0, gt=0, description="deviation of colour, 0..255")
    scale: float = Field(default=0.5, gt=0, le=1, description="the energy is taken at this scale")


class LossWeights(Settings):
    """Factors of the parts of the loss."""

    classification: float = Field(default=1.0, gt=0, description="L_ce of the class-teacher")
    teacher: float = Field(default=0.5, gt=0, description="L of the segmentation teacher (0.5: code)")
    student: float = Field(default=0.5, gt=0, description="L of the student (0.5: code)")
    distillation: float = Field(
        default=1.0, gt=0, description="within the student's loss, cross-entropy with the segmentation teacher's labels"
    )


class AsdtSettings(Settings):
    """One training run."""

    network: NetworkSettings = NetworkSettings(decoder="rrm")
    training: TrainingSettings = TrainingSettings()
    start: Literal["backbone", "classifier"] = Field(
        default="classifier",
        description="initial weights: of the backbone alone, or backbone and class-teacher of the run's classifier",
    )
    lr_scale: float = Field(default=10.0, gt=0, description="factor on the learning rate of the three branches")
    biases: Literal["as_weights", "double"] = Field(
        default="as_weights", description="double: twice the learning rate and no weight decay, as the PSA family"
    )
    dropout: float = Field(default=0.5, ge=0, lt=1, description="of whole channels before the class-teacher's pooling")
    strategy: Literal["I", "II", "III", "IV", "V"] = Field(
        default="V",
        description="whom the student learns from (Table 4): I the class-teacher, II the segmentation teacher, "
        "III the maximum and IV the mean of both, V alternately",
    )
    alternation: AlternationSettings = AlternationSettings()
    cam_scales: tuple[Scale, ...] = Field(
        default=(1.0, 0.5, 1.5, 2.0), min_length=1, description="sizes at which the class-teacher looks; means of maps"
    )
    reliable: ReliableSettings = ReliableSettings()
    distillation: DistillationSettings = DistillationSettings()
    structure: StructureSettings | None = Field(default=StructureSettings(), description="L_str; null: none")
    weights: LossWeights = LossWeights()

    @model_validator(mode="after")
    def _parts_fit(self) -> "AsdtSettings":
        phases = self.alternation.structure_steps, self.alternation.period - self.alternation.structure_steps
        if self.strategy == "V" and min(phases) < 1:
            raise ValueError(
                f"alternation: a period of {self.alternation.period} with tau {self.alternation.tau:g} has "
                f"{phases[0]} structure and {phases[1]} location steps; both need at least one"
            )
        return self
