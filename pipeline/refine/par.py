"""Pixel-adaptive refinement: scores flow along pixels of like colour (``PAR`` of AFA, also in ToCo, DuPL and KTSE).

T times: mask(p) <- sum over neighbours q of a(p, q) mask(q), with 8 neighbours at each dilation, borders replicated,
a(p, q) = softmax_q(mean_k -(|I_k(p) - I_k(q)| / (s_k(p) + 1e-8) / w1)^2)
        + w2 softmax_q(-(d(q) / (s_d + 1e-8) / w1)^2);
s_k is the deviation of the neighbours' colours, d the length of the offset, s_d its deviation. The affinities of a
pixel sum to 1 + w2, as in the reference code.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.config.refine import ParSettings

_OFFSETS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


def refine_par(image: Tensor, scores: Tensor, settings: ParSettings) -> Tensor:
    """Refine scores along the colours of the image.

    Args:
        image: (B, 3, H, W), any float range; only differences relative to their deviation count.
        scores: (B, K, H, W).
        settings: dilations, iterations, weights; ``scale`` is up to the caller.

    Returns:
        Refined scores (B, K, H, W).
    """
    affinity = _affinity(image, settings)
    for _ in range(settings.iterations):
        total = torch.zeros_like(scores)
        for number, shifted in enumerate(_neighbours(scores, settings.dilations)):
            total.addcmul_(shifted, affinity[:, number : number + 1])
        scores = total
    return scores


def _neighbours(values: Tensor, dilations: tuple[int, ...]) -> list[Tensor]:
    """Views of the values moved by every offset at every dilation, borders replicated."""
    height, width = values.shape[2:]
    moved = []
    for dilation in dilations:
        padded = F.pad(values, (dilation,) * 4, mode="replicate")
        for down, right in _OFFSETS:
            top, left = dilation * (1 + down), dilation * (1 + right)
            moved.append(padded[:, :, top : top + height, left : left + width])
    return moved


def _affinity(image: Tensor, settings: ParSettings) -> Tensor:
    """Weights (B, N, H, W) of the N neighbours of each pixel."""
    around = torch.stack(_neighbours(image, settings.dilations), 1)
    deviation = around.std(1, keepdim=True)
    difference = (around - image[:, None]).abs() / (deviation + 1e-8) / settings.colour_weight
    colour = (-(difference**2)).mean(2).softmax(1)
    lengths = [d * (down**2 + right**2) ** 0.5 for d in settings.dilations for down, right in _OFFSETS]
    distance = torch.tensor(lengths, dtype=image.dtype, device=image.device)
    relative = distance / (distance.std() + 1e-8) / settings.colour_weight
    position = (-(relative**2)).softmax(0).view(1, -1, 1, 1)
    return colour + settings.position_weight * position
