import pickle

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from pipeline.config.network import NetworkSettings
from pipeline.errors import PseudomaskError
from pipeline.nets.backbones import Backbone
from pipeline.nets.classification import ClassificationNetwork
from pipeline.nets.weights import initialise, load_backbone, read_state

IMAGE = torch.linspace(-2, 2, 3 * 64 * 64).view(1, 3, 64, 64).sin()


def _randomised(net: nn.Module) -> nn.Module:
    """Batch norm that is not the identity, so that a mix-up shows."""
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                tensor.data.uniform_(0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                tensor.data.normal_(0, 0.1)
    return net.eval()


def _saved(net: nn.Module, path):
    torch.save(net.state_dict(), path)
    return path


def test_torchvision_mobilenet_gives_exactly_torchvisions_features(tmp_path):
    theirs = _randomised(torchvision.models.mobilenet_v2())
    ours = Backbone(NetworkSettings(output_stride=32, final_convolution=True)).eval()
    load_backbone(ours, _saved(theirs, tmp_path / "w.pth"))
    with torch.inference_mode():
        assert torch.equal(ours(IMAGE)[-1], theirs.features(IMAGE))


def test_torchvision_mobilenet_without_final_convolution(tmp_path):
    theirs = _randomised(torchvision.models.mobilenet_v2())
    ours = Backbone(NetworkSettings(output_stride=32)).eval()
    load_backbone(ours, _saved(theirs, tmp_path / "w.pth"))
    with torch.inference_mode():
        assert torch.equal(ours(IMAGE)[-1], theirs.features[:-1](IMAGE))


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_torchvision_resnets_give_exactly_torchvisions_features(name, tmp_path):
    theirs = _randomised(getattr(torchvision.models, name)())
    ours = Backbone(NetworkSettings(backbone=name, output_stride=32)).eval()
    load_backbone(ours, _saved(theirs, tmp_path / "w.pth"))
    stages = nn.Sequential(*list(theirs.children())[:-2])
    with torch.inference_mode():
        assert torch.equal(ours(IMAGE)[-1], stages(IMAGE))


@pytest.mark.parametrize("name", ["mobilenetv2_100", "vit_tiny_patch16_224"])
def test_timm_files_load_by_name_also_from_safetensors(name, tmp_path):
    theirs = _randomised(timm.create_model(name, num_classes=7))
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    ours = Backbone(NetworkSettings(backbone=name, output_stride=16))
    load_backbone(ours, tmp_path / "w.safetensors")
    for key, value in ours.timm_state().items():
        assert torch.equal(value, theirs.state_dict()[key]), key


def test_our_own_files_load_by_name(tmp_path):
    settings = NetworkSettings(backbone="mobilenetv2_035", final_convolution=True)
    trained = _randomised(ClassificationNetwork(settings, 3))
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    fresh = Backbone(settings)
    load_backbone(fresh, tmp_path / "w.safetensors")
    for key, value in fresh.state_dict().items():
        assert torch.equal(value, trained.backbone.state_dict()[key]) or key.endswith("tracked"), key


def test_wrapped_and_parallel_state_dicts_are_unwrapped(tmp_path):
    torch.save({"epoch": 3, "state_dict": {"module.a.weight": torch.ones(2)}}, tmp_path / "w.pth")
    assert list(read_state(tmp_path / "w.pth")) == ["a.weight"]


def test_random_weights_are_logged(caplog):
    caplog.set_level("INFO")
    initialise(Backbone(NetworkSettings(backbone="mobilenetv2_035")), NetworkSettings(), None)
    assert "random weights" in caplog.text


def test_a_missing_file_names_the_setting(tmp_path):
    settings = NetworkSettings(backbone="mobilenetv2_035", weights="weights/none.pt")
    with pytest.raises(PseudomaskError, match=r"network.weights: .*weights/none.pt does not exist"):
        initialise(Backbone(settings), settings, tmp_path)


def test_another_architecture_is_refused(tmp_path):
    path = _saved(torchvision.models.resnet18(), tmp_path / "w.pth")
    with pytest.raises(PseudomaskError, match=r"does not fit the backbone: it holds 102 tensors where"):
        load_backbone(Backbone(NetworkSettings()), path)
    with pytest.raises(PseudomaskError, match=r"'conv1.weight' .* where the backbone has 'conv1.0.weight'"):
        load_backbone(Backbone(NetworkSettings(backbone="resnet10t")), path)


def test_other_shapes_are_refused(tmp_path):
    path = _saved(torchvision.models.resnet18(), tmp_path / "w.pth")
    other = NetworkSettings(backbone="resnet18", backbone_options={"channels": (64, 128, 256, 128)})
    with pytest.raises(PseudomaskError, match=r"'layer4.* is \(512, .* where the backbone has \(128, "):
        load_backbone(Backbone(other), path)


def test_sorted_foreign_names_are_not_matched_by_position(tmp_path):
    save_file(torchvision.models.mobilenet_v2().state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(PseudomaskError, match=r"it lacks 'conv_stem.weight'"):
        load_backbone(Backbone(NetworkSettings()), tmp_path / "w.safetensors")


def test_nan_is_refused_with_its_tensor(tmp_path):
    net = torchvision.models.mobilenet_v2()
    net.features[3].conv[0][0].weight.data[0] = float("nan")
    with pytest.raises(PseudomaskError, match=r"'features.3.conv.0.0.weight' holds NaN"):
        load_backbone(Backbone(NetworkSettings()), _saved(net, tmp_path / "w.pth"))


class _Evil:
    def __reduce__(self):
        return (print, ("unpickled",))


@pytest.mark.parametrize("content", [b"", b"not a file of weights", pickle.dumps(_Evil())])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_or_executable_files_are_refused(content, suffix, tmp_path, capsys):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(PseudomaskError, match="is damaged or holds more than weights"):
        read_state(path)
    assert "unpickled" not in capsys.readouterr().out


def test_a_file_without_state_dict_is_refused(tmp_path):
    torch.save([torch.ones(1)], tmp_path / "w.pth")
    with pytest.raises(PseudomaskError, match="holds no state dict"):
        read_state(tmp_path / "w.pth")


def test_the_real_mobilenet_recognises_a_class(real_data):
    backbone = Backbone(NetworkSettings(final_convolution=True, output_stride=32, batch_norm="frozen"))
    load_backbone(backbone, real_data / "weights" / "mobilenet_v2_imagenet.pt")
    state = torch.load(real_data / "weights" / "mobilenet_v2_imagenet.pt", weights_only=True)
    theirs = torchvision.models.mobilenet_v2().eval()
    theirs.load_state_dict(state)
    with torch.inference_mode():
        assert torch.equal(backbone(IMAGE)[-1], theirs.features(IMAGE))
