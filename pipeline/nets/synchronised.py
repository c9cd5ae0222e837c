"""Batch norm whose statistics are those of all processes of a training, so that they do not depend on their number."""

from functools import partial

import torch
from timm.layers.norm_act import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm


def synchronise(networks: nn.Module, device: torch.device) -> None:
    """Let every batch norm inside ``networks`` that is in training mode see the images of all processes.

    By torch's own layers on GPUs; these refuse CPUs, where sums over the processes do the same.
    """
    if device.type == "cuda":
        convert_sync_batchnorm(networks)  # type: ignore[no-untyped-call]
        return
    for norm in networks.modules():
        if isinstance(norm, _BatchNorm):
            norm.forward = partial(_forward, norm)  # type: ignore[method-assign]


def _forward(norm: _BatchNorm, values: Tensor) -> Tensor:
    """What ``norm`` makes of values (B, C, ...)."""
    if not norm.training:
        own: Tensor = type(norm).forward(norm, values)
        return own
    shape = (1, -1, *(1 for _ in values.shape[2:]))
    inside = [0, *range(2, values.ndim)]
    count = _total(values.new_tensor(values.numel() / values.shape[1]))
    mean = _total(values.sum(inside)) / count
    centred = values - mean.view(shape)
    variance = _total(centred.square().sum(inside)) / count
    if norm.track_running_stats:
        _follow(norm, mean.detach(), variance.detach() * count / (count - 1))
    result = centred * (variance + norm.eps).rsqrt().view(shape)
    if norm.affine:
        result = result * norm.weight.view(shape) + norm.bias.view(shape)
    if isinstance(norm, BatchNormAct2d):
        result = norm.act(norm.drop(result))
    return result


def _total(values: Tensor) -> Tensor:
    """Sum over all processes, through which gradients flow."""
    total: Tensor = all_reduce(values)  # type: ignore[no-untyped-call]
    return total


def _follow(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics as batch norm does."""
    assert norm.num_batches_tracked is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.num_batches_tracked += 1
    share = norm.momentum if norm.momentum is not None else 1 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean, share)
    norm.running_var.lerp_(variance, share)
