"""Two networks learn from masks where these are trusted, and from each other elsewhere (BECO, Rong et al., CVPR 2023;
KTSE's final stage).

    L = sum_i mean(M CE(P_i, Y) (1 + w E)) + mean((1 - M) CE(P_i, argmax P_j)),  j != i

M is 1 where the label Y is trusted, E on the edges of pasted regions, which there are once mixtures bear the networks'
own labels. Means are over all pixels; padding has no part in the sums.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config.classes import ClassTable
from pipeline.config.cotraining import CotrainingSettings as Settings
from pipeline.config.cotraining import MixSettings
from pipeline.data.strong import jitter_colours
from pipeline.methods.losses import cross_entropy, probabilities_of, sum_of
from pipeline.methods.objective import Batch, Objective, ParameterGroup, backbone_and_rest
from pipeline.nets.decoders import strongest_class, upsample
from pipeline.nets.inference import normalise, unnormalise
from pipeline.nets.segmentation import SegmentationNetwork
from pipeline.nets.weights import initialised

__all__ = ["Cotraining", "Settings", "build", "class_regions", "co_losses", "edges"]


class Cotraining(Objective):
    """Trains one or two :class:`SegmentationNetwork`.

    Args:
        networks: which share nothing.
        settings: mixing, colours.
        classes: number of classes and the ignore value.
    """

    fields = frozenset({"mask", "confidence"})

    def __init__(self, networks: Sequence[SegmentationNetwork], settings: Settings, classes: ClassTable) -> None:
        super().__init__()
        self.each = list(networks)
        self.networks = nn.ModuleList(networks)
        self._settings, self._classes, self._ignore = settings, len(classes), classes.ignore

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """Backbones, then decoders at ``lr_scale`` times the rate."""
        return backbone_and_rest(self.each, self._settings.lr_scale)

    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Both halves of the loss, on mixed and recoloured images."""
        image, labels, trusted, used = batch["image"], batch["mask"], batch["confidence"] == 1, batch["valid"]
        edge = torch.zeros_like(used)
        mix, strong = self._settings.mix, self._settings.strong
        if mix is not None:
            image, labels, trusted, used, edge = self._mixed(image, labels, trusted, used, mix, step)
        if strong is not None:
            network = self._settings.network
            image = normalise(jitter_colours(unnormalise(image, network), strong), network)
            image = image.contiguous(memory_format=torch.channels_last)
        size = image.shape[-2:]
        logits = [upsample(network(image).float(), size) for network in self.each]
        weight = mix.boundary_weight if mix is not None else 0.0
        return co_losses(logits, labels, trusted, used, 1 + weight * edge, self._ignore)

    def export(self) -> nn.Module:
        """All networks."""
        return self.networks

    def _mixed(
        self, image: Tensor, labels: Tensor, trusted: Tensor, used: Tensor, mix: MixSettings, step: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Image, labels, trust, padding and edges after pasting."""
        own, sure = labels, trusted
        online = step >= mix.own_from_step
        if online:
            own, sure = self._own_labels(image, used, mix.confidence)
        half = len(image) // 2
        source = own.masked_fill(~sure, self._ignore) if online else own
        pasted = class_regions(source, self._classes).roll(half, 0)
        chosen = (torch.rand(len(image), device=image.device) < mix.probability)[:, None, None]
        pasted &= chosen
        if online:
            labels, trusted = torch.where(chosen, own, labels), torch.where(chosen, sure, trusted)
        results = [torch.where(pasted, of.roll(half, 0), mine) for of, mine in ((own, labels), (sure, trusted))]
        mixed = torch.where(pasted[:, None], image.roll(half, 0), image)
        edge = edges(pasted, mix.boundary_size) if online else torch.zeros_like(pasted)
        return mixed, results[0], results[1], torch.where(pasted, used.roll(half, 0), used), edge

    @torch.no_grad()
    def _own_labels(self, image: Tensor, used: Tensor, confidence: float) -> tuple[Tensor, Tensor]:
        """The networks' common classes, int64 (B, H, W), and where they are sure of them."""
        self.networks.eval()
        logits = reduce(torch.add, (network(image).float() for network in self.each)) / len(self.each)
        self.networks.train()
        probability, classes = probabilities_of(upsample(logits, image.shape[-2:])).max(1)
        return classes.masked_fill(~used, self._ignore), (probability > confidence) & used


def co_losses(
    logits: Sequence[Tensor], labels: Tensor, trusted: Tensor, used: Tensor, weight: Tensor, ignore: int
) -> dict[str, Tensor]:
    """Loss of trusted labels and, with two networks, of the other's classes elsewhere.

    Args:
        logits: one or two (B, C, H, W).
        labels: int64 (B, H, W).
        trusted: bool (B, H, W), M.
        used: bool (B, H, W), False in padding.
        weight: (B, H, W), 1 + w E.
        ignore: value of pixels without label.
    """
    given, others = [], []
    for number, own in enumerate(logits):
        # A pixel learns from its label or from the other network, never from both: one cross-entropy serves the two.
        target = torch.where(trusted, labels, strongest_class(logits[1 - number])) if len(logits) > 1 else labels
        losses = cross_entropy(own, target, ignore)
        given.append((losses * weight * (trusted & used)).mean())
        if len(logits) > 1:
            others.append((losses * (~trusted & used)).mean())
    parts = {"trusted": sum_of(given)}
    return parts | {"other": sum_of(others)} if others else parts


def class_regions(labels: Tensor, classes: int) -> Tensor:
    """Pixels of a random half, rounded up, of the foreground classes of each image, bool (B, H, W).

    Args:
        labels: int64 (B, H, W); values from ``classes`` on are no class.
        classes: number of classes, background included.
    """
    known = labels.clamp(max=classes).flatten(1)
    present = torch.zeros(len(labels), classes + 1, device=labels.device).scatter_(1, known, 1.0)
    present[:, 0] = present[:, -1] = 0
    order = (torch.rand_like(present) * present).argsort(1, descending=True).argsort(1)
    chosen = (order < (present.sum(1, keepdim=True) / 2).ceil()) & (present > 0)
    return chosen.gather(1, known).view_as(labels)


def edges(region: Tensor, size: int) -> Tensor:
    """Pixels within ``size`` of the edge of a region, bool (B, H, W): what dilation adds and erosion takes."""
    both = torch.stack([region, ~region], 1).float()
    grown = F.max_pool2d(both, 2 * size + 1, stride=1, padding=size)
    return (grown[:, 0] > 0) & (grown[:, 1] > 0)


def build(settings: Settings, classes: ClassTable, weights_root: Path, networks: Mapping[str, Path]) -> Cotraining:  # noqa: ARG001
    """The objective; all backbones start from ``settings.network.weights`` below ``weights_root``.

    Raises:
        PseudomaskError: a network cannot be built or its weights not be loaded.
    """
    each = [
        initialised(SegmentationNetwork(settings.network, len(classes)), settings.network, weights_root)
        for _ in range(settings.networks)
    ]
    return Cotraining(each, settings, classes)
