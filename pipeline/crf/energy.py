"""Unary energies: what a pixel by itself says about its label."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PseudomaskError

LEAST_PROBABILITY = 1e-5  # as pydensecrf's unary_from_softmax; an energy of at most 11.5


@dataclass(frozen=True)
class Energy:
    """Unary energies, float32 (K, H, W): -log of a probability up to a constant per pixel."""

    values: NDArray[np.float32]

    @classmethod
    def from_probabilities(cls, scores: NDArray[Any]) -> "Energy":
        """-log of ``scores`` (K, H, W), which are clipped to [1e-5, 1] and need not sum to one.

        Raises:
            PseudomaskError: a score is not finite, or lies outside [0, 1].
        """
        values = np.asarray(scores, np.float32)
        _check(values, "scores")
        least, most = float(values.min()), float(values.max())
        if least < -1e-3 or most > 1 + 1e-3:
            raise PseudomaskError(
                f"scores for the CRF range from {least:g} to {most:g}; probabilities lie in 0..1 (softmax logits first)"
            )
        energy = np.clip(values, LEAST_PROBABILITY, 1)
        np.negative(np.log(energy, out=energy), out=energy)
        return cls(energy)

    @classmethod
    def from_labels(cls, labels: NDArray[Any], count: int, gt_prob: float, unsure: int | None = None) -> "Energy":
        """Energies of a hard label map (H, W): its label has ``gt_prob``, the other ``count - 1`` share the rest.

        Pixels equal to ``unsure`` (say 255) favour no label. pydensecrf's ``zero_unsure=True`` is ``labels - 1``
        of a signed type with ``unsure=-1``.

        Raises:
            PseudomaskError: ``gt_prob`` outside (0, 1), fewer than two labels, or a label outside 0..count-1.
        """
        if not 0 < gt_prob < 1 or count < 2:
            raise PseudomaskError(f"label energies need 0 < gt_prob < 1 and 2 labels; got {gt_prob} and {count}")
        labels = np.asarray(labels)
        blank = np.zeros(labels.shape, bool) if unsure is None else labels == unsure
        wrong = ((labels < 0) | (labels >= count)) & ~blank
        if labels.ndim != 2 or wrong.any():
            found = f"label {labels[wrong].flat[0]}" if wrong.any() else f"shape {labels.shape}"
            raise PseudomaskError(f"label map for the CRF: found {found}; needs (H, W) with values 0..{count - 1}")
        values = np.full((count, *labels.shape), -np.log((1 - gt_prob) / (count - 1)), np.float32)
        np.put_along_axis(values, np.where(blank, 0, labels)[None].astype(np.intp), -np.log(gt_prob), axis=0)
        values[:, blank] = -np.log(1 / count)
        return cls(values)


def as_energy(scores: NDArray[Any] | Energy) -> NDArray[np.float32]:
    """Energies, contiguous float32 (K, H, W), of probabilities or of an ``Energy``."""
    if not isinstance(scores, Energy):
        return np.ascontiguousarray(Energy.from_probabilities(scores).values)
    values = np.ascontiguousarray(scores.values, np.float32)
    _check(values, "energies")
    return values


def _check(values: NDArray[np.float32], what: str) -> None:
    if values.ndim != 3 or 0 in values.shape:
        raise PseudomaskError(f"{what} for the CRF have shape {values.shape}; expected (labels, height, width)")
    if not np.isfinite(values).all():
        label, y, x = np.argwhere(~np.isfinite(values))[0]
        raise PseudomaskError(
            f"{what} for the CRF: {values[label, y, x]} at label row {label}, x {x}, y {y}; not finite"
        )
