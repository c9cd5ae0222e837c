"""The bases of DeepLab-v1 and v2 as their model files have them, where timm's networks differ.

``vgg16_deeplab`` (Chen et al. 2015, Sec. 3.1 and 4.2): VGG16 whose last two poolings do not shrink and whose last block
is dilated, stride 8 in all. ``resnet101_deeplab`` (Chen et al. 2017): Caffe's ResNet-101 dilated to stride 8. Unlike
timm's it shrinks in the first 1x1 convolution of a stage, dilates a stage from its first block on, and pools with a
ceiling. Weights made for the one are wrong in the other though every shape fits.
"""

from typing import Any

import timm
from torch import Tensor, nn

from pipeline.nets.features import FeatureInfo


class Vgg16DeepLab(nn.Module):
    """The thirteen convolutions and the poolings; layers bear the names of torchvision's file (``features.0``, ...)."""

    feature_info = FeatureInfo((64, 128, 256, 512, 512), (2, 4, 8, 8, 8))
    _blocks = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        self._ends = []
        for number, widths in enumerate(self._blocks):
            dilation, stride = (2 if number == 4 else 1), (2 if number < 3 else 1)
            for width in widths:
                convolution = nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation)
                nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
                layers += [convolution, nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(3, stride, padding=1))
            self._ends.append(len(layers) - 1)
        self.features = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features (B, channels, h, w) after each pooling, of normalised images (B, 3, H, W)."""
        found, x = [], image
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self._ends:
                found.append(x)
        return found


class ResNet101DeepLab(nn.Module):
    """Caffe's ResNet-101 at stride 8; layers bear timm's and torchvision's names."""

    feature_info = FeatureInfo((64, 256, 512, 1024, 2048), (2, 4, 8, 8, 8))

    def __init__(self) -> None:
        super().__init__()
        whole: Any = timm.create_model("resnet101", pretrained=False, num_classes=0)
        self.conv1, self.bn1, self.act1 = whole.conv1, whole.bn1, whole.act1
        self.maxpool = nn.MaxPool2d(3, 2, padding=1, ceil_mode=True)
        for name, stride, dilation in (("layer1", 1, 1), ("layer2", 2, 1), ("layer3", 1, 2), ("layer4", 1, 4)):
            stage = getattr(whole, name)
            for block in stage:
                block.conv2.stride, block.conv2.dilation, block.conv2.padding = (1, 1), (dilation,) * 2, (dilation,) * 2
            stage[0].conv1.stride = stage[0].downsample[0].stride = (stride, stride)
            self.add_module(name, stage)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features (B, channels, h, w) of five stages, of normalised images (B, 3, H, W)."""
        found: list[Tensor] = [self.act1(self.bn1(self.conv1(image)))]
        x: Tensor = self.maxpool(found[0])
        for name in ("layer1", "layer2", "layer3", "layer4"):
            x = self.get_submodule(name)(x)
            found.append(x)
        return found
