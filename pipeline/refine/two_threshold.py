"""Labels from activation maps with two background thresholds and PAR (AFA, ToCo, DuPL; KTSE's self-supervision).

A pixel is foreground where the maps win against the high background, background where they lose even against the low
one, and ignored between.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.config.refine import ParSettings
from pipeline.nets.decoders import strongest_class
from pipeline.refine.par import gain, refine_par


@torch.no_grad()
def two_threshold_labels(
    maps: Tensor,
    tags: Tensor,
    low: float,
    high: Tensor,
    size: Sequence[int],
    ignore: int,
    image: Tensor | None = None,
    par: ParSettings | None = None,
) -> Tensor:
    """Label maps int64 (B, *size).

    Args:
        maps: activation maps (B, C-1, h, w), each 0..1.
        tags: (B, C-1), 1 for present classes; others never win.
        low: background score a pixel must exceed not to be background.
        high: background score, (B,), a pixel must exceed to be foreground.
        size: height and width wanted.
        ignore: value between the two.
        image: (B, 3, *size), any linear scale of colour, for PAR.
        par: refinement at ``par.scale`` of the image; None: thresholds alone.
    """
    # Absent classes cost as much as present ones: only the present ones of each image are carried along.
    counts = tags.sum(1).long().clamp(min=1)
    labels = torch.empty((len(maps), *size), dtype=torch.int64, device=maps.device)
    for count in sorted(set(counts.tolist())):
        rows = counts == count
        pixels = None if image is None else image[rows]
        labels[rows] = _labels(maps[rows], tags[rows].topk(count, 1), low, high[rows], size, ignore, pixels, par)
    return labels


def _labels(
    maps: Tensor,
    present: tuple[Tensor, Tensor],
    low: float,
    high: Tensor,
    size: Sequence[int],
    ignore: int,
    image: Tensor | None,
    par: ParSettings | None,
) -> Tensor:
    """Labels of images with the same number of classes; ``present``: tags and indices of these, (B, K) each."""
    strength, classes = present
    count = classes.shape[1]
    chosen = maps.gather(1, classes[..., None, None].expand(-1, -1, *maps.shape[-2:]))
    chosen = chosen * strength[..., None, None]
    known = F.pad(strength > 0, (1, 0), value=True)[..., None, None]
    work = list(size) if par is None else [max(1, round(side * par.scale)) for side in size]
    chosen = F.interpolate(chosen, (work[0], work[1]), mode="bilinear", align_corners=False)
    thresholds = torch.stack([high, torch.full_like(high, low)], 1)
    passes = [
        torch.cat([thresholds[:, i].view(-1, 1, 1, 1).expand(-1, 1, *chosen.shape[-2:]), chosen], 1) for i in range(2)
    ]
    scores = [values.masked_fill(~known, -torch.inf) for values in passes]
    if par is not None and image is not None:
        small = F.interpolate(image, (work[0], work[1]), mode="bilinear", align_corners=False, antialias=True)
        # Both passes share the affinities; the reference codes take the softmax of the maps first. Shares sum to one
        # and keep doing so but for a factor, so that the background's need not be carried along.
        both = refine_par(small, torch.cat([values.softmax(1)[:, 1:] for values in scores], 1), par)
        both = F.interpolate(both, (size[0], size[1]), mode="bilinear", align_corners=False)
        scores = [torch.cat([gain(par) - part.sum(1, keepdim=True), part], 1) for part in torch.split(both, count, 1)]
    foreground, background = map(strongest_class, scores)
    named = F.pad(classes + 1, (1, 0)).gather(1, foreground.flatten(1)).view_as(foreground)
    labels = torch.where(foreground > 0, named, ignore)
    return torch.where((foreground == 0) & (background == 0), 0, labels)
