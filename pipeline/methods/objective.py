"""The interface every training objective has."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from torch import Tensor, nn

from pipeline.data.mixed import Stream


class Batch(TypedDict, total=False):
    """A batch as the loop hands it over; an objective finds the fields it asked for, and ``image`` and ``valid``.

    image: float32 (B, 3, H, W), normalised with the network's mean and standard deviation; channels of priors follow.
    valid: bool (B, H, W), False where augmentation padded.
    tags: float32 (B, C-1), 1 for present foreground classes.
    mask: int64 (B, H, W) class indices, the ignore value where nothing is known or padded.
    pseudo: as ``mask``, made by an earlier network.
    role: int64 (B,), what a sample's stream says it is for.
    confidence: as ``mask``, 1 where ``mask`` is to be trusted, 0 where not.
    partner_image, partner_valid, partner_tags: of the first images' partners, (P, ...), P being ``partners``.
    """

    image: Tensor
    valid: Tensor
    tags: Tensor
    mask: Tensor
    pseudo: Tensor
    role: Tensor
    confidence: Tensor
    partner_image: Tensor
    partner_valid: Tensor
    partner_tags: Tensor


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning rate.

    Attributes:
        parameters: what to train; frozen parameters are left out.
        lr_scale: factor on the base learning rate.
        weight_decay: overrides the optimiser's weight decay if given.
    """

    parameters: list[nn.Parameter] = field(repr=False)
    lr_scale: float = 1.0
    weight_decay: float | None = None


def backbone_and_rest(networks: Sequence[nn.Module], lr_scale: float) -> list[ParameterGroup]:
    """What is trained of each network's ``backbone``, then everything else at ``lr_scale`` times the rate."""
    backbones = [p for network in networks for p in getattr(network, "backbone", nn.Module()).parameters()]
    inside = {id(p) for p in backbones}
    rest = [p for network in networks for p in network.parameters() if id(p) not in inside]
    return [ParameterGroup([p for p in backbones if p.requires_grad]), ParameterGroup(rest, lr_scale=lr_scale)]


class Objective(nn.Module):
    """Networks and losses of one method; everything that has state is a submodule or buffer.

    The loop calls ``training_step`` for every micro-batch, adds the parts up, steps the optimiser, then calls
    ``on_step_end``. Randomness inside a step comes from torch's global generator, which the loop seeds for
    every micro-batch, so a resumed run draws the same numbers.
    """

    fields: frozenset[str] = frozenset()
    """Names of the :class:`Batch` fields beside ``image`` and ``valid`` that the objective needs; all but ``tags``
    are masks. Objectives whose settings decide set it on the instance."""

    partners: int = 0
    """How many images of a micro-batch, the first ones, come with a partner: an image that shares a class."""

    streams: tuple[Stream, ...] = ()
    """Composition of a batch, for objectives that learn from several kinds of images; none: all images alike."""

    @abstractmethod
    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """Trainable parameters, each in exactly one group."""

    @abstractmethod
    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Weighted loss parts by name, scalars; their sum is minimised. ``step`` counts optimiser steps from 0."""

    def on_step_end(self, step: int) -> None:
        """Called after the optimiser step, for moving averages and phase switches."""

    @abstractmethod
    def export(self) -> nn.Module:
        """The network that later stages load; its state dict is what ``weights.safetensors`` holds."""
