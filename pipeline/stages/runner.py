"""Runs one stage from its ``stage.json``; knows nothing of Snakemake."""

import ctypes
import dataclasses
import importlib
import json
import logging
import os
import platform
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.artifacts.code import installed, packages
from pipeline.artifacts.files import content_digest, remove_leftovers, write_text
from pipeline.artifacts.job import Job
from pipeline.artifacts.layout import PROVENANCE, SCRATCH, SHARDED, SPEC, shard_file
from pipeline.artifacts.lineage import input_paths
from pipeline.artifacts.masks import merge_masks
from pipeline.artifacts.scores import merge_scores
from pipeline.artifacts.store import StageFolder
from pipeline.config.load import validated
from pipeline.config.runtime import RuntimeSettings
from pipeline.errors import PseudomaskError
from pipeline.stages.gpus import take_gpus

_log = logging.getLogger(__name__)


def run_stage(spec: Path, shard: str | None = None, merge: int | None = None, gpus: int = 0) -> None:
    """Run a stage, one shard of it, or the merge of its shards.

    Args:
        spec: ``stage.json`` as the plan wrote it.
        shard: ``<index>-of-<count>`` for one part of a sharded stage.
        merge: number of shards to join into the stage's output.
        gpus: GPUs to reserve, where there are any and ``runtime.device`` is not ``cpu``.

    Raises:
        PseudomaskError: the file is missing or does not fit this version of the stage.
    """
    if not spec.exists():
        raise PseudomaskError(f"{spec} does not exist; run snakemake, or name an existing stage.json")
    keep_freed_memory()
    document = json.loads(spec.read_text())
    if (shard, merge) != (None, None) and document["kind"] not in SHARDED:
        raise PseudomaskError(f"stage kind '{document['kind']}' has no shards")
    runtime = RuntimeSettings.model_validate(document["runtime"])
    if gpus and runtime.device != "cpu":
        take_gpus(gpus)
    folder = spec.parent
    started, clock = datetime.now(UTC), time.perf_counter()
    if merge is not None:
        _merge(document, folder, merge)
    else:
        _execute(document, folder, shard, runtime)
    facts = {
        "started": started.isoformat(timespec="seconds"),
        "wall_seconds": round(time.perf_counter() - clock, 3),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        **_device(runtime.precision),
        "packages": _packages(document["code"]),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    if not _is_first_process():
        return
    if shard is not None:
        write_text(Path(shard_file(str(folder), shard)).with_suffix(".json"), json.dumps(facts))
        return
    if merge is not None:
        facts["shards"] = [json.loads(_shard_facts(folder, i, merge).read_text()) for i in range(merge)]
    made = (Path(path) for path in document["outputs"].values())
    facts["digests"] = {path.name: content_digest(path) for path in made}
    provenance = {name: value for name, value in document.items() if name != "runtime"} | facts
    write_text(folder / PROVENANCE, json.dumps(provenance, indent=1))


def keep_freed_memory() -> None:
    """Have glibc reuse freed memory instead of returning it to the kernel, where there is glibc.

    By default every large tensor is fresh memory from the kernel, which clears it page by page: a third of the time
    of a training step on a CPU.
    """
    trim_threshold, mmap_max = -1, -4  # names of the two options in malloc.h
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_max, 0)


def _is_first_process() -> bool:
    """Whether this is the process that writes files: a training on several devices runs this module once for each.

    Its number is told by Fabric in the first two, by srun in the third, by torchrun in the last.
    """
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "RANK"))


def _shard_facts(folder: Path, index: int, count: int) -> Path:
    return Path(shard_file(str(folder), f"{index}-of-{count}")).with_suffix(".json")


def _execute(document: dict[str, Any], folder: Path, shard: str | None, runtime: RuntimeSettings) -> None:
    stage = importlib.import_module(f"pipeline.stages.{document['kind']}")
    outputs = {name: Path(path) for name, path in document["outputs"].items()}
    part = (0, 1)
    if shard is not None:
        index, _, count = shard.partition("-of-")
        part = (int(index), int(count))
        outputs = {name: Path(shard_file(str(folder), shard)) for name in outputs}
    if _is_first_process():
        for path in outputs.values():
            remove_leftovers(path)
    job = Job(
        name=document["name"],
        key=document["key"],
        runtime=runtime,
        scratch=folder / SCRATCH,
        shard=part,
    )
    try:
        settings = validated(stage.Settings, document["settings"])
    except PseudomaskError as error:
        raise PseudomaskError(
            f"{folder / SPEC} is of another version of this stage; run snakemake, which writes it anew: {error}"
        ) from None
    inputs = _fill(stage.Inputs, document["inputs"])
    _check_inputs(document["inputs"])
    stage.run(settings, inputs, _fill(stage.Outputs, outputs), job)


def _fill(model: Any, values: dict[str, Any]) -> Any:
    """A stage's ``Inputs`` or ``Outputs`` from paths by name."""
    known = {field.name for field in dataclasses.fields(model)}
    unknown = values.keys() - known
    if unknown:
        raise PseudomaskError(f"{model.__module__} knows no file '{sorted(unknown)[0]}'; it knows {sorted(known)}")
    return model(**{name: _as_path(value) for name, value in values.items()})


def _check_inputs(inputs: dict[str, Any]) -> None:
    """Refuse weights and tables that are not what their stage wrote; stores carry checksums and say so when read."""
    for path in map(Path, input_paths({"inputs": inputs})):
        if path.suffix != ".h5" and (path.parent / PROVENANCE).exists():
            StageFolder(path.parent).check(path.name)


def _as_path(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: Path(path) for name, path in value.items()}
    return None if value is None else Path(value)


def _merge(document: dict[str, Any], folder: Path, count: int) -> None:
    ((name, target),) = document["outputs"].items()
    join = {"masks": merge_masks, "scores": merge_scores}[name]
    join([Path(shard_file(str(folder), f"{index}-of-{count}")) for index in range(count)], Path(target))


def _device(precision: str) -> dict[str, Any]:
    """Name of the device networks ran on, their precision, and the most memory torch held on a GPU of this process."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {"device": "cpu"}
    if not torch.cuda.is_available():
        return {"device": "cpu", "precision": precision}
    peak = max(torch.cuda.max_memory_reserved(index) for index in range(torch.cuda.device_count()))
    return {"device": torch.cuda.get_device_name(), "precision": precision, "peak_gpu_memory_mib": peak // 2**20}


def _packages(code: dict[str, str]) -> dict[str, str]:
    """Versions of the packages behind the result as they are here, which is not always where the key was computed."""
    planned = packages(code)
    here = {name: installed(name) for name in planned}
    for name in planned:
        if planned[name] != here[name]:
            _log.warning("the key of this result is of %s %s, here is %s", name, planned[name], here[name])
    return here
