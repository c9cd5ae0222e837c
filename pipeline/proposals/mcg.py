"""Pre-computed MCG candidates: superpixels and, per candidate, the superpixels it is made of; scores are not read.

The published files are ranked and pruned by a forest that saw VOC masks. Read without their scores they are as near to
unranked candidates as such files allow.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from pipeline.artifacts.boxes import Corners
from pipeline.config.proposals import ChoiceOfCandidate
from pipeline.errors import PseudomaskError
from pipeline.proposals.candidates import Measures, Partition, fitness


class McgCandidates:
    """The candidates of one image.

    Args:
        path: MATLAB file up to version 7.2 with ``superpixels`` (H, W) and the cell array ``labels``.
        image_id: named in errors.
        size: (height, width) of the image.

    Raises:
        PseudomaskError: the file is missing, damaged, of another kind or for an image of another size.
    """

    def __init__(self, path: Path, image_id: str, size: tuple[int, int]) -> None:
        where = f"candidates of '{image_id}' ({path})"
        if not path.is_file():
            raise PseudomaskError(f"{where} do not exist; make them, or leave the image out of the split")
        try:
            content = loadmat(path, variable_names=["superpixels", "labels"])
        except (NotImplementedError, ValueError, TypeError, OSError, MatReadError) as error:
            raise PseudomaskError(
                f"{where} cannot be read: {error}; save them in MATLAB with save(..., '-v7')"
            ) from error
        if not {"superpixels", "labels"} <= content.keys():
            raise PseudomaskError(f"{where}: expected 'superpixels' and 'labels' as MCG writes them")
        found = content["superpixels"]
        if found.shape != size:
            raise PseudomaskError(
                f"{where} are for {found.shape[1]}x{found.shape[0]}, the image is {size[1]}x{size[0]}"
            )
        numbers, labels = np.unique(found, return_inverse=True)
        self.partition = Partition(labels.reshape(size).astype(np.int32))
        self._members = []
        for cell in content["labels"].ravel():
            members = np.unique(cell.ravel())
            if len(members):
                if not np.isin(members, numbers).all():
                    raise PseudomaskError(f"{where}: a candidate names a superpixel that does not exist")
                self._members.append(np.searchsorted(numbers, members))
        if not self._members:
            raise PseudomaskError(f"{where} are none")

    def choose(self, box: Corners, choice: ChoiceOfCandidate) -> NDArray[np.bool_]:
        """The candidate that fits a box best, bool (H, W)."""
        leaves = self.partition.measures(box)
        flat = np.concatenate(self._members)
        starts = np.cumsum([0, *(len(members) for members in self._members[:-1])])
        measured = Measures(
            np.add.reduceat(leaves.sums[flat], starts), np.minimum.reduceat(leaves.corners[flat], starts)
        )
        chosen = np.zeros(len(self.partition), bool)
        chosen[self._members[int(fitness(measured, box, choice).argmax())]] = True
        return self.partition.mask(chosen, box if choice.clip else None)
