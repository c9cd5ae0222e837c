"""The reference: pydensecrf, the binding of Kraehenbuehl and Koltun's code (NIPS 2011)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.config.crf import CrfTerm
from pipeline.errors import PseudomaskError


def describe() -> str:
    """What it runs on; ImportError where pydensecrf is not installed."""
    try:
        import pydensecrf.densecrf  # noqa: F401
    except ImportError as error:
        raise ImportError("pip install pydensecrf2; pydensecrf itself no longer builds") from error
    return "pydensecrf, one thread"


def infer(
    image: NDArray[np.uint8], energies: Sequence[NDArray[np.float32]], terms: Sequence[CrfTerm], iterations: int
) -> list[NDArray[np.float32]]:
    """Probabilities (K, H, W) per energy; the lattice is built anew for each, pydensecrf cannot share it."""
    return [_infer(image, energy, terms, iterations) for energy in energies]


def _infer(
    image: NDArray[np.uint8], energy: NDArray[np.float32], terms: Sequence[CrfTerm], iterations: int
) -> NDArray[np.float32]:
    from pydensecrf.densecrf import DenseCRF2D

    labels, height, width = energy.shape
    if labels > 255:
        raise PseudomaskError(f"pydensecrf holds at most 255 labels, got {labels}; use backend native")
    image = np.ascontiguousarray(image)
    crf = DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(energy.reshape(labels, -1))
    for term in terms:
        compat = term.compat if isinstance(term.compat, float) else np.array(term.compat, np.float32)
        if term.srgb is None:
            crf.addPairwiseGaussian(sxy=term.sxy, compat=compat)
        else:
            crf.addPairwiseBilateral(sxy=term.sxy, srgb=term.srgb, rgbim=image, compat=compat)
    return np.array(crf.inference(iterations), np.float32).reshape(energy.shape)
