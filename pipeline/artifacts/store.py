"""What lies in the store, which runs point to it, and what nothing points to."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from pipeline.artifacts.files import content_digest
from pipeline.artifacts.hdf5 import REMEDY
from pipeline.artifacts.layout import LOG, PROVENANCE
from pipeline.errors import PseudomaskError

_AT_WORK = 3600
"""Seconds without any change after which an unfinished stage counts as given up; stages log and save every minute."""


@dataclass(frozen=True)
class StageFolder:
    """A folder ``store/<kind>/<key>``."""

    path: Path

    @property
    def kind(self) -> str:
        """Kind of stage."""
        return self.path.parent.name

    @property
    def done(self) -> bool:
        """Whether the stage finished: provenance is written last."""
        return (self.path / PROVENANCE).exists()

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each output when it was written, by file name; empty if the stage is not done."""
        path = self.path / PROVENANCE
        return dict(json.loads(path.read_text()).get("digests", {})) if path.exists() else {}

    def damaged(self) -> list[str]:
        """Names of outputs that are gone or are not what the stage wrote."""
        there = {name: self.path / name for name in self.digests}
        return [name for name, path in there.items() if not path.exists() or content_digest(path) != self.digests[name]]

    def check(self, name: str) -> None:
        """Compare one output with its digest.

        Raises:
            PseudomaskError: it is not what the stage wrote.
        """
        if name in self.digests and content_digest(self.path / name) != self.digests[name]:
            raise PseudomaskError(f"{self.path / name} is not what its stage wrote; {REMEDY}")

    @cached_property
    def size(self) -> int:
        """Bytes on disk, of what is there at the moment."""
        return sum(_stat(path)[0] for path in self.path.rglob("*"))

    @cached_property
    def modified(self) -> float:
        """Time of the last change, seconds since 1970."""
        return max((_stat(path)[1] for path in (self.path, *self.path.rglob("*"))), default=0.0)

    @property
    def last_line(self) -> str:
        """What the stage said last."""
        log = self.path / LOG
        if not log.exists():
            logs = sorted(self.path.glob("shards/*.log"), key=lambda path: _stat(path)[1])
            if not logs:
                return ""
            log = logs[-1]
        lines = log.read_text(errors="replace").replace("\r", "\n").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


@dataclass(frozen=True)
class Run:
    """A folder ``results/<run>`` with links into the store."""

    path: Path

    @property
    def method(self) -> str:
        """Method of the run, as its resolved configuration says."""
        content = yaml.safe_load((self.path / "config.yaml").read_text())
        return str(content.get("method", "?"))

    @cached_property
    def stages(self) -> dict[str, StageFolder]:
        """Folders of its stages by name; a stage that has not started may have none yet."""
        links = sorted(path for path in self.path.iterdir() if path.is_symlink())
        return {link.name: StageFolder(link.resolve()) for link in links}


def find_runs(results: Path) -> list[Run]:
    """Runs below ``results``, by name."""
    return [Run(path.parent) for path in sorted(results.glob("*/config.yaml"))]


def stage_folders(store: Path) -> Iterator[StageFolder]:
    """Every stage folder of the store."""
    for path in sorted(store.glob("*/*")):
        if path.is_dir():
            yield StageFolder(path)


def unreferenced(store: Path, results: Path, older_than_days: float = 0.0) -> list[StageFolder]:
    """Stage folders no run points to, unchanged for so many days; an unfinished one that changed lately may be at work.

    Raises:
        PseudomaskError: there is no run at all, so that nothing tells rubbish from results.
    """
    runs = find_runs(results)
    if not runs:
        raise PseudomaskError(f"{results} holds no run; go to the folder runs are started in, or name it")
    kept = {folder.path for run in runs for folder in run.stages.values()}
    age = older_than_days * 86400
    rubbish = (folder for folder in stage_folders(store) if folder.path.resolve() not in kept)
    return [f for f in rubbish if f.modified <= time.time() - (age if f.done else max(age, _AT_WORK))]


def delete(folders: list[StageFolder], workdir: Path) -> None:
    """Remove stage folders.

    Raises:
        PseudomaskError: a Snakemake is at work in ``workdir``.
    """
    locks = workdir / ".snakemake/locks"
    if locks.is_dir() and any(locks.iterdir()):
        raise PseudomaskError(
            "a Snakemake is at work here (or was killed); wait for it, or say `snakemake --unlock`, then try again"
        )
    for folder in folders:
        shutil.rmtree(folder.path)


def _stat(path: Path) -> tuple[int, float]:
    """Size of a file and its time; zeros for what vanished or is no file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0.0
    return (found.st_size if path.is_file() else 0), found.st_mtime
