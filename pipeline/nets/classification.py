"""The classification network and its class activation maps."""

from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config.network import NetworkSettings
from pipeline.nets.backbones import Backbone


class ClassificationNetwork(nn.Module):
    """Backbone, global average pooling and a linear classifier without bias.

    Args:
        settings: which backbone.
        classes: number of foreground classes.
    """

    def __init__(self, settings: NetworkSettings, classes: int) -> None:
        super().__init__()
        self.backbone = Backbone(settings)
        self.classifier = nn.Conv2d(self.backbone.channels[-1], classes, 1, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, C-1) of normalised images (B, 3, H, W).

        Pooling before the 1x1 convolution equals pooling after it, since it has no bias, and costs less.
        """
        pooled = self.backbone(image)[-1].mean((2, 3), keepdim=True)
        result: Tensor = self.classifier(pooled).flatten(1)
        return result

    def cams(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Class activation maps (Zhou et al. 2016, Eq. 2), negative evidence cut off.

        Returns:
            Maps (B, C-1, h, w), 0 or more and not normalised, and logits (B, C-1).
        """
        evidence: Tensor = self.classifier(self.backbone(image)[-1])
        return F.relu(evidence), evidence.mean((2, 3))
