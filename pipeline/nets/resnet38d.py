"""ResNet-38d: the wide, pre-activated residual network of Wu et al. (2016), model A1, dilated to stride 8 as in PSA.

Modules bear the names of PSA's weights files (``conv1a``, ``b2.conv_branch2a``, ...), so those load by name. Their
classifier ``fc8`` is left aside. Strides and dilations follow the table in Ahn and Kwak (CVPR 2018, Sec. 4.1) and code.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.nets.features import FeatureInfo


class ResNet38d(nn.Module):
    """The network up to ``bn7`` and its activation; returns the features of five stages.

    Args:
        dropout: rates in the last two blocks (PSA: 0.3 and 0.5; KTSE, AEFT: 0.2 in both).
        frozen_blocks: 0 trains everything, 1 leaves ``conv1a`` as it is (PSA), 2 also the three blocks b2 (KTSE).
    """

    feature_info = FeatureInfo((128, 256, 512, 1024, 4096), (2, 4, 8, 8, 8))

    def __init__(self, dropout: tuple[float, float] = (0.3, 0.5), frozen_blocks: int = 1) -> None:
        super().__init__()
        self.conv1a = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self._stages = (
            self._add("b2", 3, 64, 128, stride=2),
            self._add("b3", 3, 128, 256, stride=2),
            self._add("b4", 6, 256, 512, stride=2),
            self._add("b5", 3, 512, 1024, dilation=2),
        )
        self.b6 = _Bottleneck(1024, 2048, dilation=4, dropout=dropout[0])
        self.b7 = _Bottleneck(2048, 4096, dilation=4, dropout=dropout[1])
        self.bn7 = nn.BatchNorm2d(4096)
        frozen: list[nn.Module] = [self.conv1a] if frozen_blocks else []
        if frozen_blocks > 1:
            frozen += [self.get_submodule(name) for name in self._stages[0]]
        for module in frozen:
            module.requires_grad_(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features (B, channels, h, w) of five stages, of normalised images (B, 3, H, W)."""
        x: Tensor = self.conv1a(image)
        features = []
        for names in self._stages:
            for name in names:
                x = self.get_submodule(name)(x)
            features.append(x)
        features.append(F.relu(self.bn7(self.b7(self.b6(x)))))
        return features

    def _add(
        self, name: str, count: int, channels: int, width: int, stride: int = 1, dilation: int = 1
    ) -> tuple[str, ...]:
        """Blocks ``name``, ``name_1``, ...; the first changes the width, and where dilated looks as before it."""
        middle = width // 2 if dilation > 1 else width
        names = (name, *(f"{name}_{number}" for number in range(1, count)))
        for number, each in enumerate(names):
            first = number == 0
            block = _Block(
                channels if first else width,
                middle,
                width,
                stride if first else 1,
                1 if first else dilation,
                dilation,
            )
            self.add_module(each, block)
        return names


class _Block(nn.Module):
    """Two 3x3 convolutions after batch norm and ReLU, beside a shortcut."""

    def __init__(self, channels: int, middle: int, width: int, stride: int, first: int, dilation: int) -> None:
        super().__init__()
        self.bn_branch2a = nn.BatchNorm2d(channels)
        self.conv_branch2a = _conv(channels, middle, 3, stride, first)
        self.bn_branch2b1 = nn.BatchNorm2d(middle)
        self.conv_branch2b1 = _conv(middle, width, 3, 1, dilation)
        self.conv_branch1 = _conv(channels, width, 1, stride) if channels != width or stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn_branch2a(x))
        shortcut: Tensor = x if self.conv_branch1 is None else self.conv_branch1(active)
        inner = F.relu(self.bn_branch2b1(self.conv_branch2a(active)))
        result: Tensor = shortcut + self.conv_branch2b1(inner)
        return result


class _Bottleneck(nn.Module):
    """1x1, dilated 3x3, 1x1 convolutions with dropout of whole channels, beside a shortcut."""

    def __init__(self, channels: int, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.bn_branch2a = nn.BatchNorm2d(channels)
        self.conv_branch2a = _conv(channels, width // 4, 1)
        self.bn_branch2b1 = nn.BatchNorm2d(width // 4)
        self.conv_branch2b1 = _conv(width // 4, width // 2, 3, 1, dilation)
        self.bn_branch2b2 = nn.BatchNorm2d(width // 2)
        self.conv_branch2b2 = _conv(width // 2, width, 1)
        self.conv_branch1 = _conv(channels, width, 1)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn_branch2a(x))
        inner = self.conv_branch2b1(self.dropout(F.relu(self.bn_branch2b1(self.conv_branch2a(active)))))
        shortcut: Tensor = self.conv_branch1(active)
        result: Tensor = shortcut + self.conv_branch2b2(self.dropout(F.relu(self.bn_branch2b2(inner))))
        return result


def _conv(channels: int, width: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (kernel // 2)
    return nn.Conv2d(channels, width, kernel, stride, padding, dilation, bias=False)
