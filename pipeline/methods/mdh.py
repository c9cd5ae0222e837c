"""Mixed-dual-head (MDH): a strong head learns from true masks and a few pseudo-masks, a weak one from pseudo-masks.

    L = CE(strong head) + CE(weak head)    (Sec. 3.3)

Both heads stand on one extractor, whose batch norm sees all images of a step together; the strong head is exported.
AnnNet, which makes pseudo-masks, sees position and class priors of the boxes as further channels; SegNet does not.
The paper leaves open: the width of the heads (here that of the decoder), the weight of the two losses (equal), which
images make a batch (see :class:`pipeline.config.mdh.HeadsSettings`), and whether rounds restart (they do).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from pipeline.config.classes import ClassTable
from pipeline.config.mdh import HeadsSettings
from pipeline.config.mdh import MdhSettings as Settings
from pipeline.data.mixed import Stream
from pipeline.errors import PseudomaskError
from pipeline.methods.losses import segmentation_loss
from pipeline.methods.objective import Batch, Objective, ParameterGroup, backbone_and_rest
from pipeline.nets.decoders import Headed, upsample
from pipeline.nets.exported import check_classes, load_segmenter
from pipeline.nets.segmentation import SegmentationNetwork
from pipeline.nets.weights import initialised

__all__ = ["STRONG", "WEAK", "MixedDualHead", "Settings", "build", "streams"]

FULL, PSEUDO = "mask", "pseudo"
STRONG, WEAK = 1, 2
"""Bits of a sample's role: which heads learn from it."""


class MixedDualHead(Objective):
    """An extractor with one head or two.

    Args:
        network: extractor and strong head.
        settings: heads and batch.
        ignore: value of pixels without label.
    """

    fields = frozenset({"mask"})

    def __init__(self, network: SegmentationNetwork, settings: Settings, ignore: int) -> None:
        super().__init__()
        self.network = network
        self.weak = None if settings.heads.kind == "single" else self._decoder.second_head()
        self.streams = streams(settings.heads)
        self._settings, self._ignore = settings, ignore

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """Backbone, then decoder and heads at ``lr_scale`` times the rate."""
        networks = [self.network] if self.weak is None else [self.network, self.weak]
        return backbone_and_rest(networks, self._settings.lr_scale)

    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:  # noqa: ARG002
        """Cross-entropy of each head on its images."""
        role, mask = batch["role"], batch["mask"]
        decoder = self._decoder
        features = decoder.embed(self.network.backbone(batch["image"]))
        strong = (role & STRONG) > 0
        parts = {"strong": self._loss(decoder.head, features[strong], mask[strong])}
        if self.weak is not None:
            weak = (role & WEAK) > 0
            weight = self._settings.heads.weak_weight
            parts["weak"] = weight * self._loss(self.weak, features[weak], mask[weak])
        return parts

    def export(self) -> SegmentationNetwork:
        """Extractor and strong head."""
        return self.network

    @property
    def _decoder(self) -> Headed:
        assert isinstance(self.network.decoder, Headed)
        return self.network.decoder

    def _loss(self, head: nn.Module, features: Tensor, mask: Tensor) -> Tensor:
        return segmentation_loss(upsample(head(features).float(), mask.shape[-2:]), mask, self._ignore)


def streams(heads: HeadsSettings) -> tuple[Stream, ...]:
    """What a batch is made of: images with true masks, with pseudo-masks, and which heads learn from each."""
    if heads.kind == "single":
        return (Stream((FULL, PSEUDO), (STRONG,) * heads.strong_batch),)
    mixed = heads.mixed_in
    full = Stream((FULL,), (STRONG,) * (heads.strong_batch - mixed))
    if not mixed:
        return full, Stream((PSEUDO,), (WEAK,) * heads.weak_batch)
    if not heads.shared:
        return full, Stream((PSEUDO,), (STRONG,) * mixed), Stream((PSEUDO,), (WEAK,) * heads.weak_batch)
    # Spread evenly, so that every micro-batch gets its share.
    roles = [WEAK] * heads.weak_batch
    for number in range(mixed):
        roles[number * heads.weak_batch // mixed] |= STRONG
    return full, Stream((PSEUDO,), tuple(roles))


def build(settings: Settings, classes: ClassTable, weights_root: Path, networks: Mapping[str, Path]) -> MixedDualHead:
    """The objective; with ``start: previous``, ``networks["previous"]`` is the network to go on with.

    Raises:
        PseudomaskError: the network cannot be built, or weights not be loaded.
    """
    network = initialised(SegmentationNetwork(settings.network, len(classes)), settings.network, weights_root)
    if settings.start == "previous":
        if "previous" not in networks:
            raise PseudomaskError("start: previous needs the network before, which is not connected")
        previous, _, found = load_segmenter(networks["previous"])
        check_classes(classes, found, networks["previous"])
        network.load_state_dict(previous.state_dict())
    return MixedDualHead(network, settings, classes.ignore)
