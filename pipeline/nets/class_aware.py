"""KTSE's classification network: maps of every class and the background, pooled over a pyramid (Kweon et al., AEFT)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config.ktse import HeadSettings
from pipeline.config.network import NetworkSettings
from pipeline.nets.backbones import Backbone
from pipeline.nets.decoders import upsample

BINS = (2, 4, 8, 16)
"""Bins per side of the pyramid's levels."""


class ClassAwareNetwork(nn.Module):
    """Backbone and two 1x1 convolutions to class-aware maps F, of the background (channel 0) too.

    Args:
        settings: which backbone.
        head: width and pooling.
        classes: number of classes, background included.
    """

    def __init__(self, settings: NetworkSettings, head: HeadSettings, classes: int) -> None:
        super().__init__()
        self.backbone = Backbone(settings)
        self.reduce = nn.Conv2d(self.backbone.channels[-1], head.width, 1, bias=False)
        self.classifier = nn.Conv2d(head.width, classes, 1, bias=False)
        for layer in (self.reduce, self.classifier):
            nn.init.xavier_uniform_(layer.weight)
        self.pyramid = PyramidPooling(classes - 1) if head.pool == "gpp" else None

    def forward(self, image: Tensor) -> Tensor:
        """Maps F (B, C, h, w), of any sign, of normalised images (B, 3, H, W)."""
        maps: Tensor = self.classifier(F.relu(self.reduce(self.backbone(image)[-1])))
        return maps

    def pooled(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, C-1) of an image's foreground maps (B, C-1, h, w), and the pyramid's features (the maps if none).

        Logits are the mean of ReLU(F) ReLU(G) - ReLU(-F) ReLU(-G), G being the pyramid's features.
        """
        if self.pyramid is None:
            return maps.mean((2, 3)), maps
        features = self.pyramid(maps)
        evidence = F.relu(maps) * F.relu(features) - F.relu(-maps) * F.relu(-features)
        return evidence.mean((2, 3)), features

    def cams(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Class activation maps (B, C-1, h, w), 0 or more and not normalised, and logits (B, C-1)."""
        maps = self(image)[:, 1:]
        return F.relu(maps), self.pooled(maps)[0]


class PyramidPooling(nn.Module):
    """GPP: means of the maps over 2, 4, 8 and 16 bins per side, brought back to size, joined coarse to fine."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.joins = nn.ModuleList(_Join(classes) for _ in BINS[1:])

    def forward(self, maps: Tensor) -> Tensor:
        """Features of the size of the maps (B, C-1, h, w)."""
        size = maps.shape[-2:]
        first, *others = (upsample(F.adaptive_avg_pool2d(maps, bins), size) for bins in BINS)
        for join, level in zip(self.joins, others, strict=True):
            first = join(first, level)
        return first


class _Join(nn.Module):
    """Weighs two levels against each other at every place, positive and negative parts apart."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.positive = nn.Conv2d(2 * classes, 2, 3, padding=1, bias=False)
        self.negative = nn.Conv2d(2 * classes, 2, 3, padding=1, bias=False)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        return (_weighed(self.positive, coarse, fine) - _weighed(self.negative, -coarse, -fine)) / 2


def _weighed(attention: nn.Module, coarse: Tensor, fine: Tensor) -> Tensor:
    coarse, fine = F.relu(coarse), F.relu(fine)
    weights: Tensor = attention(torch.cat([coarse, fine], 1)).sigmoid()
    return coarse * weights[:, :1] + fine * weights[:, 1:]
