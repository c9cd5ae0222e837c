"""Settings of two segmentation networks that teach each other (BECO)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.config.base import Settings
from pipeline.config.network import NetworkSettings
from pipeline.config.training import TrainingSettings, check_batch

Probability = Annotated[float, Field(ge=0, le=1)]


class MixSettings(Settings):
    """Objects of one image of the batch are pasted into another."""

    probability: Probability = Field(default=0.5, description="of an image getting something pasted")
    own_from_step: int = Field(
        default=0, ge=0, description="from this step on mixtures bear the networks' own labels (code: after 2 epochs)"
    )
    confidence: Probability = Field(default=0.95, description="probability above which own labels are trusted")
    boundary_size: int = Field(default=1, ge=1, description="pixels to each side of a pasted region's edge")
    boundary_weight: float = Field(default=0.2, ge=0, description="extra weight of trusted labels there")


class StrongSettings(Settings):
    """Changes of colour after mixing."""

    jitter: Probability = Field(
        default=0.8, description="probability of other brightness, contrast, saturation and hue"
    )
    strength: float = Field(default=0.5, ge=0, lt=1, description="factors 1 +- this; hue turns by half of it at most")
    grey: Probability = Field(default=0.2, description="probability of a grey image")
    blur: Probability = Field(default=0.5, description="probability of a blur of 0.1 to 2 pixels' deviation")


class CotrainingSettings(Settings):
    """Networks of equal make, each from random decoder weights of its own."""

    network: NetworkSettings = NetworkSettings(decoder="deeplabv2")
    training: TrainingSettings = TrainingSettings()
    lr_scale: float = Field(default=1.0, gt=0, description="factor on the learning rate of the decoders")
    networks: Literal[1, 2] = Field(default=2, description="1: no teaching where masks are not trusted")
    mix: MixSettings | None = MixSettings()
    strong: StrongSettings | None = StrongSettings()

    @model_validator(mode="after")
    def _parts_fit(self) -> "CotrainingSettings":
        check_batch(self.network, self.training)
        if self.mix is not None and self.training.batch_size // self.training.accumulate < 2:
            raise ValueError("mix pastes between images of a micro-batch, which needs two at least; or set mix to null")
        return self
