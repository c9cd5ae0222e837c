"""A network that classifies and segments: one student of DuPL; its parts bear the names of the two plain networks'."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config.inference import MultiScaleSettings
from pipeline.config.network import NetworkSettings
from pipeline.errors import PseudomaskError
from pipeline.nets.backbones import Backbone, fitting_side
from pipeline.nets.decoders import build_decoder, upsample


@dataclass(frozen=True)
class StudentOutput:
    """What a student says of a batch.

    Attributes:
        features: last features (B, D, h, w).
        logits: of the image, (B, C-1).
        auxiliary: of the image from earlier features, (B, C-1), or None.
        segmentation: (B, C, h', w').
    """

    features: Tensor
    logits: Tensor
    auxiliary: Tensor | None
    segmentation: Tensor


class Student(nn.Module):
    """Backbone, classifier, auxiliary classifier, decoder.

    Args:
        settings: backbone and decoder.
        classes: number of classes, background included.
        auxiliary: features of the auxiliary classifier, counted from the last; None: none.
        pooling: from the evidence of places to an image's logits.
    """

    def __init__(
        self,
        settings: NetworkSettings,
        classes: int,
        auxiliary: int | None,
        pooling: Literal["max", "average"],
    ) -> None:
        super().__init__()
        self.backbone = Backbone(settings)
        depth = len(self.backbone.channels)
        if auxiliary is not None and -auxiliary > depth:
            raise PseudomaskError(f"auxiliary: {auxiliary} asks for more than the {depth} features of the backbone")
        self.classifier = nn.Conv2d(self.backbone.channels[-1], classes - 1, 1, bias=False)
        self.auxiliary = (
            nn.Conv2d(self.backbone.channels[auxiliary], classes - 1, 1, bias=False) if auxiliary is not None else None
        )
        self.decoder = build_decoder(settings, self.backbone, classes)
        self._index, self._pooling = auxiliary or -1, pooling

    def forward(self, image: Tensor) -> StudentOutput:
        """Everything the losses need, of normalised images (B, 3, H, W)."""
        features = self.backbone(image)
        return StudentOutput(
            features[-1],
            self._pool(self.classifier(features[-1])),
            None if self.auxiliary is None else self._pool(self.auxiliary(features[self._index])),
            self.decoder(features),
        )

    def segment(self, image: Tensor) -> Tensor:
        """Segmentation logits alone."""
        result: Tensor = self.decoder(self.backbone(image))
        return result

    @torch.no_grad()
    def maps(self, image: Tensor, settings: MultiScaleSettings) -> tuple[Tensor, Tensor | None]:
        """Activation maps of both classifiers, each 0..1, (B, C-1, h, w).

        Maximum over mirror images, negative evidence cut off, sum over scales, stretched from minimum to maximum.
        """
        both: list[list[Tensor]] = [[], []]
        for scale in settings.scales:
            seen = upsample(image, self.fitting(image.shape[-2:], scale))
            features = self.backbone(torch.cat([seen, seen.flip(-1)]) if settings.flip else seen)
            both[0].append(_evidence(self.classifier(features[-1]), settings.flip))
            if self.auxiliary is not None:
                both[1].append(_evidence(self.auxiliary(features[self._index]), settings.flip))
        main, auxiliary = (None if not found else _stretch(found) for found in both)
        assert main is not None
        return main, auxiliary

    def fitting(self, size: Sequence[int], scale: float) -> list[int]:
        """Sides of an image of ``size`` at ``scale`` that the backbone can take."""
        return [fitting_side(side * scale, self.backbone.multiple) for side in size]

    def _pool(self, evidence: Tensor) -> Tensor:
        return evidence.amax((2, 3)) if self._pooling == "max" else evidence.mean((2, 3))


def _evidence(values: Tensor, flip: bool) -> Tensor:
    if flip:
        plain, mirrored = values.chunk(2)
        values = torch.maximum(plain, mirrored.flip(-1))
    return F.relu(values)


def _stretch(found: list[Tensor]) -> Tensor:
    size = [max(values.shape[axis] for values in found) for axis in (2, 3)]
    total = torch.stack([upsample(values, size) for values in found]).sum(0)
    low, high = total.amin((2, 3), keepdim=True), total.amax((2, 3), keepdim=True)
    return (total - low) / (high - low + 1e-5)
