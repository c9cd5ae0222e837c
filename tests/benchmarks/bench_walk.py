"""IRN's random walk: steps along links against squaring the dense transition matrix, as the released code does.

    python tests/benchmarks/bench_walk.py [--width 250 --height 188]

The dense matrix of a 500x375 image has 138 million numbers and 8 squarings cost 26 Tflop, so that by default the
comparison is made at half that size; the walk alone is measured at 500x375 and 1000x1000 too. CPU time of one thread.
Where there is a GPU, both ways on it at 500x375 (wall time) and the walk's memory at 1000x1000.

Next bottleneck: the products along the links, one after the other; they are most of the time.
"""

import argparse
from collections.abc import Callable
from time import perf_counter, process_time

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
    number = torch.arange(count, device=edge.device).view(edge.shape)
    weights = torch.eye(count, device=edge.device)
    for link in links(RADIUS):
        start, end = (values.flatten() for values in ends(number, link))
        weights[start, end] = weights[end, start] = path_affinity(edge, link).flatten() ** BETA
    transition = weights / weights.sum(0, keepdim=True)
    for _ in range(DOUBLINGS):
        transition = transition @ transition
    return ((maps * (1 - edge)).flatten(1) @ transition).view(maps.shape)


def on_gpu() -> None:
    """Both ways at 500x375, and what the walk needs for a large image."""
    torch.backends.cuda.matmul.allow_tf32 = False
    maps, edge = (values.cuda() for values in sample(500, 375))

    def timed(walk: Callable[[], Tensor]) -> tuple[float, Tensor]:
        walk()
        torch.cuda.synchronize()
        start = perf_counter()
        found = walk()
        torch.cuda.synchronize()
        return perf_counter() - start, found

    mine, ours = timed(lambda: random_walk(maps, edge, RADIUS, BETA, DOUBLINGS))
    peer, theirs = timed(lambda: dense_walk(maps, edge))
    apart = float((ours - theirs).abs().max())
    print(f"GPU {torch.cuda.get_device_name()}, 500x375")
    print(f"  along links {mine:.3f} s   dense {peer:.3f} s   ratio {peer / mine:.1f}   largest difference {apart:.1e}")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    maps, edge = (values.cuda() for values in sample(1000, 1000))
    mine, _ = timed(lambda: random_walk(maps, edge, RADIUS, BETA, DOUBLINGS))
    print(f"  1000x1000: {mine:.3f} s, at most {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB of GPU memory")


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
    if torch.cuda.is_available():
        on_gpu()


if __name__ == "__main__":
    main()
