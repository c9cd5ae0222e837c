"""Labels from activation maps with two background thresholds and PAR (AFA, ToCo, DuPL; KTSE's self-supervision).

A pixel is foreground where the maps win against the high background, background where they lose even against the low
one, and ignored between.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.config.refine import ParSettings
from pipeline.refine.par import refine_par


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
    count = max(1, int(tags.sum(1).max()))
    # Absent classes cost as much as present ones: only the present ones of each image are carried along.
    strength, classes = tags.topk(count, 1)
    chosen = maps.gather(1, classes[..., None, None].expand(-1, -1, *maps.shape[-2:]))
    chosen = chosen * strength[..., None, None]
    present = F.pad(strength > 0, (1, 0), value=True)[..., None, None]
    work = list(size) if par is None else [max(1, round(side * par.scale)) for side in size]
    chosen = F.interpolate(chosen, (work[0], work[1]), mode="bilinear", align_corners=False)
    thresholds = torch.stack([high, torch.full_like(high, low)], 1)
    passes = [
        torch.cat([thresholds[:, i].view(-1, 1, 1, 1).expand(-1, 1, *chosen.shape[-2:]), chosen], 1) for i in range(2)
    ]
    scores = [values.masked_fill(~present, -torch.inf) for values in passes]
    if par is not None and image is not None:
        small = F.interpolate(image, (work[0], work[1]), mode="bilinear", align_corners=False, antialias=True)
        # Both passes share the affinities; the reference codes take the softmax of the maps first.
        both = refine_par(small, torch.cat([values.softmax(1) for values in scores], 1), par)
        both = F.interpolate(both, (size[0], size[1]), mode="bilinear", align_corners=False)
        scores = [both[:, : count + 1], both[:, count + 1 :]]
    foreground, background = (values.argmax(1) for values in scores)
    named = F.pad(classes + 1, (1, 0)).gather(1, foreground.flatten(1)).view_as(foreground)
    labels = torch.where(foreground > 0, named, ignore)
    return torch.where((foreground == 0) & (background == 0), 0, labels)
