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
from pipeline.methods.objective import Batch, Objective, ParameterGroup
from pipeline.methods.segmenter import reduce_mask
from pipeline.nets.exported import load_cam_network
from pipeline.nets.irn import BoundaryNetwork
from pipeline.refine.affinity import ends, links, path_affinity

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
    sums = edge.new_zeros(5)
    counts = edge.new_zeros(3)
    for link in links(radius):
        start, end = ends(labels, link)
        known = (start != ignore) & (end != ignore)
        alike = known & (start == end)
        background, foreground, unlike = alike & (start == 0), alike & (start != 0), known & (start != end)
        affinity = path_affinity(edge, link)
        near, far = -(affinity + _TINY).log(), -(1 + _TINY - affinity).log()
        terms = [(near * background).sum(), (near * foreground).sum(), (far * unlike).sum()]
        if displacement is None:
            terms += [edge.new_zeros(()), edge.new_zeros(())]
        else:
            from_start, from_end = ends(displacement, link)
            difference = from_start - from_end
            offset = difference.new_tensor([link.down, link.right]).view(1, 2, 1, 1)
            terms.append(((difference - offset).abs().sum(1) * foreground).sum())
            terms.append((difference.abs().sum(1) * background).sum())
        sums = sums + torch.stack(terms)
        counts = counts + torch.stack([background.sum(), foreground.sum(), unlike.sum()])
    background_mean, foreground_mean, unlike_mean = sums[:3] / (counts + _TINY)
    parts = {"affinity": (background_mean / 2 + foreground_mean / 2 + unlike_mean) / 2}
    if displacement is not None:
        # Rows and columns count as two, as in the code.
        parts["displacement"] = (sums[3] / (2 * counts[1] + _TINY) + sums[4] / (2 * counts[0] + _TINY)) / 2
    return parts


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
