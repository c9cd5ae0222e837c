"""The masks of SBD (Hariharan et al. 2011) beside those of VOC 2012: the 10,582 training images called trainaug."""

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from pipeline.artifacts.files import atomic_path, write_text
from pipeline.data.voc import read_ids
from pipeline.errors import PseudomaskError

MASKS = "SegmentationClassAug"
LISTS = "ImageSets/Segmentation"


def write_trainaug(sbd: Path, voc: Path) -> tuple[int, int]:
    """Write ``SegmentationClassAug/*.png`` and ``train_aug.txt`` into the folder of VOC 2012.

    An image has the mask of VOC where there is one, else that of SBD. trainaug is VOC's train and both lists of SBD
    without VOC's val, so no image is trained on that is measured on.

    Args:
        sbd: folder with ``cls/*.mat``, ``train.txt`` and ``val.txt`` (``benchmark_RELEASE/dataset``).
        voc: folder with ``SegmentationClass`` and ``ImageSets/Segmentation``.

    Returns:
        Number of images of trainaug, and of masks that come from SBD.

    Raises:
        PseudomaskError: a list or mask is missing, or a mask is damaged or has a class that VOC lacks.
    """
    train, val = (read_ids(voc / LISTS / f"{name}.txt") for name in ("train", "val"))
    more = [image_id for name in ("train", "val") for image_id in read_ids(sbd / f"{name}.txt")]
    own = dict.fromkeys((*train, *val))
    trainaug = sorted({*train, *more} - {*val})
    target = voc / MASKS
    target.mkdir(exist_ok=True)
    for image_id in own:
        source = voc / "SegmentationClass" / f"{image_id}.png"
        if not source.is_file():
            raise PseudomaskError(f"{source} does not exist; unpack VOC 2012 completely")
        with atomic_path(target / source.name) as temporary:
            shutil.copyfile(source, temporary)
    from_sbd = [image_id for image_id in trainaug if image_id not in own]
    for image_id in from_sbd:
        with atomic_path(target / f"{image_id}.png") as temporary:
            Image.fromarray(read_sbd_mask(sbd / "cls" / f"{image_id}.mat")).save(temporary)
    write_text(voc / LISTS / "train_aug.txt", "".join(f"{image_id}\n" for image_id in trainaug))
    return len(trainaug), len(from_sbd)


def read_sbd_mask(path: Path) -> NDArray[np.uint8]:
    """Class indices (H, W) of one annotation, 0..20; SBD has no border of its own.

    Raises:
        PseudomaskError: the file is missing, damaged, or no annotation of SBD.
    """
    if not path.is_file():
        raise PseudomaskError(f"{path} does not exist; unpack SBD completely")
    try:
        labels = np.asarray(loadmat(path)["GTcls"]["Segmentation"][0, 0])
    except (KeyError, ValueError, IndexError, TypeError, MatReadError) as error:
        raise PseudomaskError(f"{path} is damaged or no annotation of SBD (GTcls.Segmentation): {error}") from error
    if labels.ndim != 2 or labels.dtype.kind not in "ui" or labels.max(initial=0) > 20:
        raise PseudomaskError(f"{path} holds no class map with values 0..20; found {labels.dtype} {labels.shape}")
    return labels.astype(np.uint8)
