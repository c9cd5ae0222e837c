import pytest
import torch

from pipeline.config.network import NetworkSettings
from pipeline.errors import PseudomaskError
from pipeline.nets.backbones import Backbone
from pipeline.nets.resnet38d import ResNet38d
from pipeline.nets.weights import load_backbone


def settings(**changes):
    return NetworkSettings(backbone="resnet38d", output_stride=8, batch_norm="frozen", **changes)


def counted():
    """Weights of the published layers, without batch norm."""
    blocks = [(64, 128, 128), *[(128, 128, 128)] * 2, (128, 256, 256), *[(256, 256, 256)] * 2]
    blocks += [(256, 512, 512), *[(512, 512, 512)] * 5, (512, 512, 1024), *[(1024, 512, 1024)] * 2]
    total = 3 * 64 * 9 + sum(9 * a * b + 9 * b * c + (a * c if a != c else 0) for a, b, c in blocks)
    bottlenecks = [(1024, 2048), (2048, 4096)]
    return total + sum(a * b // 4 + 9 * b // 4 * b // 2 + b // 2 * b + a * b for a, b in bottlenecks)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return ResNet38d().eval()


def test_it_has_the_published_layers(network):
    weights = {name: p for name, p in network.named_parameters() if p.ndim == 4}
    assert sum(p.numel() for p in weights.values()) == counted()
    # 38 weighted layers, counting the classifier and not the shortcuts.
    assert sum("branch1." not in name for name in weights) + 1 == 38
    # The paper of ASDT says 104.1 M, of a network with the classifier of 20 classes.
    assert sum(p.numel() for p in network.parameters()) + 4096 * 20 == pytest.approx(104.1e6, rel=0.02)


def test_its_features_are_dense_to_the_end(network):
    with torch.inference_mode():
        features = network(torch.zeros(1, 3, 32, 48))
    assert [tuple(f.shape[1:]) for f in features] == [
        *((128, 16, 24), (256, 8, 12), (512, 4, 6), (1024, 4, 6), (4096, 4, 6))
    ]
    dilations = {n: m.dilation[0] for n, m in network.named_modules() if getattr(m, "kernel_size", None) == (3, 3)}
    assert {n for n, d in dilations.items() if d == 4} == {"b6.conv_branch2b1", "b7.conv_branch2b1"}
    assert dilations["b5.conv_branch2a"] == 1
    assert {dilations[f"{n}.conv_branch2b1"] for n in ("b5", "b5_1", "b5_2")} == {2}


def test_the_name_files_of_psa_load(network, tmp_path):
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save(state | {"module.fc8.weight": torch.zeros(20, 4096, 1, 1)}, tmp_path / "res38_cls.pth")
    backbone = Backbone(settings())
    load_backbone(backbone, tmp_path / "res38_cls.pth")
    assert torch.equal(backbone.net.b7.conv_branch1.weight, network.b7.conv_branch1.weight)


@pytest.mark.parametrize(("frozen", "names"), [(0, set()), (1, {"conv1a"}), (2, {"conv1a", "b2", "b2_1", "b2_2"})])
def test_shallow_blocks_can_stay_as_loaded(frozen, names):
    net = ResNet38d(frozen_blocks=frozen)
    assert {name.split(".")[0] for name, p in net.named_parameters() if not p.requires_grad} == names


def test_options_and_strides_it_does_not_have_are_explained():
    with pytest.raises(PseudomaskError, match="takes the options dropout"):
        Backbone(settings(backbone_options={"depth": 3}))
    with pytest.raises(PseudomaskError, match="output_stride to 8"):
        Backbone(NetworkSettings(backbone="resnet38d", output_stride=16))
