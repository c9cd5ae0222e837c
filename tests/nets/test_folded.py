import pytest
import torch
from torch import nn

from pipeline.config.network import NetworkSettings
from pipeline.nets.classification import ClassificationNetwork
from pipeline.nets.folded import fold_batch_norm
from pipeline.nets.irn import BoundaryNetwork
from pipeline.nets.segmentation import SegmentationNetwork


def settled(network):
    """With statistics and weights of batch norm that are not those of a new one."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, least in ((module.running_mean, -1), (module.running_var, 0.5), (module.weight.data, 0.5)):
                nn.init.uniform_(values, least, 1.5)
            nn.init.uniform_(module.bias.data, -0.5, 0.5)
    return network.eval()


def norms(network):
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


SMALL = {"backbone": "mobilenetv2_035", "final_convolution": True}
NETWORKS = {
    "mobilenet": lambda: SegmentationNetwork(NetworkSettings(**SMALL, decoder="deeplabv3plus"), 4),
    "same padding": lambda: SegmentationNetwork(
        NetworkSettings(backbone="tf_mobilenetv3_small_minimal_100", decoder="deeplabv3plus"), 4
    ),
    "resnet": lambda: SegmentationNetwork(NetworkSettings(backbone="resnet10t", decoder="pspnet"), 4),
    "classifier": lambda: ClassificationNetwork(NetworkSettings(**SMALL), 3),
    "boundaries": lambda: BoundaryNetwork(NetworkSettings(**SMALL), displacement=True),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_folded_networks_say_the_same(name):
    network = settled(NETWORKS[name]())
    image = torch.randn(2, 3, 70, 90)
    before, count = network(image), norms(network)
    assert fold_batch_norm(network, 64) == count > 10
    assert norms(network) == 0
    torch.testing.assert_close(network(image), before, rtol=1e-3, atol=1e-4)


class Block(nn.Module):
    def __init__(self, join):
        super().__init__()
        self.conv, self.bn, self.other, self.join = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), join

    def forward(self, image):
        values = self.conv(image)
        return self.join(self, values, self.bn(values))


@pytest.mark.parametrize(
    ("join", "folded"),
    [
        (lambda self, values, normed: normed, 1),
        (lambda self, values, normed: normed + self.other(values), 0),  # another module sees the output, too
        (lambda self, values, normed: normed + values, 0),  # none does
        (lambda self, values, normed: self.bn(normed), 0),  # one norm, two inputs
    ],
)
def test_only_outputs_that_nothing_else_uses(join, folded):
    network = settled(Block(join))
    image = torch.randn(1, 3, 8, 8)
    before = network(image)
    assert fold_batch_norm(network, 8) == folded
    torch.testing.assert_close(network(image), before)


def test_what_several_places_share_is_folded_in_all():
    stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    network = settled(nn.ModuleDict({"first": stem, "second": nn.ModuleDict({"same": stem})}))
    network.forward = lambda image: network["second"]["same"](image)
    assert fold_batch_norm(network, 8) == 1
    assert norms(network) == 0


def test_a_network_without_convolutions_stays():
    assert fold_batch_norm(nn.Linear(3, 3), 8) == 0
