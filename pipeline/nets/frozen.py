"""Finished networks inside an objective."""

from typing import Any

import torch
from torch import Tensor, nn


class Frozen(nn.Module):
    """A finished network inside an objective: never trained, always in evaluation mode, without a gradient."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Frozen":  # noqa: ARG002
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, image: Tensor) -> Any:
        """What the network says."""
        return self.network(image)
