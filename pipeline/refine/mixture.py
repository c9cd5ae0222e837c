"""Two-component Gaussian mixtures of many samples at once, on any device: which labels are noise (DuPL, Sec. 3.4).

Follows scikit-learn's ``GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4)`` step by step: k-means for a start,
then expectation maximisation until the mean log-likelihood changes by less than the tolerance. Samples are counted
first in fine bins, whose means and counts stand for them, so that the iterations cost nothing beside the counting. All
images of a batch are fitted side by side, and nothing is read back from the device.
"""

import math

import torch
from torch import Tensor

from pipeline.config.dupl import NoiseFilterSettings

ITERATIONS, TOLERANCE, REGULARISATION = 10, 1e-2, 5e-4
_K_MEANS_ITERATIONS = 20
_BINS = 4096
_TINY = 10 * torch.finfo(torch.float32).eps


def fit_mixtures(values: Tensor, used: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, means and variances, (B, 2) each, of the samples ``used`` (bool) of ``values`` (B, N), 0 or more.

    Rows with fewer than two samples give numbers without meaning, never NaN.
    """
    centres, counts = _binned(values, used)
    parameters = _maximise(centres, counts, _start(centres, counts))
    bound = values.new_full((len(values),), -math.inf)
    running = torch.ones_like(bound, dtype=torch.bool)
    for _ in range(ITERATIONS):
        likelihood, share = _expect(centres, parameters)
        new_bound = _mean(likelihood, counts)
        fresh = _maximise(centres, counts, share)
        weights, means, variances = (
            torch.where(running[:, None], new, old) for new, old in zip(fresh, parameters, strict=True)
        )
        parameters = weights, means, variances
        # The step in which the change falls below the tolerance still counts, as in scikit-learn.
        running = running & ((new_bound - bound).abs() >= TOLERANCE)
        bound = new_bound
    return parameters


def noise_mask(losses: Tensor, labels: Tensor, ignore: int, settings: NoiseFilterSettings) -> Tensor:
    """Pixels whose label is noise, bool (B, H, W) (Eq. 6 and 7).

    Args:
        losses: cross-entropy of each pixel with its own label, (B, H, W), no gradient; ignored pixels hold anything.
        labels: int64 (B, H, W); 0 is background, which is never noise.
        ignore: value of pixels without label.
        settings: when a pixel is noise. Eq. 7 is printed with the means exchanged; the larger mean is the noise.
    """
    flat = losses.detach().flatten(1).float()
    foreground = ((labels != 0) & (labels != ignore)).flatten(1)
    used = foreground & (flat > settings.min_loss)
    weights, means, variances = fit_mixtures(flat, used)
    # Log-odds of the noise component are a quadratic of the loss.
    noise = means.argmax(1, keepdim=True)
    (_, high, wide), (_, low, narrow) = (
        [each.gather(1, index) for each in (weights, means, variances)] for index in (noise, 1 - noise)
    )
    prior = weights.gather(1, noise).log() - weights.gather(1, 1 - noise).log() - 0.5 * (wide / narrow).log()
    odds = (flat - low).square() / (2 * narrow) - (flat - high).square() / (2 * wide) + prior
    apart = (means[:, 0] - means[:, 1]).abs() > settings.eta
    enough = used.sum(1) > settings.min_pixels
    found = foreground & (odds > math.log(settings.gamma / (1 - settings.gamma))) & (apart & enough)[:, None]
    if settings.only_above_clean_mean:
        found &= flat > means.amin(1, keepdim=True)
    return found.view_as(labels)


def _binned(values: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and number, (B, bins) each, of the used values of every bin."""
    top = torch.where(used, values, 0.0).amax(1, keepdim=True).clamp(min=_TINY)
    index = (values * (_BINS / top)).long().clamp_(0, _BINS - 1)
    counts, sums = (
        values.new_zeros(len(values), _BINS).scatter_add_(1, index, part)
        for part in (used.to(values.dtype), values * used)
    )
    return sums / counts.clamp(min=1), counts


def _start(values: Tensor, counts: Tensor) -> Tensor:
    """Shares (B, N, 2), 0 or 1, of two-means from the smallest and the largest value on."""
    low = torch.where(counts > 0, values, math.inf).amin(1)
    low, high = torch.where(low.isfinite(), low, 0.0), values.amax(1)
    for _ in range(_K_MEANS_ITERATIONS):
        upper = values > ((low + high) / 2)[:, None]
        low, high = _mean(values, counts * ~upper), _mean(values, counts * upper)
    upper = values > ((low + high) / 2)[:, None]
    return torch.stack([~upper, upper], 2).to(values.dtype)


def _maximise(values: Tensor, counts: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    counted = share * counts[..., None]
    count = counted.sum(1) + _TINY
    means = (counted * values[..., None]).sum(1) / count
    variances = (counted * (values[..., None] - means[:, None]).square()).sum(1) / count + REGULARISATION
    return count / count.sum(1, keepdim=True), means, variances


def _expect(values: Tensor, parameters: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Log-likelihood (B, N) and shares (B, N, 2)."""
    weights, means, variances = (parameter[:, None] for parameter in parameters)
    squared = (values[..., None] - means).square() / variances
    logs = weights.log() - 0.5 * (math.log(2 * math.pi) + variances.log() + squared)
    likelihood = logs.logsumexp(2)
    return likelihood, (logs - likelihood[..., None]).exp()


def _mean(values: Tensor, counts: Tensor) -> Tensor:
    return (values * counts).sum(1) / counts.sum(1).clamp(min=1)
