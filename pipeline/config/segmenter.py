"""Settings of the segmentation network trained on masks."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config.base import Settings
from pipeline.config.network import NetworkSettings
from pipeline.config.training import TrainingSettings, check_batch


class SegmenterSettings(Settings):
    """A backbone with a decoder, trained with cross-entropy."""

    network: NetworkSettings = NetworkSettings(decoder="deeplabv3plus")
    training: TrainingSettings = TrainingSettings()
    lr_scale: float = Field(default=10.0, gt=0, description="factor on the learning rate of the decoder")
    loss_resolution: Literal["image", "decoder"] = Field(
        default="image",
        description="image: scores are enlarged to the mask (DeepLab-v3+); decoder: the mask is reduced (DeepLab-v2)",
    )

    @model_validator(mode="after")
    def _parts_fit(self) -> "SegmenterSettings":
        check_batch(self.network, self.training)
        return self
