"""Random walk of activation maps that boundaries hold back (IRN, Sec. 5; ``make_sem_seg_labels`` of its code).

The code squares a dense transition matrix of (H W / 16)^2 numbers; here the maps take the steps one after the other,
along the few links each place has. Same result, a thousandth of the memory.
"""

import torch
from torch import Tensor

from pipeline.refine.affinity import ends, links, path_affinity


def random_walk(maps: Tensor, edge: Tensor, radius: int, beta: float, doublings: int) -> Tensor:
    """Maps after 2^doublings steps.

    Args:
        maps: (K, H, W), at the resolution of the boundaries.
        edge: boundaries (H, W), 0..1.
        radius: places nearer than this are linked.
        beta: exponent of the affinities; the larger, the harder a boundary is to cross.
        doublings: logarithm of the number of steps to base two.

    Returns:
        (K, H, W). A map loses what lies on boundaries, ``maps * (1 - edge)``, then spreads: what a place receives from
        its neighbours and itself is weighted by affinity^beta over the sum of its own weights.
    """
    # Hundreds of steps add up the rounding of single precision to more than the fourth digit.
    kind, maps, edge = maps.dtype, maps.double(), edge.double()
    around = links(radius)
    weights = [path_affinity(edge, link).clamp(min=0) ** beta for link in around]
    total = torch.ones_like(edge)
    for link, weight in zip(around, weights, strict=True):
        for place in ends(total, link):
            place += weight
    values = maps * (1 - edge)
    spread = torch.empty_like(values)
    # Two buffers take turns, so that the views every step needs are made once.
    ways = [
        [(*ends(source, link), *ends(target, link), weight) for link, weight in zip(around, weights, strict=True)]
        for source, target in ((values, spread), (spread, values))
    ]
    for step in range(2**doublings):
        spread.copy_(values)
        for from_start, from_end, to_start, to_end, weight in ways[step % 2]:
            to_start.addcmul_(from_end, weight)
            to_end.addcmul_(from_start, weight)
        values, spread = spread.div_(total), values
    return values.to(kind)
