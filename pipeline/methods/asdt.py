"""ASDT (Zhang et al., IEEE TIP 2023): a student that learns in turns from two teachers, all branches of one network.

The class-teacher's activation maps know where objects are, the segmentation teacher knows their shape:

    L = L_ce + w_t (CE(P_st, B_ct) + L_str(P_st)) + w_s (CE(P_s, B) + L_str(P_s))            (Eq. 2, 3, 5, 6)

B_ct are the class-teacher's reliable labels; B is B_ct or, in the structure phase of Eq. 4, B_st, the segmentation
teacher's labels after a CRF. Departures from the print: Eq. 3, 5 and 6 lack the minus sign and sum over pixels; here,
as in the code, cross-entropy with B_ct is the mean over background pixels plus the mean over foreground pixels, that
with B_st the mean over all pixels. From the code: the factors w (1/2) and the warm-up. Unlike the code, which makes
B_st on an image that is not the network's crop and then does not use it, B_st belongs to the crop and teaches.
Padding takes no part in any label or loss.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config.asdt import AlternationSettings
from pipeline.config.asdt import AsdtSettings as Settings
from pipeline.config.classes import ClassTable
from pipeline.crf.loss import DenseEnergyLoss
from pipeline.errors import PseudomaskError
from pipeline.methods.losses import balanced_loss, distillation_loss, probabilities_of, sum_of
from pipeline.methods.objective import Batch, Objective, ParameterGroup
from pipeline.methods.side_work import Pending, SideWork
from pipeline.nets.branched import BranchedNetwork
from pipeline.nets.decoders import strongest_class, upsample
from pipeline.nets.inference import unnormalise
from pipeline.nets.weights import initialised
from pipeline.refine.background import power_background
from pipeline.refine.teachers import Evidence, refined_probabilities, reliable_labels

__all__ = ["Asdt", "Settings", "build", "in_structure_phase"]


class Asdt(Objective):
    """The network and its losses.

    Args:
        network: with one branch (the student, strategy I) or two (segmentation teacher, student).
        settings: parts of the loss.
        ignore: value of pixels without label.

    Attributes:
        side_work: what makes the labels, and how long the step has waited for them.
    """

    fields = frozenset({"tags"})

    def __init__(self, network: BranchedNetwork, settings: Settings, ignore: int) -> None:
        super().__init__()
        self.network = network
        self.side_work = SideWork()
        self._settings, self._ignore = settings, ignore
        structure = settings.structure
        self._energy = (
            DenseEnergyLoss(structure.weight, structure.sxy, structure.srgb, structure.scale) if structure else None
        )

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """Backbone, then the branches at ``lr_scale`` times the rate; biases apart where they are doubled."""
        backbone = {id(parameter) for parameter in self.network.backbone.parameters()}
        trained = [(name, p) for name, p in self.network.named_parameters() if p.requires_grad]
        groups = []
        for inside, scale in ((True, 1.0), (False, self._settings.lr_scale)):
            own = [(name, p) for name, p in trained if (id(p) in backbone) == inside]
            apart = [p for name, p in own if self._settings.biases == "double" and name.endswith(".bias")]
            groups.append(ParameterGroup([p for _, p in own if all(p is not bias for bias in apart)], lr_scale=scale))
            if apart:
                groups.append(ParameterGroup(apart, lr_scale=2 * scale, weight_decay=0.0))
        return groups

    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """The parts of the loss; the student's cross-entropy is named by the phase of the step."""
        settings, image = self._settings, batch["image"]
        output = self.network(image)
        colours = unnormalise(image.float(), settings.network)
        views = _Views(colours, batch["valid"], batch["tags"])
        maps = views.maps(self.network.maps(image, output.evidence, settings.cam_scales).float())
        # Labels are made beside all that follows, up to the first place that needs them.
        reliable = self._reliable(views, maps)
        logits = [
            upsample(self.network.segment(output.features, branch).float(), image.shape[-2:])
            for branch in range(1 if settings.strategy == "I" else 2)
        ]
        refined = None
        if self._is_taught_structure(step):
            refined = self._refined(views, maps, probabilities_of(logits[0].detach()))
        energy = _Energy(self._energy, colours, batch["valid"], self._ignore)
        loss = F.binary_cross_entropy_with_logits(output.logits.float(), batch["tags"])
        parts = {"classification": settings.weights.classification * loss}
        located = cache(lambda: views.labels(reliable.result(), self._ignore))
        energies = []
        if len(logits) == 2:
            energies.append(settings.weights.teacher * energy.of(logits[0], located))
            loss = 2 * balanced_loss(logits[0], located(), self._ignore)
            parts["teacher"] = settings.weights.teacher * loss
        if refined is None:
            energies.append(settings.weights.student * energy.of(logits[-1], located))
            loss = 2 * balanced_loss(logits[-1], located(), self._ignore)
            parts["student, location"] = settings.weights.student * loss
        else:
            targets = cache(partial(self._targets, views, refined, logits[0].shape[1]))
            strongest = cache(lambda: strongest_class(targets()).masked_fill(~batch["valid"], self._ignore))
            energies.append(settings.weights.student * energy.of(logits[-1], strongest))
            loss = settings.weights.distillation * distillation_loss(logits[-1], targets(), batch["valid"])
            parts["student, structure"] = settings.weights.student * loss
        if self._energy is not None:
            parts["energy"] = sum_of(energies)
        return parts

    def export(self) -> nn.Module:
        """The network with all branches."""
        return self.network

    def _is_taught_structure(self, step: int) -> bool:
        """Whether the segmentation teacher has a say in the student's labels of this step."""
        strategy = self._settings.strategy
        return strategy in ("II", "III", "IV") or (
            strategy == "V" and in_structure_phase(step, self._settings.alternation)
        )

    def _reliable(self, views: "_Views", maps: list[NDArray[np.float32]]) -> Pending[list[NDArray[np.uint8]]]:
        """The class-teacher's labels B_ct."""
        evidence = views.evidence(maps, with_background=False)
        settings, ignore, threads = self._settings.reliable, self._ignore, torch.get_num_threads()
        return self.side_work.start(lambda: reliable_labels(evidence, settings, ignore, threads))

    def _refined(
        self, views: "_Views", maps: list[NDArray[np.float32]], probabilities: Tensor
    ) -> Pending[list[NDArray[np.float32]]]:
        """The segmentation teacher's labels B_st, alone or joined with the class-teacher's maps (III, IV)."""
        strategy, settings = self._settings.strategy, self._settings.distillation
        scores = views.present(probabilities)
        if strategy in ("III", "IV"):
            own = [np.concatenate([power_background(values, settings.joint_alpha), values]) for values in maps]
            own = [values / values.sum(0, keepdims=True).clip(1e-5) for values in own]
            join = np.maximum if strategy == "III" else _mean
            scores = [join(first, second) for first, second in zip(own, scores, strict=True)]
        evidence, threads = views.evidence(scores, with_background=True), torch.get_num_threads()
        return self.side_work.start(lambda: refined_probabilities(evidence, settings.crf, threads))

    def _targets(self, views: "_Views", refined: Pending[list[NDArray[np.float32]]], count: int) -> Tensor:
        """The segmentation teacher's labels as targets (B, C, H, W), hard or soft; 0 in padding."""
        found = refined.result()
        if self._settings.distillation.targets == "hard":
            found = [np.eye(len(values), dtype=np.float32)[:, values.argmax(0)] for values in found]
        return views.targets(found, count)


class _Energy:
    """L_str over the images of one batch, whose filter all branches share; 0 where it is left out."""

    def __init__(self, loss: DenseEnergyLoss | None, colours: Tensor, valid: Tensor, ignore: int) -> None:
        self._loss, self._colours, self._valid, self._ignore = loss, colours, valid.to(colours.dtype), ignore
        self._filter = loss.filter_of(colours) if loss is not None else None

    def of(self, logits: Tensor, labels: Callable[[], Tensor]) -> Tensor:
        """The energy of one branch, gated where ``labels`` are known."""
        if self._loss is None:
            return logits.new_zeros(())
        probabilities = probabilities_of(logits)
        result: Tensor = self._loss(self._colours, probabilities, self._valid, labels, self._ignore, self._filter)
        return result


class _Views:
    """The images of a batch without their padding, and the way from whole-batch tensors to single images and back.

    Args:
        colours: RGB 0..255, (B, 3, H, W).
        valid: bool (B, H, W), False where padded.
        tags: (B, C-1).
    """

    def __init__(self, colours: Tensor, valid: Tensor, tags: Tensor) -> None:
        self._shape, self._valid = valid.shape, valid
        self._boxes = [_box(mask) for mask in valid.cpu().numpy()]
        self._classes = [np.flatnonzero(row) + 1 for row in tags.cpu().numpy()]
        pixels = colours.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        self._images = [np.ascontiguousarray(each[box]) for each, box in zip(pixels, self._boxes, strict=True)]

    def maps(self, values: Tensor) -> list[NDArray[np.float32]]:
        """Activation maps (B, C-1, h, w) of the present classes, (K, H, W), each divided by its maximum."""
        found = self._chosen(upsample(values, self._shape[-2:]), [classes - 1 for classes in self._classes])
        return [each / (each.max((1, 2), keepdims=True) + 1e-5) if len(each) else each for each in found]

    def present(self, values: Tensor) -> list[NDArray[np.float32]]:
        """Probabilities (B, C, H, W) of the background and the present classes (C+ of Eq. 6), (K+1, H, W)."""
        return self._chosen(values, [np.append(0, classes) for classes in self._classes])

    def evidence(self, scores: Sequence[NDArray[np.float32]], with_background: bool) -> list[Evidence]:
        """What a teacher says of each image."""
        return [
            Evidence(image, values, np.append(0, classes) if with_background else classes)
            for image, values, classes in zip(self._images, scores, self._classes, strict=True)
        ]

    def labels(self, found: Sequence[NDArray[np.uint8]], ignore: int) -> Tensor:
        """Label maps of the images as int64 (B, H, W), padding ignored."""
        result = np.full(self._shape, ignore, np.int64)
        for target, box, labels in zip(result, self._boxes, found, strict=True):
            target[box] = labels
        return torch.from_numpy(result).to(self._valid.device).masked_fill(~self._valid, ignore)

    def targets(self, found: Sequence[NDArray[np.float32]], count: int) -> Tensor:
        """Probabilities of the images as (B, C, H, W); 0 for absent classes and padding."""
        result = np.zeros((self._shape[0], count, *self._shape[1:]), np.float32)
        for target, box, classes, values in zip(result, self._boxes, self._classes, found, strict=True):
            for index, channel in zip(np.append(0, classes), values, strict=True):
                target[index][box] = channel
        return torch.from_numpy(result).to(self._valid.device)

    def _chosen(self, values: Tensor, classes: Sequence[NDArray[np.int64]]) -> list[NDArray[np.float32]]:
        # Only what is wanted leaves the device.
        return [
            each[torch.from_numpy(wanted).to(each.device)][:, box[0], box[1]].contiguous().cpu().numpy()
            for each, wanted, box in zip(values, classes, self._boxes, strict=True)
        ]


def in_structure_phase(step: int, settings: AlternationSettings) -> bool:
    """Whether the student learns from the segmentation teacher at ``step``, from 0 (the controller of Eq. 4).

    Periods are counted from step 0, as in the code, also where a warm-up covers the first of them.
    """
    if step < settings.warmup_steps:
        return False
    position, length = step % settings.period, settings.structure_steps
    if settings.order == "structure_first":
        return position < length
    return position >= settings.period - length


def build(settings: Settings, classes: ClassTable, weights_root: Path, networks: Mapping[str, Path]) -> Asdt:
    """The objective, started from ``settings.network.weights`` below ``weights_root`` or ``networks["classifier"]``.

    Raises:
        PseudomaskError: the network cannot be built or its weights not be loaded.
    """
    branches = 1 if settings.strategy == "I" else 2
    if settings.start == "backbone":
        network = initialised(
            BranchedNetwork(settings.network, len(classes), branches, settings.dropout), settings.network, weights_root
        )
        return Asdt(network, settings, classes.ignore)
    if "classifier" not in networks:
        raise PseudomaskError("start: classifier needs a trained classifier, which is not connected")
    network = BranchedNetwork(settings.network, len(classes), branches, settings.dropout)
    network.start_from(networks["classifier"])
    return Asdt(network, settings, classes.ignore)


def _box(valid: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns that hold all valid pixels; everything where there is none."""
    rows, columns = np.flatnonzero(valid.any(1)), np.flatnonzero(valid.any(0))
    if not len(rows):
        return slice(0, valid.shape[0]), slice(0, valid.shape[1])
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _mean(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    return (first + second) * np.float32(0.5)
