"""Exponential moving average of a network's weights."""

import copy
from typing import Literal, cast

import torch
from torch import nn


class MovingAverage(nn.Module):
    """A copy of a network that follows it slowly.

    Decay at update t (from 1) is ``min(1 - 1/t, decay)``: a plain average of the first states, then exponential, so
    that random initial weights are forgotten (mean teacher; Seminar learning, Eq. 1).

    Args:
        network: what to follow; the copy starts equal and takes no gradient.
        decay: weight of the past, below 1.
        buffers: batch norm's statistics are copied, averaged like weights, or the copy's own.
    """

    updates: torch.Tensor

    def __init__(self, network: nn.Module, decay: float, buffers: Literal["copy", "average", "own"] = "copy") -> None:
        super().__init__()
        self._statistics = buffers
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
        if self._statistics == "own":
            return
        for buffer, source in zip(self.average.buffers(), network.buffers(), strict=True):
            if self._statistics == "average" and buffer.is_floating_point():
                buffer.lerp_(source, 1 - keep)
            else:
                buffer.copy_(source)
