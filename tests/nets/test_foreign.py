"""Public weights files, written here in their real layouts."""

import struct

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from pipeline.artifacts.checkpoint import load_weights
from pipeline.config.network import NetworkSettings
from pipeline.config.public_weights import advice, public_weights, weights_file
from pipeline.errors import PseudomaskError
from pipeline.nets.backbones import Backbone
from pipeline.nets.foreign import import_weights, read_foreign, read_mxnet
from pipeline.nets.weights import fill_backbone, load_backbone

TYPES = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6}


def mxnet_array(array, version):
    """One array as MXNet writes it: of 2016 (0), with 64-bit dimensions (1), with a storage type (2)."""
    if version == 0:
        head = struct.pack(f"<I{array.ndim}I", array.ndim, *array.shape)
    else:
        storage = struct.pack("<i", 0) if version == 2 else b""
        magic = struct.pack("<I", 0xF993FAC8 if version == 1 else 0xF993FAC9)
        head = magic + storage + struct.pack(f"<I{array.ndim}q", array.ndim, *array.shape)
    return head + struct.pack("<iii", 1, 0, TYPES[str(array.dtype)]) + array.tobytes()


def write_mxnet(path, arrays, version=0):
    with path.open("wb") as stream:
        stream.write(struct.pack("<QQQ", 0x112, 0, len(arrays)))
        for array in arrays.values():
            stream.write(mxnet_array(array, version))
        stream.write(struct.pack("<Q", len(arrays)))
        for name in arrays:
            stream.write(struct.pack("<Q", len(name)) + name.encode())
    return path


def resnet38_names():
    """Names and shapes of the public file, written down from its symbol: blocks 2a, 2b1, ... of two convolutions."""
    shapes = {"arg:conv1a_weight": (64, 3, 3, 3)}
    widths = {2: (128, 128), 3: (256, 256), 4: (512, 512), 5: (512, 1024)}
    before = 64
    for level, count in ((2, 3), (3, 3), (4, 6), (5, 3)):
        middle, width = widths[level]
        for number in range(count):
            block = f"{level}a" if number == 0 else f"{level}b{number}"
            steps = [("branch2a", before, middle, 3), ("branch2b1", middle, width, 3)]
            add_block(shapes, block, steps, before, width, shortcut=number == 0)
            before = width
    for level, width in ((6, 2048), (7, 4096)):
        steps = [
            ("branch2a", before, width // 4, 1),
            ("branch2b1", width // 4, width // 2, 3),
            ("branch2b2", width // 2, width, 1),
        ]
        add_block(shapes, f"{level}a", steps, before, width, shortcut=True)
        before = width
    for part in ("arg:bn7_gamma", "arg:bn7_beta", "aux:bn7_moving_mean", "aux:bn7_moving_var"):
        shapes[part] = (4096,)
    return shapes | {"arg:linear1000_weight": (10, 4096), "arg:linear1000_bias": (10,)}


def add_block(shapes, block, steps, before, width, shortcut):
    for branch, channels, out, kernel in steps:
        for part in ("arg:bn{}_gamma", "arg:bn{}_beta", "aux:bn{}_moving_mean", "aux:bn{}_moving_var"):
            shapes[part.format(f"{block}_{branch}")] = (channels,)
        shapes[f"arg:res{block}_{branch}_weight"] = (out, channels, kernel, kernel)
    if shortcut:
        shapes[f"arg:res{block}_branch1_weight"] = (width, before, 1, 1)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_every_layout_of_mxnet_is_read(version, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {f"arg:{kind}": (9 * rng.random((2, 3, 1))).astype(kind) for kind in TYPES}
    found = read_mxnet(write_mxnet(tmp_path / "a.params", arrays, version))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert np.array_equal(found[name].numpy(), array), name


def resnet38_without_memory():
    with torch.device("meta"):
        return Backbone(public_weights()["resnet38d_imagenet"].network)


def test_the_resnet38_of_mxnet_becomes_ours(tmp_path):
    """At full size: every tensor is filled with a number of its own, which must arrive at the right place."""
    shapes = resnet38_names()
    arrays = {name: np.full(shape, number, np.uint8) for number, (name, shape) in enumerate(shapes.items())}
    state, ordered = read_foreign(write_mxnet(tmp_path / "a.params", arrays))
    numbers = {name: number for number, name in enumerate(shapes)}
    for ours, theirs in {
        "conv1a.weight": "arg:conv1a_weight",
        "b2.bn_branch2a.bias": "arg:bn2a_branch2a_beta",
        "b4_5.conv_branch2b1.weight": "arg:res4b5_branch2b1_weight",
        "b5_2.bn_branch2b1.running_var": "aux:bn5b2_branch2b1_moving_var",
        "b7.conv_branch1.weight": "arg:res7a_branch1_weight",
        "b6.bn_branch2b2.weight": "arg:bn6a_branch2b2_gamma",
        "bn7.running_mean": "aux:bn7_moving_mean",
    }.items():
        assert (state[ours] == numbers[theirs]).all(), ours
    assert sorted(value.flatten()[0].item() for value in state.values()) == list(range(len(shapes))), "each tensor once"
    network = resnet38_without_memory()
    fill_backbone(network, state, tmp_path, ordered)
    assert state.keys() - network.timm_state().keys() == {"linear1000_weight", "linear1000_bias"}


def test_a_wrong_tensor_of_mxnet_is_named_with_both_shapes(tmp_path):
    arrays = {name: np.zeros(shape, np.int8) for name, shape in resnet38_names().items() if "6a" not in name}
    arrays["arg:res3b1_branch2a_weight"] = np.zeros((256, 128, 3, 3), np.int8)
    state, ordered = read_foreign(write_mxnet(tmp_path / "a.params", arrays))
    with pytest.raises(PseudomaskError, match=r"it lacks 'b6.bn_branch2a.weight'"):
        fill_backbone(resnet38_without_memory(), state, tmp_path, ordered)
    network = resnet38_without_memory()
    state |= {name: value for name, value in network.timm_state().items() if name.startswith("b6.")}
    with pytest.raises(
        PseudomaskError, match=r"'b3_1.conv_branch2a.weight' is \(256, 128, 3, 3\) where .* has \(256, 256, 3, 3\)"
    ):
        fill_backbone(network, state, tmp_path, ordered)


@pytest.mark.parametrize("cut", [9, 24, 30, 60, -3])
def test_a_cut_mxnet_file_is_refused(cut, tmp_path):
    path = write_mxnet(tmp_path / "a.params", {"arg:conv1a_weight": np.ones((4, 3, 3, 3), np.float32)})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(PseudomaskError, match="is damaged"):
        read_mxnet(path)


def test_sparse_and_strange_arrays_of_mxnet_are_refused(tmp_path):
    head = struct.pack("<QQQ", 0x112, 0, 1)
    (tmp_path / "sparse").write_bytes(head + struct.pack("<Ii", 0xF993FAC9, 1))
    with pytest.raises(PseudomaskError, match="sparse"):
        read_mxnet(tmp_path / "sparse")
    (tmp_path / "new").write_bytes(head + struct.pack("<I", 0xF993FACA))
    with pytest.raises(PseudomaskError, match="unknown version"):
        read_mxnet(tmp_path / "new")
    path = write_mxnet(tmp_path / "other.params", {"arg:stage1_weight": np.ones((1, 1), np.float32)})
    with pytest.raises(PseudomaskError, match="'arg:stage1_weight', which is no layer of ResNet-38"):
        read_foreign(path)


class CaffeResNet(nn.Module):
    """DeepLab-v2's ResNet as its model file has it: BGR, stride in the first convolution, whole stages dilated."""

    def __init__(self, blocks, width):
        super().__init__()
        self.layer1 = nn.ModuleDict({"conv1": unit(3, width, 7, 2, 3)})
        channels, stages = width, zip(blocks, (1, 2, 1, 1), (1, 1, 2, 4), strict=True)
        for number, (count, stride, dilation) in enumerate(stages):
            out, stage = width * 4 * 2**number, nn.ModuleDict()
            for block in range(count):
                first = block == 0
                parts = {
                    "reduce": unit(channels, out // 4, 1, stride if first else 1),
                    "conv3x3": unit(out // 4, out // 4, 3, 1, dilation, dilation),
                    "increase": unit(out // 4, out, 1),
                }
                if first:
                    parts["shortcut"] = unit(channels, out, 1, stride)
                stage[f"block{block + 1}"] = nn.ModuleDict(parts)
                channels = out
            self.add_module(f"layer{number + 2}", stage)

    def forward(self, bgr):
        x = F.max_pool2d(F.relu(self.layer1["conv1"](bgr)), 3, 2, 1, ceil_mode=True)
        for number in range(2, 6):
            for block in getattr(self, f"layer{number}").values():
                inner = block["increase"](F.relu(block["conv3x3"](F.relu(block["reduce"](x)))))
                x = F.relu(inner + (block["shortcut"](x) if "shortcut" in block else x))
        return x


def unit(channels, width, kernel, stride=1, padding=0, dilation=1):
    layers = nn.Sequential()
    layers.add_module("conv", nn.Conv2d(channels, width, kernel, stride, padding, dilation, bias=False))
    layers.add_module("bn", nn.BatchNorm2d(width))
    return layers


def randomise(network):
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 1.5)
            module.running_mean.normal_(0, 0.1)
            module.weight.data.uniform_(0.2, 0.5)
    return network.eval()


def test_the_coco_initialisation_of_deeplab_gives_exactly_its_features(tmp_path):
    theirs = randomise(CaffeResNet((3, 4, 23, 3), 64))
    state = {f"base.{name}": value for name, value in theirs.state_dict().items()}
    state |= {"base.aspp.c0.weight": torch.zeros(91, 2048, 3, 3), "base.aspp.c0.bias": torch.zeros(91)}
    torch.save(state, tmp_path / "deeplabv1_resnet101-coco.pth")
    name = "resnet101_deeplab_coco"
    card = import_weights(tmp_path / "deeplabv1_resnet101-coco.pth", name, tmp_path / "w.safetensors")
    assert card["left_out"] == 2
    settings = public_weights()[name].network
    ours = Backbone(settings).eval()
    load_backbone(ours, tmp_path / "w.safetensors")
    rgb = torch.rand(1, 3, 65, 50)
    normalised = (rgb - torch.tensor(settings.mean).view(3, 1, 1)) / torch.tensor(settings.std).view(3, 1, 1)
    bgr = 255 * rgb.flip(1) - torch.tensor((104.008, 116.669, 122.675)).view(3, 1, 1)
    with torch.inference_mode():
        expected = theirs(bgr)
        torch.testing.assert_close(ours(normalised)[-1], expected, rtol=1e-3, atol=1e-3 * expected.abs().max())
        plain = Backbone(NetworkSettings(backbone="resnet101", output_stride=8)).eval()
        load_backbone(plain, tmp_path / "w.safetensors")
        assert not torch.allclose(plain(normalised)[-1], expected, rtol=0.1), (
            "timm's own ResNet-101 is another function"
        )


def test_torchvisions_vgg16_becomes_deeplabs(tmp_path):
    # The classifier of the whole network has 124 million parameters more.
    theirs = nn.ModuleDict({"features": torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])})
    torch.save(theirs.state_dict() | {"classifier.6.bias": torch.zeros(2)}, tmp_path / "vgg.pth")
    with pytest.raises(PseudomaskError, match=r"its SHA-256 starts with .{8}, that one's with 397923af"):
        import_weights(tmp_path / "vgg.pth", "vgg16", tmp_path / "w.safetensors")
    card = import_weights(tmp_path / "vgg.pth", "vgg16", tmp_path / "w.safetensors", any_content=True)
    assert card["left_out"] == 1
    ours = Backbone(NetworkSettings(backbone="vgg16_deeplab", output_stride=8))
    load_backbone(ours, tmp_path / "w.safetensors")
    assert torch.equal(ours.net.features[28].weight, theirs["features"][28].weight)


@pytest.mark.parametrize("name", ["deit_tiny_patch16_224", "mobilenetv2_035", "resnet10t"])
def test_wrapped_files_of_timm_names_load_again_as_safetensors(name, tmp_path):
    theirs = timm.create_model(name, num_classes=3)
    torch.save({"model": theirs.state_dict()}, tmp_path / "w.pth")
    card = import_weights(tmp_path / "w.pth", name, tmp_path / "w.safetensors")
    assert card["weights"] == name
    assert len(card["source_sha256"]) == 64
    assert load_weights(tmp_path / "w.safetensors")[1] == card
    stride = 16 if "patch16" in name else 32
    ours = Backbone(NetworkSettings(backbone=name, output_stride=stride))
    load_backbone(ours, tmp_path / "w.safetensors")
    first = next(value for value in theirs.state_dict().values() if value.ndim == 4)
    assert any(torch.equal(value, first) for value in ours.state_dict().values() if value.shape == first.shape)


def test_unknown_names_are_explained(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(PseudomaskError, match="entries of the registry: resnet38d_imagenet"):
        import_weights(tmp_path / "w.safetensors", "resnet_what", tmp_path / "out.safetensors")


def test_every_entry_names_a_network_that_exists_and_a_missing_file_says_how_to_get_it(tmp_path):
    for name, entry in public_weights().items():
        with torch.device("meta"):
            assert Backbone(entry.network).timm_state(), name
        settings = entry.network.model_copy(update={"weights": f"weights/{name}.safetensors"})
        with pytest.raises(PseudomaskError, match=f"--as {name} -o ") as error:
            weights_file(settings, tmp_path)
        assert entry.file in str(error.value)
        assert entry.project in str(error.value)
    assert "put the file there" in advice(tmp_path / "weights/own.safetensors")
