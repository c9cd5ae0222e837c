"""IRN's random walk: steps along links against squaring the dense transition matrix, as the released code does.

    python tests/benchmarks/bench_walk.py [--width 250 --height 188]

The dense matrix of a 500x375 image has 138 million numbers and 8 squarings cost 26 Tflop, so that by default the
comparison is made at half that size; the walk alone is measured at 500x375 and 1000x1000 too. CPU time of one thread.

Next bottleneck: the products along the links, one after the other; they are most of the time.
"""

import argparse
from time import process_time

import torch
from torch import Tensor

from pipeline.refine.affinity import ends, links, path_affinity
from pipeline.refine.random_walk import random_walk

RADIUS, BETA, DOUBLINGS, CLASSES = 5, 10.0, 8, 3


def sample(width: int, height: int) -> tuple[Tensor, Tensor]:
    """Maps and boundaries at stride 4."""
    torch.manual_seed(0)
    size = (-(-height // 4), -(-width // 4))
    return torch.rand(CLASSES, *size), torch.rand(size) ** 3


def dense_walk(maps: Tensor, edge: Tensor) -> Tensor:
    """The released code's way."""
    count = edge.numel()
    number = torch.arange(count).view(edge.shape)
    weights = torch.eye(count)
    for link in links(RADIUS):
        start, end = (values.flatten() for values in ends(number, link))
        weights[start, end] = weights[end, start] = path_affinity(edge, link).flatten() ** BETA
    transition = weights / weights.sum(0, keepdim=True)
    for _ in range(DOUBLINGS):
        transition = transition @ transition
    return ((maps * (1 - edge)).flatten(1) @ transition).view(maps.shape)


def main() -> None:
    parser = argparse.ArgumentParser(description="IRN's random walk, sparse and dense")
    parser.add_argument("--width", type=int, default=250)
    parser.add_argument("--height", type=int, default=188)
    options = parser.parse_args()
    torch.set_num_threads(1)
    maps, edge = sample(options.width, options.height)
    start = process_time()
    ours = random_walk(maps, edge, RADIUS, BETA, DOUBLINGS)
    mine = process_time() - start
    start = process_time()
    theirs = dense_walk(maps, edge)
    peer = process_time() - start
    apart = float((ours - theirs).abs().max())
    print(f"{options.width}x{options.height}, {CLASSES} classes, 2^{DOUBLINGS} steps, one thread")
    print(
        f"  along links {mine:6.3f} s   dense {peer:7.2f} s   ratio {peer / mine:.0f}   largest difference {apart:.1e}"
    )
    for width, height in ((500, 375), (1000, 1000)):
        maps, edge = sample(width, height)
        start = process_time()
        random_walk(maps, edge, RADIUS, BETA, DOUBLINGS)
        links_held = len(links(RADIUS)) * edge.numel() * 8 / 2**20
        print(f"  {width}x{height}: {process_time() - start:.2f} s, weights {links_held:.0f} MiB")


if __name__ == "__main__":
    main()
