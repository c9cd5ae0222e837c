"""KTSE (Chen et al., ECCV 2024): activation an object has alone is kept beside another image's objects.

    L = L_cls + L_kt + L_global + L_local + L_ce + 0.005 L_inter                                     (Eq. 10)

and, said in the text and done in the code, the cross-entropy of joined images. F are the maps of the network, A the
maps of present classes over their maxima. Where paper and code differ a setting chooses; see docs/ktse.md. Eq. 5 as
printed lacks a minus before its second term (foreground would be unlearned) and counts foreground pixels in the first
as well; text and code do not. Not from the code: padding takes no part in the labels; maps without any positive value
are all background, where the code divides by a negative maximum; batch norm that is trained keeps after the warm-up the
statistics it has, as the code's has those of ImageNet all along: maps of an image must differ by what is erased, not by
the other images of the batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.config.classes import ClassTable
from pipeline.config.ktse import InterClassSettings, MgaSettings, SieSettings, SsrSettings
from pipeline.config.ktse import KtseSettings as Settings
from pipeline.methods.losses import cross_entropy, reduce_mask
from pipeline.methods.objective import Batch, Objective, ParameterGroup, backbone_and_rest
from pipeline.nets.class_aware import ClassAwareNetwork
from pipeline.nets.decoders import upsample
from pipeline.nets.inference import unnormalise
from pipeline.nets.weights import initialised
from pipeline.refine.two_threshold import two_threshold_labels

__all__ = [
    "Ktse",
    "Settings",
    "build",
    "global_loss",
    "inter_class_loss",
    "local_loss",
    "normalised",
    "pixel_loss",
    "transfer_loss",
]

Join = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class _Seen:
    """Images each seen alone.

    Attributes:
        image: (N, 3, H, W), normalised.
        tags: (N, C-1).
        maps: F, (N, C, h, w).
        activation: A, (N, C-1, h, w), without gradient.
        labels: int64 (N, H', W'), one per ``stride`` pixels; None without self-supervision.
    """

    image: Tensor
    tags: Tensor
    maps: Tensor
    activation: Tensor
    labels: Tensor | None

    def take(self, index: Tensor | slice) -> "_Seen":
        labels = None if self.labels is None else self.labels[index]
        return _Seen(self.image[index], self.tags[index], self.maps[index], self.activation[index], labels)


class Ktse(Objective):
    """Trains a :class:`ClassAwareNetwork`.

    Args:
        network: what is trained.
        settings: parts of the loss.
        ignore: value of pixels without label.
    """

    fields = frozenset({"tags"})

    def __init__(self, network: ClassAwareNetwork, settings: Settings, ignore: int) -> None:
        super().__init__()
        self.network = network
        self._settings, self._ignore = settings, ignore
        sie = settings.sie
        self.partners = sie.pairs if sie is not None and sie.partner == "dataset" else 0

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """Backbone, then the head at ``lr_scale`` times the rate."""
        return backbone_and_rest([self.network], self._settings.lr_scale)

    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """The tags alone in the warm-up, then all parts."""
        settings = self._settings
        if step < settings.warmup_steps:
            first = slice(settings.warmup_batch)
            maps = self.network(batch["image"][first]).float()
            return {"classification": self._classification(maps, batch["tags"][first])}
        keep_statistics(self.network)
        seen = self._look(batch)
        count = len(batch["image"])
        anchors = seen.take(slice(count))
        parts = {"classification": self._classification(anchors.maps, anchors.tags)}
        if settings.ssr is not None:
            parts |= self._self_supervision(anchors, settings.ssr)
        if settings.sie is not None:
            parts |= self._erase_by_others(seen, count, settings.sie)
        if settings.mga is not None:
            parts |= self._erase_strongest(anchors, settings.mga)
        return parts

    def export(self) -> ClassAwareNetwork:
        """The classification network."""
        return self.network

    def _classification(self, maps: Tensor, tags: Tensor) -> Tensor:
        """Eq. 2."""
        return F.binary_cross_entropy_with_logits(self.network.pooled(maps[:, 1:])[0], tags)

    def _look(self, batch: Batch) -> _Seen:
        """Every image alone, once for all losses: those of the batch, then partners from the data set."""
        image, tags, valid = batch["image"], batch["tags"], batch["valid"]
        if self.partners:
            image = torch.cat([image, batch["partner_image"]])
            tags, valid = torch.cat([tags, batch["partner_tags"]]), torch.cat([valid, batch["partner_valid"]])
        maps = self.network(image).float()
        activation = normalised(maps.detach()[:, 1:], tags)
        labels = None
        if self._settings.ssr is not None:
            labels = self._labels(image, valid, activation, tags, self._settings.ssr)
        return _Seen(image, tags, maps, activation, labels)

    def _labels(self, image: Tensor, valid: Tensor, activation: Tensor, tags: Tensor, ssr: SsrSettings) -> Tensor:
        """Eq. 4."""
        size = [-(-side // ssr.stride) for side in image.shape[-2:]]
        colours = unnormalise(image, self._settings.network)
        high = activation.new_full((len(image),), ssr.high)
        labels = two_threshold_labels(activation, tags, ssr.low, high, size, self._ignore, colours, ssr.refine)
        return labels.masked_fill(reduce_mask(~valid, size) > 0, self._ignore)

    def _self_supervision(self, seen: _Seen, ssr: SsrSettings) -> dict[str, Tensor]:
        """Eq. 5 to 7 on images alone."""
        assert seen.labels is not None
        several = seen.tags.sum(1) > 1
        scores = upsample(F.relu(seen.maps) if ssr.rectified else seen.maps, seen.labels.shape[-2:])
        parts = {}
        if ssr.ce_anchor:
            of_foreground = ~several if ssr.simple_complex_split else torch.ones_like(several)
            parts["anchor"] = pixel_loss(scores, seen.labels, of_foreground, ssr.foreground_weight, self._ignore)
        if ssr.inter is not None:
            foreground = F.relu(scores[several, 1:])
            parts["inter"] = ssr.inter.weight * inter_class_loss(foreground, seen.activation[several], ssr.inter)
        return parts

    def _erase_by_others(self, seen: _Seen, count: int, sie: SieSettings) -> dict[str, Tensor]:
        """Eq. 3, and the cross-entropy of joined images."""
        pairs, tags = min(sie.pairs, count), seen.tags
        index = count + torch.arange(pairs, device=tags.device) if self.partners else random_partners(tags, pairs)
        anchors, partners = seen.take(slice(pairs)), seen.take(index)
        join = self._join(anchors, sie)
        alone = join(anchors.maps, partners.maps)
        joined = self.network(join(anchors.image, partners.image)).float()
        parts = {}
        if sie.weight:
            region, tags = None, torch.maximum(anchors.tags, partners.tags)
            if sie.align == "anchor":
                ones = torch.ones_like(anchors.maps[:, :1])
                region, tags = upsample(join(ones, torch.zeros_like(ones)), joined.shape[-2:]), anchors.tags
            kept = upsample(alone, joined.shape[-2:])
            parts["transfer"] = sie.weight * transfer_loss(kept[:, 1:], joined[:, 1:], tags, sie, region)
        ssr = self._settings.ssr
        if ssr is not None and ssr.ce_simulated:
            assert anchors.labels is not None
            assert partners.labels is not None
            labels = join(anchors.labels, partners.labels)
            scores = upsample(F.relu(joined) if ssr.rectified else joined, labels.shape[-2:])
            of_foreground = torch.ones(pairs, dtype=torch.bool, device=labels.device)
            parts["simulated"] = pixel_loss(scores, labels, of_foreground, ssr.foreground_weight, self._ignore)
        return parts

    def _join(self, seen: _Seen, sie: SieSettings) -> Join:
        """What makes one image, map or label of two."""
        if sie.perturb == "concatenate":
            axis = -2 if sie.axis == "height" else -1
            return lambda first, second: torch.cat([first, second], axis)
        return cut_mix(seen.maps.shape[-2:], seen.maps.device)

    def _erase_strongest(self, seen: _Seen, mga: MgaSettings) -> dict[str, Tensor]:
        """Eq. 8 and 9, or a row of Table 7."""
        strongest = seen.activation.amax(1, keepdim=True)
        left = upsample(strongest, seen.image.shape[-2:])
        # Where every class is present the strongest may be negative.
        left = (left < mga.threshold) * (left.clamp(min=0) if mga.erase == "soft" else 1.0)
        cam = self.network(seen.image * left).float()[:, 1:]
        before, tags = seen.maps[:, 1:], seen.tags
        parts = {}
        if mga.guidance == "cam_gap":
            parts["global"] = global_loss(before, cam, tags)
        elif mga.guidance == "rigid_cls":
            parts["global"] = F.binary_cross_entropy_with_logits(self.network.pooled(cam)[0], tags)
        elif mga.guidance == "gpp_feature":
            parts["global"] = global_loss(self.network.pooled(before)[1], self.network.pooled(cam)[1], tags)
        if "global" in parts:
            parts["global"] = mga.guidance_weight * parts["global"]
        if mga.local:
            parts["local"] = local_loss(before, cam, tags, strongest < mga.threshold, mga.margin)
        return parts


def normalised(cam: Tensor, tags: Tensor) -> Tensor:
    """Foreground maps (B, C-1, h, w) over their maxima; negative values stay, absent classes are 0."""
    highest = cam.amax((2, 3), keepdim=True)
    return cam / highest.clamp(min=1e-5) * tags[..., None, None]


def transfer_loss(
    alone: Tensor, joined: Tensor, tags: Tensor, sie: SieSettings, region: Tensor | None = None
) -> Tensor:
    """Mean of ReLU(alone - joined - margin) over maps of present classes, absent ones counting as 0 or not (Eq. 3).

    Args:
        alone: maps of the images alone, put together, (B, C-1, h, w).
        joined: maps of the joined images.
        tags: (B, C-1), classes that count.
        sie: margin, what takes no gradient, what the mean is over.
        region: (B, 1, h, w), 1 where places count; None: everywhere.
    """
    alone = alone.detach() if sie.stop_gradient == "alone" else alone
    joined = joined.detach() if sie.stop_gradient == "joined" else joined
    counted = tags[..., None, None].expand_as(alone)
    every = torch.ones_like(counted)
    if region is not None:
        counted, every = counted * region, every * region
    total = (F.relu(alone - joined - sie.margin) * counted).sum()
    return total / (every if sie.reduce == "all" else counted).sum().clamp(min=1)


def pixel_loss(scores: Tensor, labels: Tensor, of_foreground: Tensor, weight: float, ignore: int) -> Tensor:
    """Mean cross-entropy of background pixels plus ``weight`` times that of foreground pixels (Eq. 5).

    Args:
        scores: (B, C, H, W).
        labels: int64 (B, H, W), 0 background.
        of_foreground: bool (B,), images whose foreground counts.
        weight: w_fg.
        ignore: value of pixels without label.
    """
    losses = cross_entropy(scores, labels, ignore)
    background = labels == 0
    foreground = ~background & (labels != ignore) & of_foreground[:, None, None]
    means = [(losses * part).sum() / part.sum().clamp(min=1) for part in (background, foreground)]
    return means[0] + weight * means[1]


def inter_class_loss(scores: Tensor, activation: Tensor, settings: InterClassSettings) -> Tensor:
    """Mean of second strongest minus strongest score over places of activation (Eq. 6 and 7).

    Args:
        scores: foreground scores (B, C-1, H, W); B may be 0.
        activation: (B, C-1, h, w), of present classes, 0..1.
        settings: threshold, gradient.
    """
    if scores.shape[1] < 2:
        return scores.sum() * 0
    counted = upsample(activation, scores.shape[-2:]).amax(1) > settings.threshold if len(scores) else scores[:, 0] > 0
    strongest, index = scores.max(1, keepdim=True)
    second = scores.scatter(1, index, -torch.inf).max(1).values
    strongest = strongest.detach() if settings.detach_strongest else strongest
    return ((second - strongest[:, 0]) * counted).sum() / counted.sum().clamp(min=1)


def global_loss(before: Tensor, after: Tensor, tags: Tensor) -> Tensor:
    """Distance of the means of rectified maps (B, C-1, h, w), mean over images and classes, absent ones 0 (Eq. 8)."""
    means = F.relu(before).mean((2, 3)) - F.relu(after).mean((2, 3))
    return (means.abs() * tags).mean()


def local_loss(before: Tensor, after: Tensor, tags: Tensor, left: Tensor, margin: float) -> Tensor:
    """Mean growth of present classes' maps (B, C-1, h, w) where nothing was erased, ``left`` (B, 1, h, w) (Eq. 9)."""
    return (F.relu(after - before - margin) * tags[..., None, None] * left).mean()


def random_partners(tags: Tensor, count: int) -> Tensor:
    """For each of the first ``count`` images a random one of the batch that has a random class of it.

    Args:
        tags: (B, C-1).
        count: how many.

    Returns:
        int64 (count,); an image without tags gets itself.
    """
    anchors = tags[:count]
    chance = (anchors / tags.sum(0).clamp(min=1)) @ tags.T
    itself = torch.eye(count, len(tags), device=tags.device)
    return torch.multinomial(torch.where(anchors.sum(1, keepdim=True) > 0, chance, itself), 1)[:, 0]


def cut_mix(size: Sequence[int], device: torch.device) -> Join:
    """A join that puts a random rectangle of the second into the first; it follows the cells of maps of ``size``.

    Area and place are uniform (CutMix).
    """
    height, width = size
    share, down, right = torch.rand(3).tolist()
    rows, columns = (max(1, round(side * share**0.5)) for side in size)
    top, left = int(down * (height - rows + 1)), int(right * (width - columns + 1))
    cells = torch.zeros(1, 1, height, width, device=device)
    cells[..., top : top + rows, left : left + columns] = 1

    def join(first: Tensor, second: Tensor) -> Tensor:
        inside = F.interpolate(cells, first.shape[-2:], mode="nearest-exact") > 0
        return torch.where(inside if first.ndim == 4 else inside[:, 0], second, first)

    return join


def keep_statistics(network: nn.Module) -> None:
    """From now on batch norm normalises by its running statistics; scale and shift are still trained."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


def build(settings: Settings, classes: ClassTable, weights_root: Path, networks: Mapping[str, Path]) -> Ktse:  # noqa: ARG001
    """The objective, its backbone initialised from ``settings.network.weights`` below ``weights_root``.

    Raises:
        PseudomaskError: the network cannot be built or its weights not be loaded.
    """
    network = initialised(
        ClassAwareNetwork(settings.network, settings.head, len(classes)), settings.network, weights_root
    )
    return Ktse(network, settings, classes.ignore)
