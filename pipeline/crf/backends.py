"""Which engine runs a CRF, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.config.crf import BackendChoice, CrfTerm
from pipeline.errors import PseudomaskError

BackendName = Literal["native", "torch", "pydensecrf"]
ORDER: tuple[BackendName, ...] = ("native", "pydensecrf", "torch")  # fastest first on a CPU


class Backend(Protocol):
    """What the module of a backend offers."""

    def describe(self) -> str:
        """What it runs on, for people; ImportError where it is not installed."""
        ...

    def infer(
        self,
        image: NDArray[np.uint8],
        energies: Sequence[NDArray[np.float32]],
        terms: Sequence[CrfTerm],
        iterations: int,
    ) -> list[NDArray[np.float32]]:
        """Probabilities (K, H, W) per energy (K, H, W), all on the lattice of one image (H, W, 3)."""
        ...


@dataclass(frozen=True)
class Picked:
    """The engine chosen and the reason, for logs and for ``doctor``."""

    name: BackendName
    why: str


def load(name: BackendName) -> Backend:
    """The module of a backend; each is imported when it is wanted."""
    if name == "native":
        from pipeline.crf import native

        return native
    if name == "pydensecrf":
        from pipeline.crf import reference

        return reference
    from pipeline.crf import torch_backend

    return torch_backend


def pick_backend(choice: BackendChoice = "auto") -> Picked:
    """The engine that ``choice`` stands for here; ``auto`` is the first installed of native, pydensecrf, torch.

    Raises:
        PseudomaskError: the engine named, or with ``auto`` every engine, is not installed; the message says why.
    """
    missing: list[str] = []
    for name in ORDER if choice == "auto" else (choice,):
        try:
            found = load(name).describe()
        except ImportError as error:
            missing.append(f"{name} is not installed ({error})")
        else:
            return Picked(name, "; ".join([*missing, found]))
    raise PseudomaskError(f"no dense CRF engine: {'; '.join(missing)}")
