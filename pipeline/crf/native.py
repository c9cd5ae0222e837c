"""The native engine: C++ in ``native/``, bound with ctypes, which releases the interpreter lock."""

import ctypes
import importlib.util
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.config.crf import CrfTerm
from pipeline.errors import PseudomaskError

MOST_LABELS = 4096
_FLOATS = ctypes.POINTER(ctypes.c_float)


class _Term(ctypes.Structure):
    _fields_ = (
        ("sxy", ctypes.c_double),
        ("srgb", ctypes.c_double),
        ("compat_kind", ctypes.c_int),
        ("compat", _FLOATS),
    )


@cache
def library() -> ctypes.CDLL:
    """The compiled engine.

    Raises:
        ImportError: it was not built.
    """
    spec = importlib.util.find_spec("pipeline.crf._native")
    # It uses nothing of Python's, so what another Python than this one built will do.
    built = spec.origin if spec is not None else next(map(str, Path(__file__).parent.glob("_native.*")), None)
    if built is None:
        raise ImportError("its C++ core was not compiled: install a C++ compiler, then 'pip install --no-deps .' again")
    engine = ctypes.CDLL(built)
    engine.crf_isa.restype = ctypes.c_char_p
    return engine


def is_built() -> bool:
    """Whether there is an engine."""
    try:
        library()
    except ImportError:
        return False
    return True


def describe() -> str:
    """The instruction set in use; ImportError where the engine is not built."""
    return f"C++ engine, {library().crf_isa().decode()}"


def infer(
    image: NDArray[np.uint8], energies: Sequence[NDArray[np.float32]], terms: Sequence[CrfTerm], iterations: int
) -> list[NDArray[np.float32]]:
    """Probabilities (K, H, W) per energy; energies of equal K share one call."""
    results: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(energies)
    for labels in {len(energy) for energy in energies}:
        where = [index for index, energy in enumerate(energies) if len(energy) == labels]
        for index, result in zip(where, _infer(image, [energies[i] for i in where], terms, iterations), strict=True):
            results[index] = result
    return results


def _infer(
    image: NDArray[np.uint8], energies: Sequence[NDArray[np.float32]], terms: Sequence[CrfTerm], iterations: int
) -> list[NDArray[np.float32]]:
    labels, height, width = energies[0].shape
    if labels > MOST_LABELS:
        raise PseudomaskError(f"the native CRF holds at most {MOST_LABELS} labels, got {labels}")
    image = np.ascontiguousarray(image)
    results = [np.empty_like(energy) for energy in energies]
    compats = [np.ascontiguousarray(term.compat, np.float32) for term in terms]
    table = (_Term * len(terms))(
        *(
            _Term(term.sxy, term.srgb or 0, np.ndim(term.compat), compat.ctypes.data_as(_FLOATS))
            for term, compat in zip(terms, compats, strict=True)
        )
    )
    call(
        "crf_infer",
        ctypes.c_void_p(image.ctypes.data),
        ctypes.c_int64(height),
        ctypes.c_int64(width),
        table,
        len(terms),
        labels,
        iterations,
        pointers(energies),
        pointers(results),
        len(energies),
        ctypes.c_int64(free_memory()),
    )
    return results


def call(name: str, *arguments: object) -> None:
    """Call a function of the engine; the user's errors become PseudomaskError."""
    message = ctypes.create_string_buffer(256)
    if getattr(library(), name)(*arguments, message, len(message)):
        raise PseudomaskError(f"dense CRF: {message.value.decode()}")


def pointers(arrays: Sequence[NDArray[np.float32]]) -> ctypes.Array[ctypes.c_void_p]:
    """A C array of the arrays' addresses."""
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


def free_memory() -> int:
    """Bytes that can be had without swapping, off Linux all there are; 0 where the system does not say."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
