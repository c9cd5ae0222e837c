import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pipeline.config.network import NetworkSettings
from pipeline.errors import PseudomaskError
from pipeline.nets.backbones import Backbone
from pipeline.nets.weights import initialise


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize(("name", "channels"), [("resnet50", 2048), ("mobilenetv2_100", 320)])
def test_features_have_the_output_stride_asked_for(name, channels, stride):
    backbone = Backbone(NetworkSettings(backbone=name, output_stride=stride)).eval()
    with torch.inference_mode():
        features = backbone(torch.zeros(1, 3, 64, 96))
    assert features[-1].shape == (1, channels, 64 // stride, 96 // stride)
    assert [f.shape[1] for f in features] == backbone.channels
    assert [64 // f.shape[2] for f in features] == backbone.strides


def test_a_narrow_resnet_is_built_from_options():
    options = {"channels": (8, 16, 32, 64)}
    assert Backbone(NetworkSettings(backbone="resnet18", backbone_options=options)).channels[1:] == [8, 16, 32, 64]


def test_a_vision_transformer_takes_any_multiple_of_its_patch():
    backbone = Backbone(NetworkSettings(backbone="vit_tiny_patch16_224")).eval()
    assert backbone(torch.zeros(1, 3, 32, 48))[-1].shape == (1, 192, 2, 3)
    with pytest.raises(PseudomaskError, match="multiples of 16, found 33x48"):
        backbone(torch.zeros(1, 3, 33, 48))


@pytest.mark.parametrize("mode", ["frozen", "trained"])
def test_frozen_batch_norm_survives_training_and_trained_one_moves(mode):
    net = nn.Sequential(Backbone(NetworkSettings(backbone="mobilenetv2_035", batch_norm=mode)))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.train()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    torch.manual_seed(0)
    net(torch.randn(2, 3, 64, 64))[-1].square().sum().backward()
    optimiser.step()
    after = net.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    norms = {f"{name}.{part}" for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)
             for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")}  # fmt: skip
    assert changed - norms, "convolutions must learn in both modes"
    if mode == "frozen":
        assert not changed & norms
    else:
        assert {name for name in norms if name.endswith("running_mean")} <= changed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "resnet51"}, "no model 'resnet51'; did you mean .*resnet50"),
        ({"backbone": "vit_tiny_patch16_224", "output_stride": 8}, "set network.output_stride to 16"),
        ({"backbone": "hrnet_w18_small", "output_stride": 16}, "cannot be built with network.output_stride 16"),
        ({"backbone": "resnet18", "final_convolution": True}, "has no final convolution"),
        ({"backbone": "resnet18", "backbone_options": {"chanels": 8}}, "unexpected keyword argument 'chanels'"),
    ],
)
def test_networks_that_cannot_be_built_are_explained(settings, message):
    with pytest.raises(PseudomaskError, match=message):
        Backbone(NetworkSettings(**settings))


@pytest.mark.parametrize("name", ["mobilenetv2_035", "resnet10t"])
def test_priors_without_weights_of_their_own_change_nothing(name, tmp_path):
    """ImageNet's filters must survive the wider first convolution."""
    plain = Backbone(NetworkSettings(backbone=name)).eval()
    save_file({f"backbone.{key}": value for key, value in plain.state_dict().items()}, tmp_path / "w.safetensors")
    priors = {"initial": "zeros"}
    settings = NetworkSettings(backbone=name, weights="w.safetensors", priors=priors)
    wide = Backbone(settings).eval()
    initialise(wide, settings, tmp_path)
    image, seen = torch.rand(1, 3, 64, 64), torch.rand(1, 2, 64, 64)
    for expected, found in zip(plain(image), wide(torch.cat([image, seen], 1)), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("initial", ["mean_rgb", "kaiming"])
def test_filters_of_priors_start_as_set(initial, tmp_path):
    plain = Backbone(NetworkSettings(backbone="resnet10t"))
    save_file({f"backbone.{key}": value for key, value in plain.state_dict().items()}, tmp_path / "w.safetensors")
    priors = {"initial": initial, "classes": False}
    settings = NetworkSettings(backbone="resnet10t", weights="w.safetensors", priors=priors)
    wide = Backbone(settings)
    initialise(wide, settings, tmp_path)
    rgb, more = wide.net.get_submodule("conv1.0").weight.split([3, 1], dim=1)
    torch.testing.assert_close(rgb, plain.net.get_submodule("conv1.0").weight)
    assert (initial == "mean_rgb") == torch.allclose(more, rgb.mean(1, keepdim=True))
    assert more.abs().max() > 0
