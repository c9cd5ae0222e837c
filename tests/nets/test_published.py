"""Networks of the papers: published parameter counts, names of the published layers, strides."""

import pytest
import timm
import torch
import torchvision

from pipeline.config.network import NetworkSettings
from pipeline.config.public_weights import public_weights
from pipeline.nets.backbones import Backbone
from pipeline.nets.segmentation import SegmentationNetwork
from pipeline.nets.weights import load_backbone

OWN = {"resnet101_deeplab": torchvision.models.resnet101, "vgg16_deeplab": torchvision.models.vgg16}


def millions(network):
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6


def without_memory(settings):
    with torch.device("meta"):
        return Backbone(settings)


@pytest.mark.parametrize("name", sorted(set(public_weights()) - {"resnet38d_imagenet"}))
def test_a_backbone_is_the_published_network_without_its_classifier(name):
    entry = public_weights()[name]
    ours = without_memory(entry.network)
    with torch.device("meta"):
        whole = OWN.get(entry.network.backbone, lambda: timm.create_model(entry.network.backbone))()
    assert millions(whole) == pytest.approx(entry.millions, abs=0.06)
    theirs = whole.state_dict()
    for key, value in ours.timm_state().items():
        assert theirs[key].shape == value.shape, key


def strided(backbone, stride, **more):
    return without_memory(NetworkSettings(backbone=backbone, output_stride=stride, **more))


@pytest.mark.parametrize(
    ("backbone", "stride", "channels"),
    [
        ("resnet101", 8, 2048),
        ("resnet101", 16, 2048),
        ("res2net101_26w_4s", 8, 2048),
        ("resnest101e", 16, 2048),
        ("vgg16_deeplab", 8, 512),
        ("resnet101_deeplab", 8, 2048),
        ("deit_base_patch16_224", 16, 768),
        ("vit_base_patch16_224", 16, 768),
    ],
)
def test_the_last_features_have_the_papers_stride(backbone, stride, channels):
    network = strided(backbone, stride)
    side = 64 if network.multiple > 1 else 65
    with torch.device("meta"):
        features = network.eval()(torch.zeros(1, 3, side, 2 * side))
    assert features[-1].shape == (1, channels, -(-side // stride), -(-2 * side // stride))


def test_largefov_on_vgg16_has_its_published_size():
    settings = NetworkSettings(backbone="vgg16_deeplab", output_stride=8, decoder="largefov")
    with torch.device("meta"):
        network = SegmentationNetwork(settings, 21)
    # Chen et al. 2015, Table 2: 20.5 M for the 3x3 kernel with input stride 12.
    assert millions(network) == pytest.approx(20.5, abs=0.05)
    assert network.decoder.layers[0].dilation == (12, 12)


def test_annnet_sees_two_channels_more():
    options = {"backbone_options": {"feature_location": ""}}
    plain, wide = (strided("hrnet_w48", 32, **options, **more) for more in ({}, {"priors": {}}))
    assert round(1e6 * (millions(wide) - millions(plain))) == 2 * 64 * 9
    assert plain.channels[-4:] == [48, 96, 192, 384]
    assert plain.strides[-4:] == [4, 8, 16, 32]
    assert sum(plain.channels[-4:]) == 720, "the width MDH's heads keep"


def test_the_last_features_of_a_vision_transformer_are_normalised_as_its_classifier_sees_them(tmp_path):
    theirs = timm.create_model("deit_tiny_patch16_224", num_classes=3).eval()
    torch.nn.init.uniform_(theirs.norm.weight, 0.5, 2)
    torch.nn.init.normal_(theirs.norm.bias)
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    ours = Backbone(NetworkSettings(backbone="deit_tiny_patch16_224")).eval()
    load_backbone(ours, tmp_path / "w.pth")
    image = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        tokens = theirs.forward_features(image)[:, 1:]
        torch.testing.assert_close(ours(image)[-1].flatten(2).transpose(1, 2), tokens, rtol=1e-4, atol=1e-4)


def test_positions_of_a_vision_transformer_follow_the_image():
    network = Backbone(NetworkSettings(backbone="deit_tiny_patch16_224")).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 448, 320))[-1].shape == (1, 192, 28, 20)
        # Where the image has the size of the pretraining, positions are those of the file.
        assert network(torch.zeros(1, 3, 224, 224))[-1].shape == (1, 192, 14, 14)
