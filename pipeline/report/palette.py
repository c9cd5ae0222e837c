"""Class colours that stay apart for people with a colour vision deficiency."""

from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

# What people without one kind of cone see, in linear RGB (Machado, Oliveira and Fernandes 2009, severity 1).
_VISIONS = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}
_LEVELS = (0, 51, 102, 153, 204, 255)
_TAKEN = ((0, 0, 0), (255, 255, 255), (128, 128, 128))


def safe_colours(count: int) -> list[tuple[int, int, int]]:
    """``count`` RGB colours, each as far as can be from those before it, to the eye with the greatest trouble.

    Black, white and the middle grey are kept free for background, ignored pixels and the picture below.
    """
    candidates = np.array(list(product(_LEVELS, repeat=3)), np.uint8)
    seen = appearances(candidates)
    nearest = np.min([_distances(seen, appearances(np.array([taken], np.uint8))[0]) for taken in _TAKEN], axis=0)
    chosen: list[tuple[int, int, int]] = []
    for _ in range(count):
        best = int(nearest.argmax())
        red, green, blue = (int(value) for value in candidates[best])
        chosen.append((red, green, blue))
        nearest = np.minimum(nearest, _distances(seen, seen[best]))
    return chosen


def appearances(colours: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How colours (N, 3) look: CIELAB, float32 (N, 3 kinds of vision, 3)."""
    linear = np.where(colours <= 10, colours / 255 / 12.92, ((colours / 255 + 0.055) / 1.055) ** 2.4)
    visions = [np.eye(3), *(np.array(matrix) for matrix in _VISIONS.values())]
    seen = np.stack([linear @ matrix.T for matrix in visions], 1).clip(0, 1).astype(np.float32)
    return np.asarray(cv2.cvtColor(seen, cv2.COLOR_LRGB2LAB), np.float32)


def _distances(seen: NDArray[np.float32], one: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distance of colours (N, V, 3) from one (V, 3) in the vision that tells them apart least."""
    distances: NDArray[np.float32] = np.linalg.norm(seen - one, axis=2).min(1)
    return distances
