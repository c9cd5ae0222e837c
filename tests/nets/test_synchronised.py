import copy

import pytest
import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import nn

from pipeline.nets.synchronised import synchronise


@pytest.fixture
def group(tmp_path):
    """A process group of this process alone."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("momentum", [0.1, None])
def test_in_one_process_it_is_batch_norm(group, momentum):
    """Values, gradients and running statistics, of layers with an activation too, while training and after."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=momentum), BatchNormAct2d(4), nn.Flatten())
    plain.append(nn.BatchNorm1d(4 * 25, affine=False))
    other = copy.deepcopy(plain)
    synchronise(other, torch.device("cpu"))
    batch, towards = 5 * torch.rand(6, 3, 7, 7) + 3, torch.rand(6, 100)
    for _ in range(2):
        for network in (plain, other):
            ((network(batch) - towards) ** 2).mean().backward()
    for one, two in zip(plain.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(two.grad, one.grad, rtol=1e-4, atol=1e-6)
    assert plain.state_dict().keys() == other.state_dict().keys()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value)
    torch.testing.assert_close(other.eval()(batch), plain.eval()(batch))


def test_copies_follow_their_own_statistics(group):
    norm = nn.Sequential(nn.BatchNorm2d(3))
    synchronise(norm, torch.device("cpu"))
    twin = copy.deepcopy(norm)
    twin(torch.rand(2, 3, 4, 4))
    assert int(twin[0].num_batches_tracked) == 1
    assert int(norm[0].num_batches_tracked) == 0
