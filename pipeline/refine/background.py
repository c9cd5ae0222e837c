"""Scores of any kind as class probabilities with a background, at any size."""

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.scores import Scores
from pipeline.config.background import BackgroundSettings


def find_threshold(settings: BackgroundSettings, found: Path | None) -> float:
    """The background threshold: that of a search if there was one, else that of the settings, plus the offset."""
    base = settings.threshold if found is None else float(json.loads(found.read_text())["threshold"])
    return float(np.clip(base + settings.offset, 1e-3, 1 - 1e-3))


def resize_scores(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Bilinear resizing of (K, h, w) to (K, *size), pixel centres aligned as torch does without align_corners."""
    if values.shape[1:] == size:
        return values
    resized = np.empty((len(values), *size), np.float32)
    for channel, target in zip(values, resized, strict=True):
        cv2.resize(channel, size[::-1], dst=target, interpolation=cv2.INTER_LINEAR)
    return resized


def with_background(
    scores: Scores, settings: BackgroundSettings, threshold: float, size: tuple[int, int] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Scores in which the background takes part.

    Args:
        scores: activation maps get a background channel; probabilities have one and are only resized.
        settings: kind of background.
        threshold: background score of kind ``constant``.
        size: (H, W) wanted; None: the size of the image.

    Returns:
        float32 (K, H, W) of scores, not normalised, and class indices (K,). For activation maps the background comes
        first. Without any class the background alone, with score 1.
    """
    size = size or scores.size
    if not len(scores.classes):
        return np.ones((1, *size), np.float32), np.zeros(1, np.int64)
    values = resize_scores(scores.values, size)
    if scores.kind != "cam":
        return values, scores.classes
    background = np.full((1, *size), threshold, np.float32)
    if settings.kind == "power":
        background = power_background(values, settings.alpha)
    return np.concatenate([background, values]), np.concatenate([[0], scores.classes])


def power_background(maps: NDArray[np.float32], alpha: float) -> NDArray[np.float32]:
    """Background score (1 - largest map)^alpha, (1, H, W), of maps (K, H, W); 1 where there is no class."""
    most = maps.max(0, keepdims=True) if len(maps) else np.zeros((1, *maps.shape[1:]), np.float32)
    result: NDArray[np.float32] = (1 - most).clip(0) ** np.float32(alpha)
    return result


def normalise(values: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float32]:
    """Scores (K, H, W), 0 or more, as probabilities that sum to one per pixel; no probability below 1e-5."""
    raised = np.maximum(values, 1e-5) ** np.float32(1 / temperature)
    result: NDArray[np.float32] = raised / raised.sum(0, keepdims=True)
    return result
