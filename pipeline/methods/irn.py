"""IRN (Ahn et al., CVPR 2019): boundaries between classes, learned from pairs of places with sure labels.

    L = 1/2 (1/2 background pairs + 1/2 foreground pairs of -log a + unlike pairs of -log(1 - a))
      + 1/2 (|d_i - d_j - (p_j - p_i)| on foreground pairs + |d_i - d_j| on background pairs)       (Eq. 5 to 9)

a is the affinity over the straight way between two places. Means are over the pairs of the whole batch.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from pipeline.config.classes import ClassTable
from pipeline.config.irn import IrnSettings as Settings
from pipeline.errors import PseudomaskError
from pipeline.methods.losses import reduce_mask
from pipeline.methods.objective import Batch, Objective, ParameterGroup
from pipeline.nets.exported import load_cam_network
from pipeline.nets.irn import BoundaryNetwork
from pipeline.refine.affinity import Link, ends, links, path_affinity

__all__ = ["Irn", "Settings", "build", "pair_losses"]

_TINY = 1e-5


class Irn(Objective):
    """Trains the heads of a :class:`BoundaryNetwork`."""

    fields = frozenset({"mask"})

    def __init__(self, network: BoundaryNetwork, settings: Settings, ignore: int) -> None:
        super().__init__()
        self.network = network
        self._settings, self._ignore = settings, ignore

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """Boundaries, then displacements at ``lr_scale`` times the rate."""
        edge = [*self.network.edge_parts.parameters(), *self.network.edge.parameters()]
        groups = [ParameterGroup(edge)]
        if self.network.displacement is not None:
            groups.append(
                ParameterGroup(list(self.network.displacement.parameters()), lr_scale=self._settings.lr_scale)
            )
        return groups

    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:  # noqa: ARG002
        """Loss of affinities, and of displacements where they are learned."""
        logits, displacement = self.network(batch["image"])
        labels = reduce_mask(batch["mask"], logits.shape[-2:])
        return pair_losses(
            logits.float().sigmoid(),
            None if displacement is None else displacement.float(),
            labels,
            self._settings.radius,
            self._ignore,
        )

    def export(self) -> BoundaryNetwork:
        """The boundary network."""
        return self.network


def pair_losses(
    edge: Tensor, displacement: Tensor | None, labels: Tensor, radius: int, ignore: int
) -> dict[str, Tensor]:
    """Both halves of the loss.

    Args:
        edge: boundaries (B, H, W), 0..1.
        displacement: (B, 2, H, W), rows then columns, or None.
        labels: int64 (B, H, W); 0 is background.
        radius: pairs nearer than this count.
        ignore: places without label form no pair.
    """
    pairs = _Pairs(labels, ignore, edge.dtype)
    counts = torch.stack([torch.stack([kind.sum() for kind in pairs.of(link)]) for link in links(radius)]).sum(0)
    # What a pair of each kind weighs is known before the loss is, so that all means are one sum. Rows and columns of
    # displacements count as two, as in the code.
    weights = counts.new_tensor([0.25, 0.25, 0.5]) / (counts + _TINY)
    distance_weights = 0.25 / (counts + _TINY / 2)
    affinity, distance = edge.new_zeros(()), edge.new_zeros(())
    for link in links(radius):
        background, foreground, unlike = pairs.of(link)
        alike = path_affinity(edge, link)
        likely = (alike - unlike).abs()  # alike, or 1 - alike
        weight = weights[0] * background + weights[1] * foreground + weights[2] * unlike
        affinity = affinity - ((likely + _TINY).log() * weight).sum()
        if displacement is not None:
            from_start, from_end = ends(displacement, link)
            way = displacement.new_tensor([link.down, link.right]).view(1, 2, 1, 1) * foreground[:, None]
            weight = distance_weights[0] * background + distance_weights[1] * foreground
            distance = distance + ((from_start - from_end - way).abs() * weight[:, None]).sum()
    return {"affinity": affinity} if displacement is None else {"affinity": affinity, "displacement": distance}


class _Pairs:
    """Which pairs places form with their neighbours."""

    def __init__(self, labels: Tensor, ignore: int, kind: torch.dtype) -> None:
        self._labels, self._background, self._known = labels, (labels == 0).to(kind), (labels != ignore).to(kind)

    def of(self, link: Link) -> tuple[Tensor, Tensor, Tensor]:
        """1 where both are background, both of one other class, of different classes; elsewhere 0.

        Each is shaped as :func:`path_affinity` of boundaries (B, H, W).
        """
        start, end = ends(self._labels, link)
        known, background = (torch.mul(*ends(values, link)) for values in (self._known, self._background))
        alike = known * (start == end)
        return background, alike - background, known - alike


def build(settings: Settings, classes: ClassTable, weights_root: Path, networks: Mapping[str, Path]) -> Irn:
    """The objective, on the backbone of ``settings.network.weights`` or of the classifier ``networks["classifier"]``.

    Raises:
        PseudomaskError: the network cannot be built or its weights not be loaded.
    """
    if settings.start == "backbone":
        network = BoundaryNetwork.initial(settings.network, settings.displacement, weights_root)
        return Irn(network, settings, classes.ignore)
    if "classifier" not in networks:
        raise PseudomaskError("start: classifier needs the run's classifier, which is not connected")
    classifier, _, _ = load_cam_network(networks["classifier"])
    network = BoundaryNetwork(settings.network, settings.displacement)
    try:
        network.backbone.network.load_state_dict(classifier.backbone.state_dict())
    except RuntimeError as error:
        raise PseudomaskError(
            "start: classifier needs the same backbone and options under irn.model.network"
        ) from error
    return Irn(network, settings, classes.ignore)
