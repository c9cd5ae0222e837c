"""COCO-Stuff 10K with the 20 classes of VOC: its annotations as index PNGs, everything else background."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from pipeline.artifacts.files import atomic_path
from pipeline.data.set_up import VOC_CLASSES
from pipeline.errors import PseudomaskError

# COCO's category ids of VOC's classes, in VOC's order.
COCO_IDS = (5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72)


def write_voc_masks(folder: Path) -> int:
    """Write ``masks-voc/<id>.png`` for every ``annotations/<id>.mat``; returns how many.

    Unlabelled pixels become background like all other classes, as in EDAM and ASDT.

    Raises:
        PseudomaskError: there is no annotation, or one is damaged or has no label map ``S``.
    """
    sources = sorted((folder / "annotations").glob("*.mat"))
    if not sources:
        raise PseudomaskError(f"{folder / 'annotations'} holds no .mat file; give the folder COCO-Stuff 10K lies in")
    assert len(COCO_IDS) == len(VOC_CLASSES)
    table = np.zeros(2**16, np.uint8)
    table[list(COCO_IDS)] = np.arange(1, len(COCO_IDS) + 1)
    target = folder / "masks-voc"
    target.mkdir(exist_ok=True)
    for source in sources:
        try:
            labels = loadmat(source).get("S")
        except (ValueError, TypeError, MatReadError) as error:
            raise PseudomaskError(f"{source} is damaged; unpack it again: {error}") from error
        if labels is None or labels.ndim != 2:
            raise PseudomaskError(f"{source} has no label map 'S'; is it an annotation of COCO-Stuff 10K?")
        with atomic_path(target / f"{source.stem}.png") as temporary:
            Image.fromarray(table[labels.astype(np.uint16)]).save(temporary)
    return len(sources)
