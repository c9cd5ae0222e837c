"""What a run will do before it does anything: jobs, what is cached already, disk it may fill."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts.layout import SHARDED, STAGE_FILES
from pipeline.artifacts.plan import OVERVIEW
from pipeline.config.classes import ClassTable
from pipeline.config.load import load_run
from pipeline.config.run import RunConfig
from pipeline.data import scenes
from pipeline.data.images import data_root
from pipeline.data.importing import count_images
from pipeline.errors import PseudomaskError
from pipeline.report.runs import human_size
from pipeline.report.stages import duration

_IMAGE = 375 * 500
_MASK_BYTES = 0.05
"""Bytes of a compressed mask per pixel; true masks of VOC have 0.02, noisy pseudo-masks more."""
_SHEET = 1_000_000
"""Bytes of the contact sheet beside the page."""
_TAGS = 3
"""Classes an activation map store holds of an image: those of its tags, 1.5 on average in VOC, 2.9 in COCO."""
_PARAMETER = 4


@dataclass(frozen=True)
class PlannedStage:
    """A stage and what it takes.

    Attributes:
        name: in the run.
        kind: of stage.
        jobs: Snakemake jobs; 0 where the store has the result.
        size: bytes of its outputs, an upper estimate; as they are where it is done.
        done: whether the store has the result.
    """

    name: str
    kind: str
    jobs: int
    size: int
    done: bool


def planned(raw: Mapping[str, Any], configs: Path, stages: Sequence[Mapping[str, Any]]) -> list[PlannedStage]:
    """Jobs and disk of every stage.

    Args:
        raw: the configuration, as for ``load_run``.
        configs: folder of presets.
        stages: what ``Plan.overview`` says.
    """
    config = load_run(raw, configs)
    runtime = config.runtime
    if config.data.source == "scenes":
        runtime = runtime.model_copy(update={"data_root": Path()})
    counts = count_images(config.data, data_root(runtime))
    finetune = getattr(config, "finetune", None)
    further = counts if finetune is None else count_images(finetune.data, data_root(runtime))
    weights = _weights(config)
    return [
        _planned(stage, config, further if stage["name"].startswith("extra_") else counts, weights) for stage in stages
    ]


def planned_stages(config: Path, snakefile: Path, file: Path) -> list[dict[str, Any]]:
    """The stages of a configuration, from a dry run of Snakemake in the working folder.

    Raises:
        PseudomaskError: Snakemake refuses; the message is its own.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--configfile", str(config)]
    environment = {**os.environ, OVERVIEW: str(file)}
    done = subprocess.run(
        [*command, "--cores", "1", "-n", "--quiet"], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode or not file.exists():
        raise PseudomaskError(f"snakemake cannot plan {config}:\n{done.stdout}{done.stderr}")
    found: list[dict[str, Any]] = json.loads(file.read_text())
    return found


def plan_lines(stages: Sequence[PlannedStage], costs: Mapping[str, Sequence[str]] | None = None) -> list[list[str]]:
    """A table of the stages, the sum last.

    Args:
        stages: of the run.
        costs: time and memory of trainings that were tried, in words, by name of the stage.
    """
    further = ["time", "GPU memory"] if costs else []
    rows = [["stage", "kind", "jobs", "disk at most", *further]]
    for stage in stages:
        words = (costs or {}).get(stage.name, ("",) * len(further))
        rows.append(
            [stage.name, stage.kind, "cached" if stage.done else str(stage.jobs), human_size(stage.size), *words]
        )
    missing = [stage for stage in stages if not stage.done]
    jobs, size = sum(stage.jobs for stage in missing), human_size(sum(s.size for s in missing))
    rows.append(["all to do", "", str(jobs), size, *("" for _ in further)])
    return rows


def training_cost(seconds: float, steps: int, memory: int | None) -> tuple[str, str]:
    """Time of a whole training at most, with that of one of its last steps, and memory."""
    time = f"at most {duration(seconds * steps)} ({steps:,} x {seconds:.2g} s)"
    return time, "" if memory is None else human_size(memory)


def _planned(
    stage: Mapping[str, Any], config: RunConfig, counts: Mapping[str, int], weights: Mapping[str, int]
) -> PlannedStage:
    kind, settings, done = stage["kind"], stage["settings"], stage["done"]
    shards = config.runtime.shards
    jobs = 0 if done else shards + 1 if kind in SHARDED else 1
    if done:
        size = sum(_on_disk(Path(path)) for path in stage["outputs"])
    else:
        size = _estimate(kind, settings, config, counts, weights)
    return PlannedStage(stage["name"], kind, jobs, size, done)


def _estimate(
    kind: str,
    settings: Mapping[str, Any],
    config: RunConfig,
    counts: Mapping[str, int],
    weights: Mapping[str, int],
) -> int:
    """Bytes of the outputs, an upper estimate for images of 500 by 375 pixels."""
    images = _images(settings.get("split"), counts)
    if kind == "train":
        return weights.get(json.dumps(settings["settings"], sort_keys=True), max(weights.values(), default=0))
    if kind == "report":
        return int(settings["megabytes"] * 1e6) + _SHEET
    if "scores" in STAGE_FILES[kind]:
        if kind == "refine_par":
            return int(images * (_TAGS + 1) * 2 * _IMAGE * settings["par"]["scale"] ** 2)
        if kind == "infer_scores":
            return int(images * len(class_table(config)) * 2 * _IMAGE // settings["stride"] ** 2)
        stride = settings.get("stride", 4)
        return int(images * _TAGS * 2 * _IMAGE // stride**2)
    if "masks" in STAGE_FILES[kind]:
        return int(images * _IMAGE * _MASK_BYTES)
    if kind == "generate_scenes" and config.data.scenes is not None:
        return images * config.data.scenes.size**2 * 3
    return 200 * images


def _images(split: object, counts: Mapping[str, int]) -> int:
    """Images of a split, several joined by +; of all where it is made during the run."""
    known = [counts[name] for name in str(split).split("+") if name in counts]
    return sum(known) or sum(counts.values())


def _weights(config: RunConfig) -> dict[str, int]:
    """Bytes of the weights of every training, by its settings, with those of its checkpoint on top."""
    from pipeline.methods.described import built_without_memory, millions

    classes = class_table(config)
    sizes = {}
    for _, settings in config.trained():
        copies = 1 + (2 if settings.training.optimiser.kind == "sgd" else 3)
        size = int(1e6 * millions(built_without_memory(settings, classes)) * _PARAMETER * copies)
        sizes[json.dumps(settings.model_dump(mode="json"), sort_keys=True)] = size
    return sizes


def class_table(config: RunConfig) -> ClassTable:
    """The classes of a run; as many as COCO has, under other names, where only the data's files know them."""
    if config.data.scenes is not None:
        return scenes.class_table(config.data.scenes)
    return config.data.classes or ClassTable(names=tuple(f"class {number}" for number in range(81)))


def _on_disk(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else 0
