"""Which network is built: backbone, decoder, initial weights, normalisation of images."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from pipeline.config.base import Settings
from pipeline.config.priors import PriorSettings

DecoderKind = Literal["none", "largefov", "rrm", "deeplabv2", "deeplabv3plus", "pspnet", "hrnet"]


_NO_OPTIONS = {"pretrained", "pretrained_cfg", "checkpoint_path", "features_only", "out_indices", "output_stride"}


class NetworkSettings(Settings):
    """Everything needed to build a network; the weights file of a trained one carries these settings along."""

    backbone: str = Field(
        default="mobilenetv2_100",
        description="name in `timm.list_models()`, or resnet38d, resnet101_deeplab, vgg16_deeplab",
    )
    backbone_options: dict[str, bool | int | float | str | tuple[int, ...] | tuple[float, ...]] = Field(
        default_factory=dict, description="arguments of the timm model, such as channels: [16, 32, 64, 128] of a ResNet"
    )
    final_convolution: bool = Field(
        default=False, description="keep the wide last 1x1 convolution of MobileNet- and EfficientNet-like backbones"
    )
    output_stride: Literal[8, 16, 32] = Field(
        default=16, description="pixels of the image per step of the last features"
    )
    weights: str | None = Field(
        default=None, description="file with the backbone's initial weights, relative to the data root; null: random"
    )
    mean: tuple[float, float, float] = Field(default=(0.485, 0.456, 0.406), description="RGB mean of images in 0..1")
    std: tuple[float, float, float] = Field(
        default=(0.229, 0.224, 0.225), description="RGB deviation of images in 0..1"
    )
    batch_norm: Literal["trained", "frozen"] = Field(
        default="trained", description="frozen: statistics, scale and shift of the backbone's batch norm stay as loaded"
    )
    decoder: DecoderKind = Field(
        default="none", description="what turns features into class scores; none: 1x1 convolution"
    )
    decoder_channels: int | None = Field(default=None, ge=1, description="width of the decoder; null: the paper's")
    decoder_dilations: tuple[int, ...] | None = Field(
        default=None,
        description="rates of the decoder's 3x3 convolutions; null: the paper's for the output stride; a second one of "
        "largefov makes its 1x1 convolution fc7 a 3x3 one (DuPL)",
    )
    decoder_dropout: bool = Field(default=True, description="the paper's dropout in the decoder")
    decoder_pooling: bool = Field(
        default=True,
        description="deeplabv3plus: ASPP sees the image's mean too; its batch norm has one value per image, so with "
        "fewer than some 16 images per step false is better",
    )
    head: Literal["linear", "hidden"] = Field(
        default="linear",
        description="from the decoder's last features to class scores: 1x1 convolution; hidden: 1x1 convolution, batch "
        "norm, ReLU before it (MDH)",
    )
    priors: PriorSettings | None = Field(
        default=None, description="what the network sees of boxes beside the image; null: nothing"
    )

    @field_validator("backbone_options")
    @classmethod
    def _options_are_of_the_model(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Loading weights and choosing features have settings of their own."""
        if taken := sorted(_NO_OPTIONS & options.keys()):
            raise ValueError(f"'{taken[0]}' is no option of the model; use network.weights or network.output_stride")
        return options

    @model_validator(mode="after")
    def _decoder_has_what_is_set(self) -> "NetworkSettings":
        if self.decoder_channels is not None and self.decoder in ("none", "deeplabv2"):
            raise ValueError(f"decoder_channels is set, but decoder '{self.decoder}' has no hidden layer; remove it")
        if self.decoder_dilations is not None and self.decoder in ("none", "pspnet", "hrnet"):
            raise ValueError(f"decoder_dilations is set, but decoder '{self.decoder}' has no dilated layer; remove it")
        if not self.decoder_pooling and self.decoder != "deeplabv3plus":
            raise ValueError(f"decoder '{self.decoder}' has no ASPP with the image's mean; remove decoder_pooling")
        if self.decoder_dilations == () or min(self.decoder_dilations or (1,)) < 1:
            raise ValueError("decoder_dilations must be whole numbers from 1, at least one")
        if self.decoder == "rrm" and len(self.decoder_dilations or (12,)) != 1:
            raise ValueError("decoder 'rrm' has one dilation")
        if self.decoder == "largefov" and len(self.decoder_dilations or (12,)) > 2:
            raise ValueError("decoder 'largefov' has one dilation or two")
        if self.head == "hidden" and self.decoder in ("deeplabv2", "rrm"):
            raise ValueError(f"decoder '{self.decoder}' ends in 3x3 convolutions; set head to linear")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        return self


def _no_decoder(network: NetworkSettings) -> NetworkSettings:
    if network.decoder != "none":
        raise ValueError(f"a classifier has no decoder; found '{network.decoder}', allowed: 'none'")
    return network


Undecoded = Annotated[NetworkSettings, AfterValidator(_no_decoder)]
"""A classifier's network."""
