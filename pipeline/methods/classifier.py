"""Multi-label image classifier: the usual first step from tags to class activation maps (PSA, IRN).

Loss: mean over classes of binary cross-entropy on logits (``multilabel_soft_margin_loss`` of the reference codes).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor
from torch.nn import functional as F

from pipeline.config.classes import ClassTable
from pipeline.config.classifier import ClassifierSettings as Settings
from pipeline.methods.objective import Batch, Objective, ParameterGroup, backbone_and_rest
from pipeline.nets.classification import ClassificationNetwork
from pipeline.nets.weights import initialised

__all__ = ["Classifier", "Settings", "build"]


class Classifier(Objective):
    """Trains a :class:`ClassificationNetwork` on tags."""

    fields = frozenset({"tags"})

    def __init__(self, network: ClassificationNetwork, lr_scale: float) -> None:
        super().__init__()
        self.network = network
        self._lr_scale = lr_scale

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """Backbone, then the new classifier at ``lr_scale`` times the rate."""
        return backbone_and_rest([self.network], self._lr_scale)

    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:  # noqa: ARG002
        """Binary cross-entropy of the tags."""
        logits = self.network(batch["image"])
        return {"classification": F.binary_cross_entropy_with_logits(logits.float(), batch["tags"])}

    def export(self) -> ClassificationNetwork:
        """The classification network."""
        return self.network


def build(settings: Settings, classes: ClassTable, weights_root: Path, networks: Mapping[str, Path]) -> Classifier:  # noqa: ARG001
    """The objective, its backbone initialised from ``settings.network.weights`` below ``weights_root``.

    Raises:
        PseudomaskError: the network cannot be built or its weights not be loaded.
    """
    network = initialised(
        ClassificationNetwork(settings.network, len(classes.foreground)), settings.network, weights_root
    )
    return Classifier(network, settings.lr_scale)
