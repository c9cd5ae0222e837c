"""Segmentation network trained with cross-entropy on masks, true or pseudo (DeepLab, PSPNet).

The loss is the mean over labelled pixels of the whole batch. Not here: the multi-scale training of DeepLab-v2.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from pipeline.config.classes import ClassTable
from pipeline.config.segmenter import SegmenterSettings as Settings
from pipeline.methods.losses import reduce_mask, segmentation_loss
from pipeline.methods.objective import Batch, Objective, ParameterGroup, backbone_and_rest
from pipeline.nets.decoders import upsample
from pipeline.nets.segmentation import SegmentationNetwork
from pipeline.nets.weights import initialised

__all__ = ["Segmenter", "Settings", "build"]


class Segmenter(Objective):
    """Trains a :class:`SegmentationNetwork` on masks."""

    fields = frozenset({"mask"})

    def __init__(self, network: SegmentationNetwork, settings: Settings, ignore: int) -> None:
        super().__init__()
        self.network = network
        self._lr_scale = settings.lr_scale
        self._at_image = settings.loss_resolution == "image"
        self._ignore = ignore

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """Backbone, then the new decoder at ``lr_scale`` times the rate."""
        return backbone_and_rest([self.network], self._lr_scale)

    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:  # noqa: ARG002
        """Cross-entropy of the mask."""
        logits, mask = self.network(batch["image"]).float(), batch["mask"]
        if self._at_image:
            logits = upsample(logits, mask.shape[-2:])
        else:
            mask = reduce_mask(mask, logits.shape[-2:])
        return {"segmentation": segmentation_loss(logits, mask, self._ignore)}

    def export(self) -> SegmentationNetwork:
        """The segmentation network."""
        return self.network


def build(settings: Settings, classes: ClassTable, weights_root: Path, networks: Mapping[str, Path]) -> Segmenter:  # noqa: ARG001
    """The objective, its backbone initialised from ``settings.network.weights`` below ``weights_root``.

    Raises:
        PseudomaskError: the network cannot be built or its weights not be loaded.
    """
    network = initialised(SegmentationNetwork(settings.network, len(classes)), settings.network, weights_root)
    return Segmenter(network, settings, classes.ignore)
