"""Settings of the multi-label classifier."""

from pydantic import Field

from pipeline.config.base import Settings
from pipeline.config.network import NetworkSettings, Undecoded
from pipeline.config.training import TrainingSettings


class ClassifierSettings(Settings):
    """A backbone with a linear classifier, trained on tags."""

    network: Undecoded = NetworkSettings()
    training: TrainingSettings = TrainingSettings()
    lr_scale: float = Field(default=10.0, gt=0, description="factor on the learning rate of the classifier's layer")
