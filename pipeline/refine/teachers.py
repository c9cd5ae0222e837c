"""Labels of ASDT's two teachers, from what they say of an image and dense CRFs.

The class-teacher's labels are RRM's (Zhang et al., AAAI 2020, Sec. 3.2, and its code): a pixel keeps its label where
activation map and CRF are both sure. The segmentation teacher's are its probabilities after a CRF.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config.asdt import ReliableSettings
from pipeline.config.crf import CrfSettings
from pipeline.crf.dense import dense_crf_batch
from pipeline.refine.background import power_background

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Evidence:
    """What a teacher says of one image.

    Attributes:
        image: uint8 RGB (H, W, 3).
        scores: float32 (K, H, W), 0..1: activation maps of the present classes, or probabilities with background.
        classes: the K class indices.
    """

    image: NDArray[np.uint8]
    scores: Scores
    classes: NDArray[np.int64]


def reliable_labels(
    evidence: Sequence[Evidence], settings: ReliableSettings, ignore: int, threads: int
) -> list[NDArray[np.uint8]]:
    """Labels of the class-teacher, uint8 (H, W) of class indices and ``ignore``, per image.

    Args:
        evidence: activation maps, each class divided by its maximum.
        settings: exponents, CRF, limits.
        ignore: value of pixels of which nothing reliable is known.
        threads: images refined at the same time.
    """
    exponents = (settings.low_alpha, settings.high_alpha)
    items = (
        (e.image, [np.concatenate([power_background(e.scores, a), e.scores]) for a in exponents]) for e in evidence
    )
    refined = dense_crf_batch(items, settings.crf, threads=threads)
    return [
        _select(each, strong, weak, settings, ignore) for each, (strong, weak) in zip(evidence, refined, strict=True)
    ]


def _select(
    evidence: Evidence, strong: Scores, weak: Scores, settings: ReliableSettings, ignore: int
) -> NDArray[np.uint8]:
    """Labels of one image; ``strong`` and ``weak`` are the CRF's results (K+1, H, W) by background."""
    winner = strong.argmax(0)
    labels = np.where(winner > 0, np.append(0, evidence.classes).astype(np.uint8)[winner], np.uint8(ignore))
    labels[weak.argmax(0) == 0] = 0
    confidence = np.concatenate([weak[:1], strong[1:]]).max(0)
    unsure = ~_sure(evidence.scores, np.unique(winner), settings) | (confidence < settings.confidence)
    labels[unsure] = ignore
    return labels


def _sure(maps: Scores, found: NDArray[np.int64], settings: ReliableSettings) -> NDArray[np.bool_]:
    """Where the maps alone are sure: clear background, and the strongest pixels of every class the CRF found.

    The code fails where a class that the CRF found has no pixel above ``least``; here it has no sure pixel then.
    """
    background = power_background(maps, settings.high_alpha)
    winner = np.concatenate([background, maps]).argmax(0)
    sure: NDArray[np.bool_] = (winner == 0) & (background[0] > settings.background)
    for number in found[found > 0]:
        own = maps[number - 1]
        where = (winner == number) & (own > settings.least)
        strengths = own[where]
        if len(strengths):
            rank = int(settings.doubtful * len(strengths))
            sure |= where & (own > np.partition(strengths, rank)[rank])
    return sure


def refined_probabilities(evidence: Sequence[Evidence], crf: CrfSettings, threads: int) -> list[Scores]:
    """Probabilities of the segmentation teacher after a CRF, float32 (K, H, W) per image."""
    results = dense_crf_batch(((e.image, [e.scores]) for e in evidence), crf, threads=threads)
    return [values for (values,) in results]
