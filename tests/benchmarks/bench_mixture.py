"""Noise filtering of DuPL for a batch of 4 at 448x448: all images at once against scikit-learn image by image.

    python tests/benchmarks/bench_mixture.py [--repeats 5]

CPU time, one thread each; on a GPU also there, with a check that nothing waits for the device.

Next bottleneck: putting losses into bins, a third of the time.
"""

import argparse
from statistics import median
from time import perf_counter, process_time

import numpy as np
import torch
from sklearn.mixture import GaussianMixture

from pipeline.config.dupl import NoiseFilterSettings
from pipeline.refine.mixture import noise_mask

SETTINGS = NoiseFilterSettings()


def sample() -> tuple[torch.Tensor, torch.Tensor]:
    """Losses with a tail of noise, and labels, (4, 448, 448)."""
    rng = np.random.default_rng(0)
    losses = rng.gamma(2, 0.3, (4, 448, 448))
    noisy = rng.random(losses.shape) < 0.15
    losses[noisy] = rng.normal(4, 0.8, noisy.sum()).clip(0)
    return torch.from_numpy(losses.astype(np.float32)), torch.from_numpy(rng.integers(0, 3, losses.shape))


def one_by_one(losses: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What DuPL's code does."""
    found = np.zeros(labels.shape, bool)
    for image, label, into in zip(losses, labels, found, strict=True):
        used = (label > 0) & (image > SETTINGS.min_loss)
        mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0).fit(image[used][:, None])
        if abs(mixture.means_[0, 0] - mixture.means_[1, 0]) > SETTINGS.eta:
            share = mixture.predict_proba(image.reshape(-1, 1))[:, mixture.means_[:, 0].argmax()].reshape(label.shape)
            into[:] = (label > 0) & (share > SETTINGS.gamma)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="mixtures of DuPL against scikit-learn")
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    losses, labels = sample()
    times: list[list[float]] = [[], []]
    for _ in range(repeats):
        start = process_time()
        ours = noise_mask(losses, labels, 255, SETTINGS)
        times[0].append(process_time() - start)
        start = process_time()
        theirs = one_by_one(losses.numpy(), labels.numpy())
        times[1].append(process_time() - start)
    mine, peer = median(times[0]), median(times[1])
    print("noise filter, 4 images of 448x448, one thread")
    print(f"  batched torch {1e3 * mine:7.0f} ms   scikit-learn loop {1e3 * peer:7.0f} ms   ratio {peer / mine:.1f}")
    print(f"  same decision on {100 * float((ours.numpy() == theirs).mean()):.3f} % of the pixels")
    if torch.cuda.is_available():
        device = losses.cuda(), labels.cuda()
        noise_mask(*device, 255, SETTINGS)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        start = perf_counter()
        noise_mask(*device, 255, SETTINGS)
        torch.cuda.set_sync_debug_mode("default")
        torch.cuda.synchronize()
        print(f"  {torch.cuda.get_device_name()}: {1e3 * (perf_counter() - start):.1f} ms, without a synchronisation")
    else:
        print("  GPU: none here, not measured")


if __name__ == "__main__":
    main()
