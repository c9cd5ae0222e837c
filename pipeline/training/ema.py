"""Exponential moving average of a network's weights."""

import copy
from typing import cast

import torch
from torch import nn


class MovingAverage(nn.Module):
    """A copy of a network that follows it slowly.

    Decay at update t (from 1) is ``min(1 - 1/t, decay)``: a plain average of the first states, then exponential, so
    that random initial weights are forgotten (mean teacher; Seminar learning, Eq. 1). Buffers are copied.

    Args:
        network: what to follow; the copy starts equal and takes no gradient.
        decay: weight of the past, below 1.
    """

    updates: torch.Tensor

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards ``network``; call after each optimiser step."""
        self.updates += 1
        keep = min(1 - 1 / int(self.updates), self.decay)
        mine = cast(list[torch.Tensor], list(self.average.parameters()))
        theirs = [parameter.detach() for parameter in network.parameters()]
        torch._foreach_lerp_(mine, theirs, 1 - keep)
        for buffer, source in zip(self.average.buffers(), network.buffers(), strict=True):
            buffer.copy_(source)
