"""Backbones: networks that return features of every stage, timm's and those it lacks."""

from difflib import get_close_matches
from typing import Any, Literal, Self

import timm
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.config.network import NetworkSettings
from pipeline.errors import PseudomaskError
from pipeline.nets.deeplab_bases import ResNet101DeepLab, Vgg16DeepLab
from pipeline.nets.resnet38d import ResNet38d

_OWN: dict[str, tuple[type[nn.Module], str]] = {
    "resnet38d": (ResNet38d, "takes the options dropout and frozen_blocks"),
    "resnet101_deeplab": (ResNet101DeepLab, "takes no options"),
    "vgg16_deeplab": (Vgg16DeepLab, "takes no options"),
}
"""Networks of this project by name, and what a user is told of their options."""
_VISION_TRANSFORMERS = ("vision_transformer", "deit")


def fitting_side(length: float, multiple: int) -> int:
    """The multiple that is nearest to ``length`` pixels, but for 0."""
    return max(1, round(length / multiple)) * multiple


class Backbone(nn.Module):
    """A network of timm or of this project without its classifier, randomly initialised.

    Attributes:
        channels: channels of each returned feature map, shallow to deep.
        strides: image pixels per step of each.
        multiple: what image sides must be a multiple of; 1 for convolutional networks.

    Args:
        settings: which network; ``weights`` is not read here (see :func:`pipeline.nets.weights.load_backbone`).

    Raises:
        PseudomaskError: unknown name or options, an output stride the network cannot have, or no final convolution.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self._name = settings.backbone
        self._frozen = settings.batch_norm == "frozen"
        self.net, self.multiple = _features(settings)
        info = self.net.feature_info
        self.channels: list[int] = list(info.channels())
        self.strides: list[int] = list(info.reduction())
        if self.strides[-1] != settings.output_stride:
            raise PseudomaskError(
                f"backbone '{self._name}' cannot have output stride {settings.output_stride}; "
                f"set network.output_stride to {self.strides[-1]} or choose another backbone"
            )
        self.final: nn.Module | None = None
        if settings.final_convolution:
            self.final = _final_convolution(settings)
            self.channels[-1] = self.final.conv_head.out_channels
        elif self.multiple > 1:
            self.final = _final_norm(settings)
        self._priors = settings.priors
        if self._priors is not None:
            stem = self._stem()
            stem.in_channels = 3 + self._priors.channels
            stem.weight = nn.Parameter(_widened(stem.weight.detach(), self._priors.channels, self._priors.initial))
        if self._frozen:
            for norm in self._batch_norms():
                norm.requires_grad_(False)
        self.train()

    def take(self, plain: "Backbone") -> None:
        """Copy the weights of the same network for RGB alone; filters of the priors start as their setting says."""
        state = plain.state_dict()
        if self._priors is not None:
            own = self._stem().weight
            (name,) = (name for name, value in self.named_parameters() if value is own)
            state[name] = _widened(state[name], self._priors.channels, self._priors.initial)
        self.load_state_dict(state)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of every stage.

        Args:
            image: (B, 3, H, W), normalised; with priors, their channels follow.

        Returns:
            Tensors (B, channels[i], h_i, w_i), shallow to deep.

        Raises:
            PseudomaskError: H or W is not a multiple of what a vision transformer needs.
        """
        height, width = image.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise PseudomaskError(
                f"backbone '{self._name}' needs image sides that are multiples of {self.multiple}, "
                f"found {height}x{width}; change the crop size"
            )
        features: list[Tensor] = list(self.net(image))
        if self.final is not None:
            features[-1] = self.final(features[-1])
        return features

    def train(self, mode: bool = True) -> Self:
        """Like ``nn.Module.train``, but frozen batch norm stays in evaluation mode."""
        super().train(mode)
        if self._frozen:
            for norm in self._batch_norms():
                norm.eval()
        return self

    def timm_state(self) -> dict[str, Tensor]:
        """Tensors of the network by the names timm gives them in the whole model."""
        inner: nn.Module = self.net.model if self.multiple > 1 else self.net
        return inner.state_dict() | ({} if self.final is None else self.final.state_dict())

    def _stem(self) -> nn.Conv2d:
        """The convolution that sees the image."""
        return next(module for module in self.net.modules() if isinstance(module, nn.Conv2d))

    def _batch_norms(self) -> list[nn.Module]:
        return [module for module in self.modules() if isinstance(module, _BatchNorm)]


def _widened(rgb: Tensor, count: int, how: Literal["zeros", "mean_rgb", "kaiming"]) -> Tensor:
    """First filters (O, 3, h, w) with ``count`` further channels."""
    more = rgb.new_zeros(rgb.shape[0], count, *rgb.shape[2:])
    if how == "mean_rgb":
        more += rgb.mean(1, keepdim=True)
    elif how == "kaiming":
        nn.init.kaiming_normal_(more, nonlinearity="relu")
    return torch.cat([rgb, more], dim=1)


class _FinalConvolution(nn.Module):
    """The 1x1 convolution with batch norm and activation after the last block; attributes are named as in timm."""

    def __init__(self, conv_head: nn.Module, bn2: nn.Module) -> None:
        super().__init__()
        self.conv_head: Any = conv_head
        self.bn2 = bn2

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.bn2(self.conv_head(features))
        return result


class _FinalNorm(nn.Module):
    """The layer norm over channels after a vision transformer's last block; named as in timm."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.norm(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return result


def _features(settings: NetworkSettings) -> tuple[Any, int]:
    """The network in its features-only form, and what image sides must be a multiple of."""
    if settings.backbone in _OWN:
        network, options_are = _OWN[settings.backbone]
        try:
            return network(**settings.backbone_options), 1
        except TypeError as error:
            raise PseudomaskError(
                f"network.backbone '{settings.backbone}' {options_are}, found {settings.backbone_options}"
            ) from error
    transformer = timm.models.is_model_in_modules(settings.backbone, _VISION_TRANSFORMERS)
    options: dict[str, Any] = {"features_only": True}
    if transformer:
        options["dynamic_img_size"] = True
    elif settings.output_stride != 32:
        options["output_stride"] = settings.output_stride
    net = _create(settings, options)
    return net, int(net.feature_info.reduction()[-1]) if transformer else 1


def _final_convolution(settings: NetworkSettings) -> _FinalConvolution:
    whole = None if settings.backbone in _OWN else _create(settings, {"num_classes": 0})
    if whole is None or not (hasattr(whole, "conv_head") and isinstance(getattr(whole, "bn2", None), nn.Module)):
        raise PseudomaskError(
            f"backbone '{settings.backbone}' has no final convolution; set network.final_convolution to false"
        )
    return _FinalConvolution(whole.conv_head, whole.bn2)


def _final_norm(settings: NetworkSettings) -> _FinalNorm | None:
    """What timm's features-only form of a vision transformer leaves out, and classifiers and decoders are made for."""
    with torch.device("meta"):
        norm = getattr(_create(settings, {"num_classes": 0}), "norm", None)
    if not isinstance(norm, nn.LayerNorm):
        return None
    return _FinalNorm(nn.LayerNorm(norm.normalized_shape, norm.eps))


def _create(settings: NetworkSettings, options: dict[str, Any]) -> Any:
    name = settings.backbone
    if not timm.is_model(name):
        near = get_close_matches(name, [*_OWN, *timm.list_models()], 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "`timm.list_models()` lists them all"
        raise PseudomaskError(f"network.backbone: timm has no model '{name}'; {hint}")
    options |= settings.backbone_options
    try:
        return timm.create_model(name, pretrained=False, **options)
    except (TypeError, NotImplementedError, RuntimeError, AssertionError, ValueError) as error:
        # timm refuses an output stride with a bare assertion, hence the type's name.
        raise PseudomaskError(
            f"network.backbone '{name}' cannot be built with network.output_stride {settings.output_stride} and "
            f"network.backbone_options {settings.backbone_options}; change them ({str(error) or type(error).__name__})"
        ) from error
