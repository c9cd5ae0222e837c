"""The bilateral filter of one image as an object: apply it, or its exact adjoint, to any channels."""

import ctypes

import numpy as np
from numpy.typing import NDArray

from pipeline.crf import native
from pipeline.errors import PseudomaskError


class NativeLattice:
    """Permutohedral lattice over position and colour, not normalised.

    Approximates ``A[p, q] = exp(-|xy_p - xy_q|^2 / 2 sxy^2 - |rgb_p - rgb_q|^2 / 2 srgb^2)``.

    Args:
        image: float32 (H, W, 3), values 0..255.
        sxy: standard deviation of position, pixels.
        srgb: standard deviation of colour.

    Raises:
        PseudomaskError: values outside 0..255 or not finite, or a sigma too small for the lattice.
    """

    def __init__(self, image: NDArray[np.float32], sxy: float, srgb: float) -> None:
        self._handle = ctypes.c_void_p()
        image = np.ascontiguousarray(image, np.float32)
        if image.ndim != 3 or image.shape[2] != 3 or not (image.min() >= 0 and image.max() <= 255):
            raise PseudomaskError(f"image for the CRF filter has shape {image.shape}; needs (H, W, 3), values 0..255")
        self.size = image.shape[:2]
        native.call(
            "crf_lattice",
            ctypes.c_void_p(image.ctypes.data),
            *map(ctypes.c_int64, self.size),
            ctypes.c_double(sxy),
            ctypes.c_double(srgb),
            ctypes.byref(self._handle),
        )

    def filter(
        self,
        values: NDArray[np.floating],
        adjoint: bool = False,
        out: NDArray[np.floating] | None = None,
    ) -> NDArray[np.floating]:
        """Filter float32 or float64 ``values`` (C, H, W) channel by channel.

        ``adjoint`` multiplies by A transposed; ``out``, contiguous and like ``values``, receives the result.
        """
        if values.ndim != 3 or values.shape[1:] != self.size or values.dtype not in (np.float32, np.float64):
            raise PseudomaskError(f"values for the CRF filter are {values.dtype} {values.shape}; image {self.size}")
        values = np.ascontiguousarray(values)
        result = np.empty_like(values) if out is None else out
        native.call(
            "crf_filter",
            self._handle,
            len(values),
            ctypes.c_void_p(values.ctypes.data),
            ctypes.c_void_p(result.ctypes.data),
            int(adjoint),
            int(values.dtype == np.float64),
        )
        return result

    def __del__(self) -> None:
        if self._handle:
            native.library().crf_lattice_free(self._handle)
            self._handle = ctypes.c_void_p()
