"""The boundary network of IRN (Ahn et al., CVPR 2019, Fig. 3): light heads on the frozen features of every stage."""

from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.config.network import NetworkSettings
from pipeline.nets.backbones import Backbone
from pipeline.nets.decoders import upsample
from pipeline.nets.frozen import Frozen
from pipeline.nets.weights import initialise

STRIDE = 4
"""Image pixels per boundary value."""


class BoundaryNetwork(nn.Module):
    """Boundaries and displacements at stride 4.

    Args:
        settings: backbone, which is never trained; the paper's is a ResNet-50 at output stride 16.
        displacement: with the displacement branch.
    """

    def __init__(self, settings: NetworkSettings, displacement: bool) -> None:
        super().__init__()
        self.backbone = Frozen(Backbone(settings))
        backbone = self.backbone.network
        assert isinstance(backbone, Backbone)
        self.multiple = backbone.multiple
        channels, strides = backbone.channels, backbone.strides
        self.edge_parts = nn.ModuleList(_head(width, 32, 4) for width in channels)
        self.edge = nn.Conv2d(32 * len(channels), 1, 1)
        self._fine = [stride <= STRIDE for stride in strides]
        self.displacement = _Displacement(channels, self._fine) if displacement else None

    @classmethod
    def initial(cls, settings: NetworkSettings, displacement: bool, root: Path) -> "BoundaryNetwork":
        """A network to be trained, its backbone from ``settings.weights`` below ``root``."""
        network = cls(settings, displacement)
        backbone = network.backbone.network
        assert isinstance(backbone, Backbone)
        initialise(backbone, settings, root)
        return network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits of boundaries (B, h, w) and displacements (B, 2, h, w) in places, of images (B, 3, 4h, 4w)."""
        features: list[Tensor] = self.backbone(image)
        size = [-(-side // STRIDE) for side in image.shape[-2:]]
        parts = [upsample(head(values), size) for head, values in zip(self.edge_parts, features, strict=True)]
        logits: Tensor = self.edge(torch.cat(parts, 1))[:, 0]
        return logits, None if self.displacement is None else self.displacement(features, size)


class _Displacement(nn.Module):
    """Coarse features are joined first, then with the fine ones."""

    def __init__(self, channels: list[int], fine: list[bool]) -> None:
        super().__init__()
        self._is_fine = fine
        widths = [64 if is_fine else 256 for is_fine in fine]
        self.parts = nn.ModuleList(_head(w, out, 8) for w, out in zip(channels, widths, strict=True))
        self.coarse = _head(256 * (len(fine) - sum(fine)), 256, 16)
        self.joined = nn.Sequential(_head(256 + 64 * sum(fine), 256, 16), nn.Conv2d(256, 2, 1, bias=False))

    def forward(self, features: list[Tensor], size: list[int]) -> Tensor:
        parts = [part(values) for part, values in zip(self.parts, features, strict=True)]
        fine = [upsample(values, size) for values, is_fine in zip(parts, self._is_fine, strict=True) if is_fine]
        coarse = [values for values, is_fine in zip(parts, self._is_fine, strict=True) if not is_fine]
        half = [-(-side // 2) for side in size]
        deep = self.coarse(torch.cat([upsample(values, half) for values in coarse], 1))
        result: Tensor = self.joined(torch.cat([*fine, upsample(deep, size)], 1))
        return result


def _head(channels: int, width: int, groups: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.GroupNorm(groups, width), nn.ReLU())
