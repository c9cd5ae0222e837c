"""Seminar learning (Chen et al., ICCV 2021): a student that learns from a few labelled pixels, its own moving average,
the dense CRF's energy, and, in a primary model, from the finished student of the model before.

    L = pCE + w(t) pCons + CRF  [+ pseudo]                                    (Eq. 5 and 7)

Departures from the print: Eq. 3 has the wrong sign (as printed, disagreement would be rewarded), and the norm is a mean
over pixels and classes unless ``consistency.reduction`` says otherwise. The linear term of Eq. 4 is constant and left
out as in rloss; ``crf.report: full`` adds it to the value. Padding takes no part in any loss.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.config.classes import ClassTable
from pipeline.config.seminar import ConsistencySettings
from pipeline.config.seminar import SeminarSettings as Settings
from pipeline.crf.loss import DenseEnergyLoss
from pipeline.errors import PseudomaskError
from pipeline.methods.losses import probabilities_of, segmentation_loss
from pipeline.methods.objective import Batch, Objective, ParameterGroup, backbone_and_rest
from pipeline.nets.decoders import strongest_class, upsample
from pipeline.nets.ema import MovingAverage
from pipeline.nets.exported import check_classes, load_segmenter
from pipeline.nets.frozen import Frozen
from pipeline.nets.inference import unnormalise
from pipeline.nets.segmentation import SegmentationNetwork
from pipeline.nets.weights import initialised

__all__ = ["Seminar", "Settings", "build", "consistency_loss", "consistency_weight"]


class Seminar(Objective):
    """One model: the student, its teacher, and the frozen student whose word it takes for every pixel.

    Args:
        student: network that is trained.
        settings: parts of the loss.
        ignore: value of pixels without label.
        previous: student of the model before, for online pseudo-labels.
    """

    def __init__(
        self, student: SegmentationNetwork, settings: Settings, ignore: int, previous: SegmentationNetwork | None = None
    ) -> None:
        super().__init__()
        self.student = student
        self.teacher = (
            MovingAverage(student, settings.teacher.decay, settings.teacher.batch_norm) if settings.teacher else None
        )
        self.previous = None if previous is None else Frozen(previous)
        self.fields = frozenset({"mask", "pseudo"} if _reads_pseudo_labels(settings) else {"mask"})
        self._settings, self._ignore = settings, ignore
        energy = settings.crf
        self._energy = (
            DenseEnergyLoss(
                energy.weight * energy.factor, energy.sxy, energy.srgb, energy.scale, energy.report == "full"
            )
            if energy
            else None
        )

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """Backbone, then the decoder at ``lr_scale`` times the rate."""
        return backbone_and_rest([self.student], self._settings.lr_scale)

    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """The parts of Eq. 7 that are switched on."""
        settings, image, valid = self._settings, batch["image"], batch["valid"]
        logits = upsample(self.student(image).float(), image.shape[-2:])
        partial = segmentation_loss(logits, batch["mask"], self._ignore)
        parts = {"partial": partial / len(image) if settings.extra_batch_division else partial}
        probabilities = probabilities_of(logits) if settings.consistency or self._energy else logits
        if settings.consistency is not None and self.teacher is not None:
            with torch.no_grad():
                teacher = probabilities_of(upsample(self.teacher.average(image).float(), image.shape[-2:]))
            weight = consistency_weight(settings.consistency, step)
            parts["consistency"] = weight * consistency_loss(
                probabilities, teacher, valid, settings.consistency.reduction
            )
        if self._energy is not None:
            parts["crf"] = self._energy(unnormalise(image, settings.network), probabilities, valid.float())
        if settings.pseudo is not None:
            labels = batch["pseudo"] if self.previous is None else self._heterogeneous(image, valid)
            parts["pseudo"] = settings.pseudo.weight * segmentation_loss(logits, labels, self._ignore)
        return parts

    def on_step_end(self, step: int) -> None:  # noqa: ARG002
        """The teacher follows (Eq. 1)."""
        if self.teacher is not None:
            self.teacher.update(self.student)

    def export(self) -> nn.Module:
        """Student or teacher."""
        if self._settings.output == "teacher":
            assert self.teacher is not None
            return self.teacher.average
        return self.student

    @torch.no_grad()
    def _heterogeneous(self, image: Tensor, valid: Tensor) -> Tensor:
        """The previous student's classes of every pixel, int64 (B, H, W); padding is ignored."""
        assert self.previous is not None
        labels = strongest_class(upsample(self.previous(image).float(), image.shape[-2:]))
        return labels.masked_fill(~valid, self._ignore)


def consistency_weight(settings: ConsistencySettings, step: int) -> float:
    """Weight of the consistency term at a step: linear from 0, changed every ``update_every`` steps."""
    if settings.ramp_steps == 0:
        return settings.weight
    begun = step // settings.update_every * settings.update_every
    return settings.weight * min(1.0, begun / settings.ramp_steps)


def consistency_loss(student: Tensor, teacher: Tensor, valid: Tensor, reduction: str) -> Tensor:
    """Squared difference of probabilities (B, C, H, W), mean over valid pixels (B, H, W), mean or sum over classes."""
    squared = (student - teacher).square().sum(1)
    total = (squared * valid).sum() / valid.sum().clamp(min=1)
    return total / student.shape[1] if reduction == "mean_all" else total


def build(settings: Settings, classes: ClassTable, weights_root: Path, networks: Mapping[str, Path]) -> Seminar:
    """The objective; ``networks["previous"]`` is the exported student of the model before.

    Raises:
        PseudomaskError: a network cannot be built or loaded.
    """
    # First, so that it does not depend on the model before which random weights it starts from.
    student = initialised(SegmentationNetwork(settings.network, len(classes)), settings.network, weights_root)
    online = settings.pseudo is not None and settings.pseudo.mode == "online"
    previous = None
    if online or settings.start == "previous":
        if "previous" not in networks:
            raise PseudomaskError("pseudo-labels and start: previous need the model before, which is not connected")
        previous, _, found = load_segmenter(networks["previous"])
        check_classes(classes, found, networks["previous"])
    if settings.start == "previous":
        assert previous is not None
        student.load_state_dict(previous.state_dict())
    return Seminar(student, settings, classes.ignore, previous if online else None)


def _reads_pseudo_labels(settings: Settings) -> bool:
    return settings.pseudo is not None and settings.pseudo.mode == "offline"
