"""A network with several segmentation branches and a classifier on one backbone: ASDT's PSM network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config.network import NetworkSettings
from pipeline.errors import PseudomaskError
from pipeline.nets.backbones import Backbone, fitting_side
from pipeline.nets.decoders import build_decoder, upsample
from pipeline.nets.exported import load_classifier


@dataclass(frozen=True)
class BranchedOutput:
    """What the network says of a batch.

    Attributes:
        logits: of the image, (B, C-1).
        evidence: activation maps with negative evidence cut off, (B, C-1, h, w), without a gradient.
        features: of every stage of the backbone, for ``BranchedNetwork.segment``.
    """

    logits: Tensor
    evidence: Tensor
    features: list[Tensor]


class BranchedNetwork(nn.Module):
    """Backbone, classifier and numbered decoders.

    In the state dict decoder n is ``<n>.decoder``, so ``branch: n`` of an inference stage finds a segmentation network
    made of it and the common backbone, and ``infer_cams`` a classification network.

    Args:
        settings: backbone and decoder.
        classes: number of classes, background included.
        branches: number of decoders.
        dropout: of whole channels before the classifier's pooling.
    """

    def __init__(self, settings: NetworkSettings, classes: int, branches: int, dropout: float) -> None:
        super().__init__()
        self.backbone = Backbone(settings)
        self.classifier = nn.Conv2d(self.backbone.channels[-1], classes - 1, 1, bias=False)
        self._decoders = [build_decoder(settings, self.backbone, classes) for _ in range(branches)]
        for number, decoder in enumerate(self._decoders):
            self.add_module(str(number), nn.ModuleDict({"decoder": decoder}))
        self._dropout = dropout

    def start_from(self, classifier: Path) -> None:
        """Copy backbone and classifier of a trained :class:`ClassificationNetwork`.

        Raises:
            PseudomaskError: it has another backbone or other classes, or cannot be read.
        """
        trained = load_classifier(classifier)[0]
        try:
            self.backbone.load_state_dict(trained.backbone.state_dict())
            self.classifier.load_state_dict(trained.classifier.state_dict())
        except RuntimeError as error:
            raise PseudomaskError(
                f"start: classifier needs the same backbone, options and classes as {classifier} has"
            ) from error

    def forward(self, image: Tensor) -> BranchedOutput:
        """The classifier's part, of normalised images (B, 3, H, W)."""
        features: list[Tensor] = self.backbone(image)
        dropped = F.dropout2d(features[-1], self._dropout, self.training)
        # Pooling before the 1x1 convolution equals pooling after it, since it has no bias, and costs less.
        logits: Tensor = self.classifier(dropped.mean((2, 3), keepdim=True)).flatten(1)
        with torch.no_grad():
            evidence = F.relu(self.classifier(features[-1]))
        return BranchedOutput(logits, evidence, features)

    def segment(self, features: list[Tensor], branch: int) -> Tensor:
        """Logits (B, C, h', w') of a decoder."""
        result: Tensor = self._decoders[branch](features)
        return result

    @torch.no_grad()
    def maps(self, image: Tensor, evidence: Tensor, scales: Sequence[float]) -> Tensor:
        """Mean activation maps over scales, (B, C-1, h, w), 0 or more, not normalised.

        Args:
            image: normalised, (B, 3, H, W).
            evidence: what ``forward`` found at scale 1, so that this scale is not computed twice.
            scales: sizes; at others than 1 the network looks in evaluation mode.
        """
        found, training = [], self.training
        self.eval()
        for scale in scales:
            if scale == 1:
                found.append(evidence)
                continue
            size = [fitting_side(side * scale, self.backbone.multiple) for side in image.shape[-2:]]
            seen = F.relu(self.classifier(self.backbone(upsample(image, size))[-1]))
            found.append(upsample(seen, evidence.shape[-2:]))
        self.train(training)
        return torch.stack(found).mean(0)
