"""Mean field in torch: any device, images of different sizes in one batch."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config.crf import CrfTerm
from pipeline.crf.torch_lattice import TorchLattice, build, features_of
from pipeline.errors import PseudomaskError


def describe() -> str:
    """The device it would run on."""
    return f"torch {torch.__version__} on {default_device()}"


def default_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def infer(
    image: NDArray[np.uint8], energies: Sequence[NDArray[np.float32]], terms: Sequence[CrfTerm], iterations: int
) -> list[NDArray[np.float32]]:
    """Probabilities (K, H, W) per energy, on the default device."""
    return infer_batch([image], [energies], terms, iterations)[0]


def infer_batch(
    images: Sequence[NDArray[np.uint8]],
    energies: Sequence[Sequence[NDArray[np.float32]]],
    terms: Sequence[CrfTerm],
    iterations: int,
) -> list[list[NDArray[np.float32]]]:
    """As ``infer`` for several images at once; every image has the same number of unaries."""
    device = default_device()
    lattices = Lattices([torch.from_numpy(np.ascontiguousarray(image)).to(device) for image in images], terms)
    results: list[list[NDArray[np.float32]]] = [[] for _ in images]
    for unaries in zip(*energies, strict=True):
        given = [torch.from_numpy(unary).to(device) for unary in unaries]
        for result, probabilities in zip(results, mean_field(lattices, given, iterations), strict=True):
            result.append(probabilities.cpu().numpy())
    return results


class Lattices:
    """The normalised lattices of all terms over several images, each uint8 or float (H, W, 3) in 0..255."""

    def __init__(self, images: Sequence[Tensor], terms: Sequence[CrfTerm]) -> None:
        self.terms = terms
        self.sizes = [(int(image.shape[0]), int(image.shape[1])) for image in images]
        counts = torch.tensor([height * width for height, width in self.sizes], device=images[0].device)
        owner = torch.arange(len(images), device=counts.device).repeat_interleave(counts)
        self.lattices = [
            _normalised(build(torch.cat([features_of(image, term.sxy, term.srgb) for image in images]), owner))
            for term in terms
        ]


def mean_field(lattices: Lattices, energies: Sequence[Tensor], iterations: int) -> list[Tensor]:
    """Probabilities float32 (K, H, W) of ``energies`` (K, H, W), one per image; K may differ where compat is a scalar.

    Energies may be float32, float16 or bfloat16; the arithmetic is float32.
    """
    if any(tuple(energy.shape[1:]) != size for energy, size in zip(energies, lattices.sizes, strict=True)):
        raise PseudomaskError("energies and images of a CRF batch differ in size")
    labels = max(len(energy) for energy in energies)
    pixels = [-energy.float().flatten(1).T for energy in energies]
    logits = torch.cat(
        [torch.nn.functional.pad(part, (0, labels - part.shape[1]), value=-torch.inf) for part in pixels]
    )
    probabilities = logits.softmax(1)
    compats = [torch.tensor(term.compat, device=logits.device) for term in lattices.terms]
    for _ in range(iterations):
        total = logits.clone()
        for lattice, compat in zip(lattices.lattices, compats, strict=True):
            total += _messages(lattice.filter(probabilities), compat)
        probabilities = total.softmax(1)
    split = torch.split(probabilities, [height * width for height, width in lattices.sizes])
    return [part[:, : len(energy)].T.reshape(energy.shape) for part, energy in zip(split, energies, strict=True)]


def _messages(filtered: Tensor, compat: Tensor) -> Tensor:
    """Pydensecrf's signs: a scalar is a Potts weight (agreement is rewarded), a vector or matrix is an energy."""
    if compat.ndim == 0:
        return compat * filtered
    return -filtered * compat if compat.ndim == 1 else -filtered @ ((compat + compat.T) / 2)


def _normalised(lattice: TorchLattice) -> TorchLattice:
    ones = lattice.weights.new_ones(len(lattice.weights), 1)
    factor = (lattice.filter(ones) + 1e-20).rsqrt()
    return TorchLattice(lattice.rows, lattice.weights * factor, lattice.neighbours, lattice.count)
