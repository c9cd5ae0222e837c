"""The segmentation network: a backbone and a decoder."""

from torch import Tensor, nn

from pipeline.config.network import NetworkSettings
from pipeline.nets.backbones import Backbone
from pipeline.nets.decoders import build_decoder


class SegmentationNetwork(nn.Module):
    """Backbone and decoder.

    Args:
        settings: which backbone and decoder.
        classes: number of classes, background included.
    """

    def __init__(self, settings: NetworkSettings, classes: int) -> None:
        super().__init__()
        self.backbone = Backbone(settings)
        self.decoder = build_decoder(settings, self.backbone, classes)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, C, h, w) at the decoder's resolution of normalised images (B, 3, H, W)."""
        result: Tensor = self.decoder(self.backbone(image))
        return result
