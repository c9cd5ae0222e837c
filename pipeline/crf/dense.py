"""Dense CRF inference (Kraehenbuehl and Koltun, NIPS 2011): mean field on the permutohedral lattice."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, islice, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.crf import BackendChoice, CrfSettings, CrfTerm
from pipeline.crf.backends import load, pick_backend
from pipeline.crf.energy import Energy, as_energy
from pipeline.crf.threads import ordered_map
from pipeline.errors import PseudomaskError

Unary = NDArray[Any] | Energy
Named = tuple[tuple[NDArray[np.uint8], Sequence[Unary]], str]
"""Image, scores over it, and its name for errors."""


def dense_crf(
    image: NDArray[np.uint8], scores: Unary, params: CrfSettings, *, backend: BackendChoice | None = None
) -> NDArray[np.float32]:
    """Refine the scores of one image.

    Args:
        image: RGB uint8 (H, W, 3).
        scores: probabilities (K, H, W) of the labels that may occur, any float type, clipped to [1e-5, 1];
            or an ``Energy``, for instance ``Energy.from_labels(mask, count, gt_prob=0.7)``.
        params: terms and iterations.
        backend: overrides ``params.backend``; ``pick_backend`` says what ``auto`` stands for.

    Returns:
        Probabilities float32 (K, H, W), summing to one per pixel.

    Raises:
        PseudomaskError: shapes do not match, a score is not finite, or the engine asked for is missing.
    """
    return dense_crf_shared(image, [scores], params, backend=backend)[0]


def dense_crf_shared(
    image: NDArray[np.uint8], scores: Sequence[Unary], params: CrfSettings, *, backend: BackendChoice | None = None
) -> list[NDArray[np.float32]]:
    """As ``dense_crf`` for several scores over one image, whose lattice is built once (ASDT's two backgrounds)."""
    terms = params.resolved
    energies = [as_energy(item) for item in scores]
    for energy in energies:
        _check(image, energy, terms)
    engine = load(pick_backend(backend or params.backend).name)
    return engine.infer(image, energies, terms, params.iterations)


def dense_crf_batch(
    items: Iterable[tuple[NDArray[np.uint8], Sequence[Unary]]],
    params: CrfSettings,
    *,
    backend: BackendChoice | None = None,
    threads: int = 1,
    names: Iterable[str] | None = None,
) -> Iterator[list[NDArray[np.float32]]]:
    """``dense_crf_shared`` over (image, scores) pairs, results in order.

    One image per thread, except on torch, which takes 16 images at once instead. At most ``2 * threads`` images (or
    16) are held at a time, so ``items`` may be a generator over a whole data set.

    Raises:
        PseudomaskError: as ``dense_crf``; it says which of ``names``, where they are given.
    """
    named = zip(items, names or repeat(""), strict=False)
    if pick_backend(backend or params.backend).name == "torch":
        return _torch_batches(named, params)

    def one(item: Named) -> list[NDArray[np.float32]]:
        (image, scores), name = item
        with _naming(name):
            return dense_crf_shared(image, scores, params, backend=backend)

    return ordered_map(one, named, threads)


def _torch_batches(items: Iterable[Named], params: CrfSettings, size: int = 16) -> Iterator[list[NDArray[np.float32]]]:
    from pipeline.crf.torch_backend import infer_batch

    for _, alike in groupby(items, key=lambda item: len(item[0][1])):
        while batch := list(islice(alike, size)):
            images, energies = [], []
            for (image, scores), name in batch:
                with _naming(name):
                    unaries = [as_energy(item) for item in scores]
                    for energy in unaries:
                        _check(image, energy, params.resolved)
                images.append(image)
                energies.append(unaries)
            yield from infer_batch(images, energies, params.resolved, params.iterations)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Errors within say which image they are about."""
    try:
        yield
    except PseudomaskError as error:
        raise PseudomaskError(f"image '{name}': {error}" if name else str(error)) from error


def _check(image: NDArray[np.uint8], energy: NDArray[np.float32], terms: Sequence[CrfTerm]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise PseudomaskError(
            f"image for the CRF is {image.dtype} {image.shape}; expected uint8 (height, width, 3): "
            "repeat a grey channel three times"
        )
    if image.shape[:2] != energy.shape[1:]:
        raise PseudomaskError(
            f"scores for the CRF are (height, width) {energy.shape[1:]}, the image {image.shape[:2]}: resize the scores"
        )
    for term in terms:
        shape = np.shape(term.compat)
        if shape not in ((), (len(energy),), (len(energy),) * 2):
            raise PseudomaskError(f"CRF compat has shape {shape}, the scores have {len(energy)} labels")
