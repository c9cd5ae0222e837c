"""From scores to masks."""

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.scores import Scores
from pipeline.config.background import LabelSettings
from pipeline.refine.background import with_background


def label_mask(scores: Scores, settings: LabelSettings, threshold: float, ignore: int) -> NDArray[np.uint8]:
    """Mask of the strongest class per pixel, at image size.

    With an ignore band, pixels whose best foreground map lies within the band around the threshold become ``ignore``
    (two-threshold labels of DuPL and KTSE, Eq. 4, before refinement). Of probabilities, those not above
    ``min_probability`` do (MDH, Eq. 3).

    Returns:
        uint8 (H, W).
    """
    values, classes = with_background(scores, settings.background, threshold)
    mask: NDArray[np.uint8] = classes.astype(np.uint8)[values.argmax(0)]
    if settings.ignore_band and scores.kind == "cam" and len(classes) > 1:
        mask[np.abs(values[1:].max(0) - values[0]) < settings.ignore_band] = ignore
    if settings.min_probability and scores.kind == "probability":
        mask[values.max(0) <= settings.min_probability] = ignore
    return mask
