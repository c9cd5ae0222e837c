"""Several runs side by side: seeds joined, differences with intervals, images on which runs disagree."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from pipeline.artifacts.counts import Row, read_counts
from pipeline.artifacts.lineage import MadeStage, lineage
from pipeline.errors import PseudomaskError
from pipeline.evaluation.metrics import mean

_SAMPLES = 1000


@dataclass(frozen=True)
class FinishedRun:
    """A run that has been measured.

    Attributes:
        folder: ``results/<run>``.
        config: resolved configuration.
        metrics: content of ``evaluation/metrics.json``.
    """

    folder: Path
    config: dict[str, Any]
    metrics: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "FinishedRun":
        """The run in a folder.

        Raises:
            PseudomaskError: it has no evaluation.
        """
        metrics, config = folder / "evaluation/metrics.json", folder / "config.yaml"
        for path in (metrics, config):
            if not path.exists():
                raise PseudomaskError(
                    f"{folder} has no {path.relative_to(folder)}; finish the run or leave it out "
                    "(without true masks nothing is measured)"
                )
        return cls(folder, yaml.safe_load(config.read_text()), json.loads(metrics.read_text()))

    @property
    def recipe(self) -> str:
        """Everything but name, seed and the machine: equal for runs that differ by seed alone."""
        return json.dumps({k: v for k, v in self.config.items() if k not in ("run", "seed", "runtime")}, sort_keys=True)

    @cached_property
    def stages(self) -> list[MadeStage]:
        """Finished stages behind the numbers, whichever run they were made for."""
        metrics = (self.folder / "evaluation/metrics.json").resolve()
        made = lineage([metrics], self.folder.absolute().parents[1])
        return [stage for stage in made if stage.seconds is not None]

    @cached_property
    def counts(self) -> dict[Row, tuple[list[str], NDArray[np.int64]]]:
        """Pixel counts per image by row."""
        return read_counts(self.folder / "evaluation/images.parquet", len(self.metrics["classes"]))


def grouped(runs: list[FinishedRun]) -> list[list[FinishedRun]]:
    """Runs that differ by seed alone, together; in the order given."""
    groups: dict[str, list[FinishedRun]] = {}
    for run in runs:
        groups.setdefault(run.recipe, []).append(run)
    return list(groups.values())


def joined_rows(group: list[FinishedRun]) -> list[dict[str, Any]]:
    """Rows of metrics.json of a group of seeds: ``seed`` names all, means carry ``deviation`` where there are several.

    The deviation is that of a sample (n - 1).
    """
    rows: list[dict[str, Any]] = []
    for number, first in enumerate(group[0].metrics["entries"]):
        same = [run.metrics["entries"][number] for run in group]
        values = [entry["mean_iou"] for entry in same]
        subsets = {name: mean([entry["subsets"][name] for entry in same]) for name in first["subsets"]}
        rows.append(
            {
                **first,
                "name": f"{group[0].folder.name}: {first['name']}",
                "seed": ", ".join(str(entry["seed"]) for entry in same),
                "mean_iou": mean(values),
                "deviation": float(np.std(values, ddof=1)) if len(same) > 1 and None not in values else None,
                "subsets": subsets,
                "coverage": mean([entry["coverage"] for entry in same]),
            }
        )
    return rows


@dataclass(frozen=True)
class Difference:
    """How much a group of runs is above another on the same images.

    Attributes:
        row: masks, split, protocol.
        mean: difference of mean IoU, in -1..1.
        low: lower end of the 95 % interval.
        high: upper end.
        images: number of images.
        disagree: images on which the groups differ most: id and difference of the image's mean IoU.
    """

    row: Row
    mean: float
    low: float
    high: float
    images: int
    disagree: list[tuple[str, float]]

    @property
    def interval(self) -> str:
        """Difference and interval in per cent."""
        return f"{100 * self.mean:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


def differences(base: list[FinishedRun], other: list[FinishedRun], most: int = 5, seed: int = 0) -> list[Difference]:
    """``other`` minus ``base`` for every row both have on the same images, with paired bootstrap intervals.

    Images are drawn with replacement, the same for both groups, 1,000 times; the mean IoU of a group is the mean over
    its seeds. The interval speaks of other images, not of other seeds. ``most`` images are named for each row.
    """
    found = []
    for row, (ids, _) in base[0].counts.items():
        if row not in other[0].counts or sorted(other[0].counts[row][0]) != sorted(ids):
            continue
        draws = np.random.default_rng(seed).multinomial(len(ids), np.full(len(ids), 1 / len(ids)), _SAMPLES)
        ours, theirs = (np.stack([_counts(run, row, ids) for run in group]) for group in (other, base))
        change = _mean_iou(_totals(draws, ours)) - _mean_iou(_totals(draws, theirs))
        low, high = np.quantile(change, (0.025, 0.975))
        whole = _mean_iou(ours.sum(1, keepdims=True)) - _mean_iou(theirs.sum(1, keepdims=True))
        each = _mean_iou(ours) - _mean_iou(theirs)
        strongest = np.argsort(-np.abs(each), kind="stable")[:most]
        disagree = [(ids[index], float(each[index])) for index in strongest]
        found.append(Difference(row, float(whole[0]), float(low), float(high), len(ids), disagree))
    return found


def _counts(run: FinishedRun, row: Row, ids: list[str]) -> NDArray[np.int64]:
    """Counts of a run (N, C, 3) with images in the order of ``ids``."""
    own, counts = run.counts[row]
    places = {image_id: place for place, image_id in enumerate(own)}
    return counts[[places[image_id] for image_id in ids]]


def _totals(draws: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Counts (S, B, C, 3) of samples that hold image n ``draws[b, n]`` times."""
    result: NDArray[np.float64] = np.einsum("bn,snck->sbck", draws.astype(float), counts.astype(float), optimize=True)
    return result


def _mean_iou(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Mean over seeds and classes that occur, (B,), of counts (S, B, C, 3)."""
    both = counts[..., 2].astype(float)
    union = counts[..., 0] + counts[..., 1] - both
    iou = np.divide(both, union, out=np.full_like(union, np.nan), where=union > 0)
    result: NDArray[np.float64] = np.nanmean(iou, axis=2).mean(0)
    return result
