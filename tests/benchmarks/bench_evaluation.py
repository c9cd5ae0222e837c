"""Speed of the evaluator: images of 500x375 per second on one core, against scikit-learn's confusion matrix.

    python tests/benchmarks/bench_evaluation.py [--images 200]

Figures are CPU time. Truth and prediction are generated; boundary IoU is measured apart.

Next bottleneck: the joint histogram of truth and mask, two thirds of the time; with boundaries, their erosion.
"""

import argparse
from time import process_time

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix as peer

from pipeline.config.classes import ClassTable
from pipeline.config.evaluation import Protocol
from pipeline.evaluation.measure import measure

CLASSES = 21
TABLE = ClassTable(names=("background", *(f"class{n}" for n in range(1, CLASSES))))
Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def pairs(count: int) -> list[Pair]:
    """Blocks of classes, as masks have them, and a shifted copy as prediction."""
    rng = np.random.default_rng(0)
    found: list[Pair] = []
    for _ in range(count):
        coarse = rng.integers(0, CLASSES, (12, 16)).astype(np.uint8)
        truth = np.kron(coarse, np.ones((32, 32), np.uint8))[:375, :500].copy()
        found.append((truth, np.roll(truth, 5, 1)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="speed of the evaluator")
    parser.add_argument("--images", type=int, default=200)
    masks = pairs(parser.parse_args().images)

    def seconds(boundary: bool) -> float:
        start = process_time()
        measure(masks, TABLE, Protocol(boundary=boundary))
        return process_time() - start

    seconds(False)
    plain, bands = seconds(False), seconds(True)
    few = masks[:10]
    start = process_time()
    for truth, predicted in few:
        peer(truth.ravel(), predicted.ravel(), labels=range(CLASSES))
    theirs = (process_time() - start) / len(few) * len(masks)
    print(f"{len(masks)} images of 500x375, {CLASSES} classes, one core")
    ours, peers = len(masks) / plain, len(masks) / theirs
    print(f"  confusion matrix     {ours:7.0f} images/s   scikit-learn {peers:5.0f}, ratio {ours / peers:.1f}")
    print(f"  with boundary IoU    {len(masks) / bands:7.0f} images/s")


if __name__ == "__main__":
    main()
