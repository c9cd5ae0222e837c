"""DuPL (Wu et al., CVPR 2024): two students of equal make teach each other with labels from their activation maps.

    L = L_cls + 0.2 L_ptc + lambda_1 L_dis + lambda_2 L_seg + lambda_3 L_reg                    (Eq. 9)

Eq. 9 leaves out ToCo's token contrast L_ptc, which the code has. Where paper and code differ (form and axis of the
discrepancy, gamma, target of L_reg, thresholds of single classes), a setting chooses; see docs/dupl.md. Eq. 7 is
printed with the means exchanged. The code's forward pass whose result is thrown away, and its mixtures on the CPU image
by image, are not here.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config.classes import ClassTable
from pipeline.config.dupl import DiscrepancySettings, RegularisationSettings, ThresholdSchedule
from pipeline.config.dupl import DuplSettings as Settings
from pipeline.data.strong import strong_colours
from pipeline.methods.losses import (
    balanced_loss,
    cross_entropy,
    probabilities_of,
    reduce_mask,
    segmentation_loss,
    sum_of,
)
from pipeline.methods.objective import Batch, Objective, ParameterGroup, backbone_and_rest
from pipeline.nets.decoders import upsample
from pipeline.nets.inference import normalise, unnormalise
from pipeline.nets.students import Student, StudentOutput
from pipeline.nets.weights import initialised
from pipeline.refine.mixture import noise_mask
from pipeline.refine.two_threshold import two_threshold_labels

__all__ = [
    "Dupl",
    "Settings",
    "build",
    "contrast_loss",
    "discrepancy_loss",
    "high_threshold",
]


class Dupl(Objective):
    """One or two students.

    Args:
        students: the networks, which share nothing.
        settings: parts of the loss.
        classes: names, for thresholds of single classes, and the ignore value.
    """

    fields = frozenset({"tags"})

    def __init__(self, students: Sequence[Student], settings: Settings, classes: ClassTable) -> None:
        super().__init__()
        self.students = list(students)
        self.networks = nn.ModuleList(students)
        self._settings, self._ignore = settings, classes.ignore
        schedule = settings.thresholds
        own = {classes.index(name, "thresholds.per_class_end"): end for name, end in schedule.per_class_end.items()}
        ends = [own.get(index, schedule.high_end) for index in range(1, len(classes))]
        self.register_buffer("ends", torch.tensor(ends), persistent=False)
        self.ends: Tensor

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """Backbones, then classifiers and decoders at ``lr_scale`` times the rate."""
        return backbone_and_rest(self.students, self._settings.lr_scale)

    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """The parts of the loss of this phase: classifiers, then segmentation, then filtering and consistency."""
        settings = self._settings
        views = [_View(batch["image"], batch["valid"])]
        if settings.dual:
            views.append(self._second_view(batch) if settings.different_views else views[0])
        outputs = [student(view.image) for student, view in zip(self.students, views, strict=True)]
        parts = {"classification": sum_of(self._classification(output, batch["tags"]) for output in outputs)}
        discrepancy, contrast = settings.discrepancy, settings.contrast
        if discrepancy is not None and settings.dual and step >= discrepancy.start_step:
            # Both in the geometry of the image, so that a place is compared with itself.
            features = [view.upright(output.features) for output, view in zip(outputs, views, strict=True)]
            parts["discrepancy"] = discrepancy.weight * _both_ways(features[0], features[1], discrepancy)
        contrasts = contrast is not None and step >= contrast.start_step
        if not contrasts and step < settings.warmup_steps:
            return parts
        maps = [self._maps(student, view) for student, view in zip(self.students, views, strict=True)]
        if contrast is not None and contrasts:
            parts["contrast"] = contrast.weight * sum_of(
                contrast_loss(output.features, self._coarse_labels(found, view, batch["tags"], step), self._ignore)
                for output, found, view in zip(outputs, maps, views, strict=True)
            )
        if step < settings.warmup_steps:
            return parts
        labels = [self._labels(found, view, batch["tags"], step) for found, view in zip(maps, views, strict=True)]
        logits = [
            upsample(output.segmentation.float(), view.image.shape[-2:])
            for output, view in zip(outputs, views, strict=True)
        ]
        filtered = self._filter(logits, labels, step)
        given = self._exchange(filtered, views)
        parts["segmentation"] = settings.segmentation_weight * sum_of(
            balanced_loss(scores, target, self._ignore) for scores, target in zip(logits, given, strict=True)
        )
        regularisation = settings.regularisation
        if regularisation is not None and settings.noise is not None and step >= settings.noise.start_step:
            unfiltered = self._exchange(labels, views)
            parts["regularisation"] = regularisation.weight * sum_of(
                self._consistency(student, view, scores.detach(), target, before, regularisation)
                for student, view, scores, target, before in zip(
                    self.students, views, logits, given, unfiltered, strict=True
                )
            )
        return parts

    def export(self) -> nn.Module:
        """Both students."""
        return self.networks

    def _classification(self, output: StudentOutput, tags: Tensor) -> Tensor:
        loss = F.binary_cross_entropy_with_logits(output.logits.float(), tags)
        if output.auxiliary is not None:
            loss = loss + F.binary_cross_entropy_with_logits(output.auxiliary.float(), tags)
        return loss

    def _second_view(self, batch: Batch) -> "_View":
        network = self._settings.network
        colours = strong_colours(unnormalise(batch["image"], network), 1, 10)
        return _View(normalise(colours, network).flip(-1), batch["valid"].flip(-1), mirrored=True)

    def _maps(self, student: Student, view: "_View") -> tuple[Tensor, Tensor | None]:
        """Activation maps of the student's classifier, and of its auxiliary one."""
        was_training = student.training
        student.eval()
        maps = student.maps(view.image, self._settings.cam)
        student.train(was_training)
        return maps

    def _image_high(self, tags: Tensor, step: int) -> Tensor:
        """High threshold of each image, (B,): the highest of its classes'."""
        settings, schedule = self._settings, self._settings.thresholds
        first = max(settings.warmup_steps, settings.auxiliary_labels_until)
        length = max(settings.training.steps - first - 1, 1)
        high = high_threshold(schedule, self.ends, max(step - first, 0) / length if schedule.dynamic else 0.0)
        return (high * tags).amax(1).where(tags.any(1), high.new_tensor(schedule.high_start))

    @torch.no_grad()
    def _labels(self, maps: tuple[Tensor, Tensor | None], view: "_View", tags: Tensor, step: int) -> Tensor:
        """Labels of a student's maps at the size of the image, int64 (B, H, W); padding is ignored."""
        settings, (used, auxiliary) = self._settings, maps
        if step < settings.auxiliary_labels_until and auxiliary is not None:
            used = auxiliary
        image, limits = (
            unnormalise(view.image, settings.network),
            (settings.thresholds.low, self._image_high(tags, step)),
        )
        found = two_threshold_labels(used, tags, *limits, image.shape[-2:], self._ignore, image, settings.par)
        return found.masked_fill(~view.valid, self._ignore)

    @torch.no_grad()
    def _coarse_labels(self, maps: tuple[Tensor, Tensor | None], view: "_View", tags: Tensor, step: int) -> Tensor:
        """Labels of a student's auxiliary maps, or its maps if it has none, at their own size; padding is ignored."""
        used = maps[0] if maps[1] is None else maps[1]
        size, limits = used.shape[-2:], (self._settings.thresholds.low, self._image_high(tags, step))
        found = two_threshold_labels(used, tags, *limits, size, self._ignore)
        return found.masked_fill(reduce_mask(~view.valid, size) > 0, self._ignore)

    @torch.no_grad()
    def _filter(self, logits: Sequence[Tensor], labels: Sequence[Tensor], step: int) -> list[Tensor]:
        noise = self._settings.noise
        if noise is None or step < noise.start_step:
            return list(labels)
        filtered = []
        for scores, own in zip(logits, labels, strict=True):
            losses = cross_entropy(scores.detach(), own, self._ignore)
            filtered.append(own.masked_fill(noise_mask(losses, own, self._ignore, noise), self._ignore))
        return filtered

    def _exchange(self, labels: Sequence[Tensor], views: Sequence["_View"]) -> list[Tensor]:
        """What each student learns from, in the geometry of its own view."""
        if len(labels) == 1 or not self._settings.cross_labels:
            return list(labels)
        return [views[1].upright(label) for label in labels[::-1]]

    def _consistency(
        self,
        student: Student,
        view: "_View",
        scores: Tensor,
        given: Tensor,
        unfiltered: Tensor,
        settings: RegularisationSettings,
    ) -> Tensor:
        """Cross-entropy on the changed view where labels are ignored (Eq. 8)."""
        network, size = self._settings.network, view.image.shape[-2:]
        strong = strong_colours(unnormalise(view.image, network), settings.operations, settings.magnitude)
        small = upsample(normalise(strong, network).flip(-1), student.fitting(size, settings.scale))
        seen = upsample(student.segment(small).float(), size).flip(-1)
        confidence, classes = probabilities_of(scores).max(1)
        open_pixels = given == self._ignore
        if settings.target == "own_prediction":
            target, mask = classes, open_pixels & (confidence > settings.confidence)
        else:
            target, mask = unfiltered, open_pixels & (unfiltered != self._ignore)
        return segmentation_loss(seen, target.masked_fill(~mask, self._ignore), self._ignore)


class _View:
    """What one student sees of a batch."""

    def __init__(self, image: Tensor, valid: Tensor, mirrored: bool = False) -> None:
        self.image, self.valid, self.mirrored = image, valid, mirrored

    def upright(self, values: Tensor) -> Tensor:
        """Values (..., W) of the view in the geometry of the image, and the other way round."""
        return values.flip(-1) if self.mirrored else values


def high_threshold(schedule: ThresholdSchedule, ends: Tensor, progress: float) -> Tensor:
    """High threshold of every class, (C-1,), at ``progress`` 0..1 (Eq. 5); it never rises."""
    descent = 0.5 * (1 - math.cos(min(progress, 1.0) * math.pi))
    start = torch.maximum(torch.full_like(ends, schedule.high_start), ends)
    return start - descent * (start - ends)


def discrepancy_loss(features: Tensor, other: Tensor, settings: DiscrepancySettings) -> Tensor:
    """How alike ``features`` (B, D, h, w) are to ``other``, which takes no gradient (Eq. 2)."""
    own, fixed = features.float().flatten(2), other.detach().float().flatten(2)
    axis = {"token": 1, "spatial_per_channel": 2, "global_flat": 1}[settings.axis]
    if settings.axis == "global_flat":
        own, fixed = own.flatten(1), fixed.flatten(1)
    cosine = F.cosine_similarity(own, fixed, dim=axis)
    if settings.form == "one_plus_cos":
        return 1 + cosine.mean()
    # Eq. 2 grows without bound as the cosine nears one.
    return -(1 - cosine).clamp(min=1e-4).log().mean()


def contrast_loss(features: Tensor, labels: Tensor, ignore: int) -> Tensor:
    """ToCo's patch-token contrast, mean over the batch as one set of pairs within images.

    Args:
        features: (B, D, h, w).
        labels: int64 (B, h', w'), brought to the size of the features by nearest neighbour.
        ignore: places without label form no pair.
    """
    coarse = F.interpolate(labels[:, None].float(), features.shape[-2:], mode="nearest-exact").flatten(1)
    vectors = F.normalize(features.float().flatten(2), dim=1)
    alike = (vectors.transpose(1, 2) @ vectors).abs()
    known = coarse != ignore
    pairs = known[:, :, None] & known[:, None]
    same = coarse[:, :, None] == coarse[:, None]
    others = ~torch.eye(coarse.shape[1], dtype=torch.bool, device=coarse.device)
    positive, negative = pairs & same & others, pairs & ~same
    near = 1 - (alike * positive).sum() / (positive.sum() + 1)
    far = (alike * negative).sum() / (negative.sum() + 1)
    return (near + far) / 2


def build(
    settings: Settings,
    classes: ClassTable,
    weights_root: Path,
    networks: Mapping[str, Path],  # noqa: ARG001
) -> Dupl:
    """The objective; both backbones start from ``settings.network.weights`` below ``weights_root``.

    Raises:
        PseudomaskError: a network cannot be built or its weights not be loaded.
    """
    students = [
        initialised(
            Student(settings.network, len(classes), settings.auxiliary, settings.pooling),
            settings.network,
            weights_root,
        )
        for _ in range(2 if settings.dual else 1)
    ]
    return Dupl(students, settings, classes)


def _both_ways(first: Tensor, second: Tensor, settings: DiscrepancySettings) -> Tensor:
    return discrepancy_loss(first, second, settings) + discrepancy_loss(second, first, settings)
