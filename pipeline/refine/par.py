"""Refinement by pixels of like colour: ``PAR`` of AFA (also in ToCo, DuPL and KTSE) and ``PAMR`` of 1-stage-wseg.

T times: mask(p) <- sum over neighbours q of a(p, q) mask(q), with 8 neighbours at each dilation, borders replicated.

PAR:  a(p, q) = softmax_q(mean_k -(|I_k(p) - I_k(q)| / (s_k(p) + 1e-8) / w1)^2)
              + w2 softmax_q(-(d(q) / (s_d + 1e-8) / w1)^2)
PAMR: a(p, q) = softmax_q(mean_k -|I_k(p) - I_k(q)| / (w1 s_k(p) + 1e-8))

s_k is the deviation of the neighbours' colours, in PAMR of all 3x3 windows with their centres; d is the length of the
offset, s_d its deviation. In PAR the affinities of a pixel sum to 1 + w2, as in the reference code.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.config.refine import ParSettings

_OFFSETS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
_CACHED = 2**18


def refine_par(image: Tensor, scores: Tensor, settings: ParSettings) -> Tensor:
    """Refine scores along the colours of the image.

    Args:
        image: (B, 3, H, W), any float range; only differences relative to their deviation count.
        scores: (B, K, H, W).
        settings: kind, dilations, iterations, weights; ``scale`` is up to the caller.

    Returns:
        Refined scores (B, K, H, W).
    """
    # Many rounds over the same values: on a CPU they should stay in its cache.
    at_once = len(image) if image.is_cuda else max(1, _CACHED // scores[0].numel())
    pairs = zip(torch.split(image, at_once), torch.split(scores, at_once), strict=True)
    return torch.cat([_refined(pixels, values, settings) for pixels, values in pairs])


def _refined(image: Tensor, scores: Tensor, settings: ParSettings) -> Tensor:
    affinity = _affinity(image, settings)
    for _ in range(settings.iterations):
        total = torch.zeros_like(scores)
        for number, shifted in enumerate(_neighbours(scores, settings.dilations)):
            total.addcmul_(shifted, affinity[:, number : number + 1])
        scores = total
    return scores


def gain(settings: ParSettings) -> float:
    """What refinement multiplies the sum of a pixel's scores by, where that is the same everywhere."""
    weight = settings.position_weight if settings.kind == "par" else 0.0
    return float((1 + weight) ** settings.iterations)


def _neighbours(values: Tensor, dilations: tuple[int, ...]) -> Iterator[Tensor]:
    """Views of the values moved by every offset at every dilation, borders replicated."""
    height, width = values.shape[2:]
    for dilation in dilations:
        padded = F.pad(values, (dilation,) * 4, mode="replicate")
        for down, right in _OFFSETS:
            top, left = dilation * (1 + down), dilation * (1 + right)
            yield padded[:, :, top : top + height, left : left + width]


def _affinity(image: Tensor, settings: ParSettings) -> Tensor:
    """Weights (B, N, H, W) of the N neighbours of each pixel."""
    # One neighbour at a time: all of them side by side, with their colours, would be several times the memory.
    sums, squares = torch.zeros_like(image), torch.zeros_like(image)
    for shifted in _neighbours(image, settings.dilations):
        difference = shifted - image
        sums += difference
        squares.addcmul_(difference, difference)
    number = len(_OFFSETS) * len(settings.dilations)
    count = number if settings.kind == "par" else number + len(settings.dilations)
    deviation = ((squares - sums.square() / count) / (count - 1)).clamp(min=0).sqrt()
    colour = image.new_empty(len(image), number, *image.shape[2:])
    if settings.kind == "par":
        scale = 1 / ((deviation + 1e-8) * settings.width) ** 2 / image.shape[1]
    else:
        scale = 1 / (deviation * settings.width + 1e-8) / image.shape[1]
    for index, shifted in enumerate(_neighbours(image, settings.dilations)):
        difference = shifted - image
        distance = difference.square_() if settings.kind == "par" else difference.abs_()
        torch.sum(distance.mul_(scale), 1, out=colour[:, index])
    colour = colour.neg_().softmax(1)
    if settings.kind == "pamr":
        return colour
    lengths = [d * (down**2 + right**2) ** 0.5 for d in settings.dilations for down, right in _OFFSETS]
    length = torch.tensor(lengths, dtype=image.dtype, device=image.device)
    relative = length / (length.std() + 1e-8) / settings.width
    position = (-(relative**2)).softmax(0).view(1, -1, 1, 1)
    return colour.add_(settings.position_weight * position)
