"""Segmentation network trained with cross-entropy on masks, true or pseudo (DeepLab, PSPNet).

The loss is the mean over labelled pixels of the whole batch. Not here: the multi-scale training of DeepLab-v2.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor
from torch.nn import functional as F

from pipeline.config.classes import ClassTable
from pipeline.config.network import NetworkSettings
from pipeline.config.segmenter import SegmenterSettings as Settings
from pipeline.config.training import TrainingSettings
from pipeline.errors import PseudomaskError
from pipeline.methods.objective import Batch, Objective, ParameterGroup
from pipeline.nets.decoders import upsample
from pipeline.nets.segmentation import SegmentationNetwork

__all__ = ["Segmenter", "Settings", "build", "check_batch", "segmentation_loss"]

_POOLS_THE_IMAGE = ("deeplabv3plus", "pspnet")


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
        backbone = [parameter for parameter in self.network.backbone.parameters() if parameter.requires_grad]
        decoder = list(self.network.decoder.parameters())
        return [ParameterGroup(backbone), ParameterGroup(decoder, lr_scale=self._lr_scale)]

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


def segmentation_loss(logits: Tensor, mask: Tensor, ignore: int) -> Tensor:
    """Mean cross-entropy over labelled pixels; 0, with gradient 0, where none is labelled.

    Args:
        logits: float (B, C, H, W).
        mask: int64 (B, H, W) of class indices and ``ignore``.
        ignore: value of pixels without label.
    """
    total = F.cross_entropy(logits, mask, ignore_index=ignore, reduction="sum")
    return total / (mask != ignore).sum().clamp(min=1)


def reduce_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Nearest pixels of int64 (B, H, W) masks at ``size`` (h, w), taken at the centres of the coarse pixels."""
    return F.interpolate(mask[:, None].float(), (size[0], size[1]), mode="nearest-exact")[:, 0].long()


def build(settings: Settings, classes: ClassTable, weights_root: Path, networks: Mapping[str, Path]) -> Segmenter:  # noqa: ARG001
    """The objective, its backbone initialised from ``settings.network.weights`` below ``weights_root``.

    Raises:
        PseudomaskError: the network cannot be built, its weights not be loaded, or the batch is too small for it.
    """
    check_batch(settings.network, settings.training)
    network = SegmentationNetwork.initial(settings.network, len(classes), weights_root)
    return Segmenter(network, settings, classes.ignore)


def check_batch(network: NetworkSettings, training: TrainingSettings) -> None:
    """Refuse micro-batches that batch norm cannot learn from.

    Raises:
        PseudomaskError: a decoder that normalises a value per image gets one image at a time.
    """
    if network.decoder in _POOLS_THE_IMAGE and training.batch_size == training.accumulate:
        raise PseudomaskError(
            f"decoder '{network.decoder}' normalises one value per image and cannot learn from micro-batches of 1; "
            f"found batch_size {training.batch_size} in {training.accumulate} parts: raise it or lower accumulate"
        )
