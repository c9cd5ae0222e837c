"""Decoders: from backbone features to class scores at the decoder's own resolution."""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config.network import NetworkSettings
from pipeline.errors import PseudomaskError
from pipeline.nets.backbones import Backbone


def upsample(scores: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (B, K, h, w) scores bilinearly to ``size`` (H, W), pixels taken as areas."""
    size = (size[0], size[1])
    # In an exported network sizes are unknown, and a comparison would tie it to one of them.
    if not torch.compiler.is_exporting() and scores.shape[-2:] == size:
        return scores
    return F.interpolate(scores, size, mode="bilinear", align_corners=False)


def strongest_class(scores: Tensor) -> Tensor:
    """Index of the highest of scores (B, K, H, W) at each place, the first of equal ones, int64 (B, H, W)."""
    return scores.max(1).indices  # argmax takes two to seven times as long on a CPU


def build_decoder(settings: NetworkSettings, backbone: Backbone, classes: int) -> nn.Module:
    """The decoder ``settings.decoder``, from the backbone's list of features to logits (B, classes, h, w).

    Raises:
        PseudomaskError: the backbone lacks the stride-4 features that DeepLab-v3+ and HRNet need.
    """
    decoder = _plain_decoder(settings, backbone, classes)
    return decoder if settings.head == "linear" else Headed(decoder, classes)


def _plain_decoder(settings: NetworkSettings, backbone: Backbone, classes: int) -> nn.Module:
    deep, dropout = backbone.channels[-1], settings.decoder_dropout
    rates, width = settings.decoder_dilations, settings.decoder_channels
    if settings.decoder == "largefov":
        return LargeFov(deep, classes, width or 1024, rates or (12,), dropout)
    if settings.decoder == "rrm":
        return Rrm(deep, classes, width or 512, (rates or (12,))[0])
    if settings.decoder == "deeplabv2":
        return DeepLabV2(deep, classes, rates or (6, 12, 18, 24))
    if settings.decoder == "pspnet":
        return PspNet(deep, classes, width or 512, dropout)
    if settings.decoder in ("deeplabv3plus", "hrnet"):
        if 4 not in backbone.strides:
            raise PseudomaskError(
                f"decoder '{settings.decoder}' needs features at stride 4, but backbone '{settings.backbone}' has "
                f"strides {backbone.strides}; choose another decoder or backbone"
            )
        if settings.decoder == "hrnet":
            return HrNetV2(backbone.channels, backbone.strides, classes, width)
        rates = rates or tuple(rate * max(1, 16 // settings.output_stride) for rate in (6, 12, 18))
        aspp = Aspp(deep, width or 256, rates, settings.decoder_pooling)
        return DeepLabV3Plus(aspp, backbone.channels, backbone.strides.index(4), classes, width or 256, dropout)
    return Linear(deep, classes)


class Linear(nn.Module):
    """One 1x1 convolution with bias."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.classify = nn.Conv2d(channels, classes, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits at the resolution of the last features."""
        result: Tensor = self.classify(features[-1])
        return result


class LargeFov(nn.Module):
    """DeepLab-v1 with a large field of view (Chen et al. 2015, Sec. 4.2 and 5): fc6 dilated 3x3, fc7 1x1, fc8 1x1.

    With a second dilation fc7 is a dilated 3x3 convolution too, as in ToCo and DuPL.
    """

    def __init__(self, channels: int, classes: int, width: int, dilations: tuple[int, ...], dropout: bool) -> None:
        super().__init__()
        dilation, *more = dilations
        fc7 = nn.Conv2d(width, width, 3, padding=more[0], dilation=more[0]) if more else nn.Conv2d(width, width, 1)
        self.layers = nn.Sequential(
            _he(nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation)),
            nn.ReLU(inplace=True),
            _dropout(0.5, dropout),
            _he(fc7),
            nn.ReLU(inplace=True),
            _dropout(0.5, dropout),
            nn.Conv2d(width, classes, 1),
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits at the resolution of the last features."""
        result: Tensor = self.layers(features[-1])
        return result


class Rrm(nn.Module):
    """The segmentation branches of RRM and ASDT (code): two 3x3 convolutions of one dilation, Xavier's weights."""

    def __init__(self, channels: int, classes: int, width: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _xavier(nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation)),
            nn.ReLU(inplace=True),
            _xavier(nn.Conv2d(width, classes, 3, padding=dilation, dilation=dilation)),
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits at the resolution of the last features."""
        result: Tensor = self.layers(features[-1])
        return result


class DeepLabV2(nn.Module):
    """DeepLab-v2 (Chen et al. 2017, Sec. 3.2): sum of dilated 3x3 convolutions straight to the classes, N(0, 0.01)."""

    def __init__(self, channels: int, classes: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            _small(nn.Conv2d(channels, classes, 3, padding=rate, dilation=rate)) for rate in rates
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits at the resolution of the last features."""
        # Stacking them would lose the memory layout, which the losses profit from.
        result: Tensor = reduce(torch.add, (branch(features[-1]) for branch in self.branches))
        return result


class DeepLabV3Plus(nn.Module):
    """DeepLab-v3+ (Chen et al. 2018, Sec. 3.1) with plain convolutions.

    ASPP of one 1x1 convolution, three dilated ones and the image's mean; joined at stride 4 with 48 channels of
    low-level features. Dropout (0.5 after ASPP, 0.5 and 0.1 in the decoder) follows the common PyTorch version, the
    paper names none.
    """

    def __init__(self, aspp: "Aspp", channels: list[int], low: int, classes: int, width: int, dropout: bool) -> None:
        super().__init__()
        self._low = low
        self.aspp = aspp
        self.reduce = _conv_norm_relu(channels[low], 48, 1)
        self.after_aspp = _dropout(0.5, dropout)
        self.decode = nn.Sequential(
            _conv_norm_relu(width + 48, width, 3),
            _dropout(0.5, dropout),
            _conv_norm_relu(width, width, 3),
            _dropout(0.1, dropout),
            nn.Conv2d(width, classes, 1),
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits at stride 4."""
        low = self.reduce(features[self._low])
        context = upsample(self.after_aspp(self.aspp(features[-1])), low.shape[-2:])
        result: Tensor = self.decode(torch.cat([context, low], dim=1))
        return result


class Aspp(nn.Module):
    """Atrous spatial pyramid pooling of DeepLab-v3 (Chen et al. 2017, Sec. 3.3).

    The batch norm of the image's mean sees one value per image and channel. With few of them per step its running
    statistics are not those the network learns with: that network is another one when it is applied. Hence ``pooling``.
    """

    def __init__(self, channels: int, width: int, rates: tuple[int, ...], pooling: bool = True) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [_conv_norm_relu(channels, width, 1), *(_conv_norm_relu(channels, width, 3, rate) for rate in rates)]
        )
        self.pooled = _conv_norm_relu(channels, width, 1) if pooling else None
        self.project = _conv_norm_relu(width * (len(self.branches) + pooling), width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, h, w) to (B, width, h, w)."""
        parts = [branch(features) for branch in self.branches]
        if self.pooled is not None:
            parts.append(self.pooled(features.mean((2, 3), keepdim=True)).expand(-1, -1, *features.shape[-2:]))
        result: Tensor = self.project(torch.cat(parts, dim=1))
        return result


class PspNet(nn.Module):
    """PSPNet (Zhao et al. 2017, Sec. 3.2): means over 1, 2, 3 and 6 bins per side beside the features, then 3x3."""

    bins = (1, 2, 3, 6)

    def __init__(self, channels: int, classes: int, width: int, dropout: bool) -> None:
        super().__init__()
        part = channels // len(self.bins)
        self.pools = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(side), _conv_norm_relu(channels, part, 1)) for side in self.bins
        )
        self.decode = nn.Sequential(
            _conv_norm_relu(channels + part * len(self.bins), width, 3),
            _dropout(0.1, dropout),
            nn.Conv2d(width, classes, 1),
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits at the resolution of the last features."""
        deep = features[-1]
        pooled = [upsample(pool(deep), deep.shape[-2:]) for pool in self.pools]
        result: Tensor = self.decode(torch.cat([deep, *pooled], dim=1))
        return result


class HrNetV2(nn.Module):
    """HRNetV2 (Wang et al. 2019, Sec. 3.2): features of all resolutions from stride 4 on, enlarged, joined, 1x1."""

    def __init__(self, channels: list[int], strides: list[int], classes: int, width: int | None) -> None:
        super().__init__()
        self._used = [index for index, stride in enumerate(strides) if stride >= 4]
        joined = sum(channels[index] for index in self._used)
        self.decode = nn.Sequential(_conv_norm_relu(joined, width or joined, 1), nn.Conv2d(width or joined, classes, 1))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits at stride 4."""
        used = [features[index] for index in self._used]
        result: Tensor = self.decode(torch.cat([upsample(each, used[0].shape[-2:]) for each in used], dim=1))
        return result


class Headed(nn.Module):
    """A decoder whose last convolution gives way to a head: 1x1, batch norm, ReLU, 1x1 to the classes (MDH, Sec. 3.3).

    Args:
        decoder: ends in a 1x1 convolution, whose width the head keeps; changed in place.
        classes: number of classes.
    """

    def __init__(self, decoder: nn.Module, classes: int) -> None:
        super().__init__()
        name, last = [(name, module) for name, module in decoder.named_modules() if isinstance(module, nn.Conv2d)][-1]
        decoder.set_submodule(name, nn.Identity())
        self.embed = decoder
        self.head = self.new_head(last.in_channels, classes)

    @staticmethod
    def new_head(width: int, classes: int) -> nn.Sequential:
        """A head with random weights."""
        return nn.Sequential(_conv_norm_relu(width, width, 1), nn.Conv2d(width, classes, 1))

    def second_head(self) -> nn.Sequential:
        """Another head of the same form with random weights of its own."""
        last = self.head[-1]
        assert isinstance(last, nn.Conv2d)
        return self.new_head(last.in_channels, last.out_channels)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits at the decoder's resolution."""
        result: Tensor = self.head(self.embed(features))
        return result


def _conv_norm_relu(channels: int, width: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


def _dropout(probability: float, wanted: bool) -> nn.Module:
    return nn.Dropout(probability) if wanted else nn.Identity()


def _he(layer: nn.Conv2d) -> nn.Conv2d:
    """Weights that keep the variance through ReLU, for layers without batch norm."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return layer


def _xavier(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.xavier_uniform_(layer.weight)
    return layer


def _small(layer: nn.Conv2d) -> nn.Conv2d:
    """Weights from N(0, 0.01) and no bias, as in DeepLab-v2's model files.

    Only there: below a narrow decoder such weights pass so little gradient on that training stands still.
    """
    assert layer.bias is not None
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    return layer
