"""Settings of the multi-label classifier."""

from pydantic import Field, field_validator

from pipeline.config.base import Settings
from pipeline.config.network import NetworkSettings
from pipeline.config.training import TrainingSettings


class ClassifierSettings(Settings):
    """A backbone with a linear classifier, trained on tags."""

    network: NetworkSettings = NetworkSettings()
    training: TrainingSettings = TrainingSettings()
    lr_scale: float = Field(default=10.0, gt=0, description="factor on the learning rate of the classifier's layer")

    @field_validator("network")
    @classmethod
    def _no_decoder(cls, network: NetworkSettings) -> NetworkSettings:
        if network.decoder != "none":
            raise ValueError(f"a classifier has no decoder; found '{network.decoder}', allowed: 'none'")
        return network
