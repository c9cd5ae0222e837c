"""The stages of a run, each with the key that says whether its result is still valid."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from pipeline.artifacts.code import code_digests
from pipeline.artifacts.files import DigestCache, write_text
from pipeline.artifacts.layout import LOG, PROVENANCE, SPEC, STAGE_FILES
from pipeline.config.runtime import RuntimeSettings
from pipeline.errors import PseudomaskError

OVERVIEW = "PSEUDOMASK_PLAN"
"""Environment variable naming the file that a plan hands its overview over to."""


@dataclass(frozen=True)
class Artifact:
    """One file (or folder) a stage writes: where it lies and the key that stands for its content."""

    path: str
    key: str


Input = Artifact | Mapping[str, Artifact] | None


@dataclass(frozen=True)
class Stage:
    """One stage of a run; paths are relative to the working directory, as Snakemake likes them.

    Attributes:
        name: name in the run; ``results/<run>/<name>`` links to ``folder``.
        kind: module of ``pipeline.stages`` that does the work.
        key: hash of settings, code and inputs; equal keys mean equal results.
        facts: what the key was computed from, for ``stage.json`` and for explaining a rerun.
        folder: ``store/<kind>/<key>``.
        inputs: artifacts by the names of the stage's ``Inputs``.
    """

    name: str
    kind: str
    key: str
    facts: dict[str, Any] = field(repr=False)
    folder: str
    inputs: dict[str, Input] = field(repr=False)

    def __getitem__(self, output: str) -> Artifact:
        """The artifact called ``output`` in the stage's ``Outputs``."""
        return Artifact(f"{self.folder}/{STAGE_FILES[self.kind][output]}", f"{self.key}:{output}")

    @property
    def spec(self) -> str:
        """The file that tells ``pseudomask stage`` everything."""
        return f"{self.folder}/{SPEC}"

    @property
    def log(self) -> str:
        """Log of the stage."""
        return f"{self.folder}/{LOG}"

    @property
    def provenance(self) -> str:
        """Written last: who made the result, from what, in which time."""
        return f"{self.folder}/{PROVENANCE}"

    @property
    def outputs(self) -> dict[str, str]:
        """Output files by name."""
        return {name: self[name].path for name in STAGE_FILES[self.kind]}

    @property
    def input_files(self) -> list[str]:
        """Paths of all inputs."""
        found: list[str] = []
        for value in self.inputs.values():
            if isinstance(value, Artifact):
                found.append(value.path)
            elif value is not None:
                found += [artifact.path for artifact in value.values()]
        return found

    @property
    def done(self) -> bool:
        """Whether every output exists."""
        return all(Path(path).exists() for path in (*self.outputs.values(), self.provenance))

    def document(self, runtime: RuntimeSettings) -> str:
        """Content of ``stage.json``; all but ``runtime`` follows from the key."""
        inputs = {name: _paths(value) for name, value in self.inputs.items()}
        document = {"name": self.name, "kind": self.kind, "key": self.key, **self.facts}
        document |= {"inputs": inputs, "outputs": self.outputs, "runtime": runtime.model_dump(mode="json")}
        return json.dumps(document, indent=1)


def _paths(value: Input) -> Any:
    if value is None:
        return None
    return value.path if isinstance(value, Artifact) else {name: artifact.path for name, artifact in value.items()}


def _keys(value: Input) -> Any:
    if value is None:
        return None
    return value.key if isinstance(value, Artifact) else {name: artifact.key for name, artifact in value.items()}


class Plan:
    """Collects the stages of a run while the Snakefile is read.

    Args:
        run: name of the run.
        resolved: the whole resolved configuration, written to ``results/<run>/config.yaml``.
        runtime: how jobs are executed; never part of a key.
        store: folder of keyed results.
        results: folder of readable links.
    """

    def __init__(
        self,
        run: str,
        resolved: dict[str, Any],
        runtime: RuntimeSettings,
        store: str = "store",
        results: str = "results",
    ) -> None:
        self.run, self.resolved, self.runtime = run, resolved, runtime
        self.store, self.results = store, f"{results}/{run}"
        self.stages: dict[str, Stage] = {}
        self._digests = DigestCache(Path(store) / "digests.sqlite")

    def stage(
        self,
        name: str,
        kind: str,
        settings: BaseModel,
        inputs: Mapping[str, Input] | None = None,
        modules: Sequence[str] = (),
        sources: Sequence[Path] = (),
        source_root: Path = Path(),
    ) -> Stage:
        """Add a stage.

        Args:
            name: its name in the run, unique.
            kind: module of ``pipeline.stages``.
            settings: only what the stage uses; enters the key.
            inputs: results of earlier stages.
            modules: code beyond the stage's module, for a stage that dispatches by name.
            sources: the user's files the stage reads; their content enters the key.
            source_root: folder whose location does not matter; names in the key start from it.
        """
        if name in self.stages:
            raise PseudomaskError(f"stage '{name}' is defined twice")
        inputs = dict(inputs or {})
        facts: dict[str, Any] = {
            "settings": settings.model_dump(mode="json"),
            "code": code_digests(f"pipeline.stages.{kind}", *modules),
            "input_keys": {key: _keys(value) for key, value in inputs.items()},
            "sources": self._source_digest(sources, source_root),
        }
        text = json.dumps({"kind": kind, **facts}, sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        stage = Stage(name, kind, key, facts, f"{self.store}/{kind}/{key}", inputs)
        self.stages[name] = stage
        return stage

    def given(self, path: Path) -> Artifact:
        """A finished file of the user's, as input of a stage; its content stands for it."""
        (digest,) = self._digests.digests([path])
        return Artifact(str(path), f"file:{digest[:16]}")

    def _source_digest(self, sources: Sequence[Path], root: Path) -> str | None:
        if not sources:
            return None
        digest = hashlib.sha256()
        relative = cache(partial(os.path.relpath, start=root))  # of folders, as many files share one
        for path, content in zip(sources, self._digests.digests(sources), strict=True):
            digest.update(f"{relative(path.parent)}/{path.name}\0{content}\n".encode())
        return digest.hexdigest()[:16]

    def write(self) -> None:
        """Write ``stage.json`` of every stage, the links of the run and its resolved configuration."""
        results = Path(self.results)
        results.mkdir(parents=True, exist_ok=True)
        write_text(results / "config.yaml", yaml.safe_dump(self.resolved, sort_keys=False, allow_unicode=True))
        for stage in self.stages.values():
            write_text(Path(stage.spec), stage.document(self.runtime))
            _link(results / stage.name, Path(stage.folder))
        store = Path(self.store).resolve()
        for path in results.iterdir():
            # Of a stage the run had with other settings; it would pass for a result of these.
            if path.is_symlink() and path.name not in self.stages and path.resolve().is_relative_to(store):
                path.unlink()

    def overview(self) -> list[dict[str, Any]]:
        """Every stage with what an estimate of its cost needs."""
        return [
            {
                "name": stage.name,
                "kind": stage.kind,
                "done": stage.done,
                "settings": stage.facts["settings"],
                "outputs": list(stage.outputs.values()),
            }
            for stage in self.stages.values()
        ]

    def hand_over(self) -> None:
        """Write the overview for whoever started this Snakemake and asked for it (`pseudomask plan`)."""
        if OVERVIEW in os.environ:
            write_text(Path(os.environ[OVERVIEW]), json.dumps(self.overview()))

    def reasons(self) -> dict[str, str]:
        """Why each stage that is not done must run, compared with what ``results/<run>`` points to now."""
        return {name: self._reason(stage) for name, stage in self.stages.items() if not stage.done}

    def _reason(self, stage: Stage) -> str:
        previous = Path(self.results) / stage.name / SPEC
        if not previous.exists():
            return "no result yet"
        old = json.loads(previous.read_text())
        if old["key"] == stage.key:
            return "no result yet" if not Path(stage.log).exists() else "did not finish or was deleted"
        changed = [
            *(f"setting {line}" for line in _differences(old["settings"], stage.facts["settings"])),
            *(f"code {line}" for line in _differences(old["code"], stage.facts["code"])),
            *(f"input {name}" for name in _changed(old["input_keys"], stage.facts["input_keys"])),
        ]
        if old["sources"] != stage.facts["sources"]:
            changed.append("content of the data files")
        return "; ".join(changed) or "kind of stage"


def _changed(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [name for name in {**old, **new} if old.get(name) != new.get(name)]


def _differences(old: dict[str, Any], new: dict[str, Any], path: str = "") -> list[str]:
    lines: list[str] = []
    for name in _changed(old, new):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += _differences(before, after, f"{path}{name}.")
        else:
            lines.append(f"{path}{name}: {_short(before)} -> {_short(after)}")
    return lines


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _link(link: Path, target: Path) -> None:
    relative = os.path.relpath(target, link.parent)
    if link.is_symlink() and str(link.readlink()) == relative:
        return
    if link.exists() and not link.is_symlink():
        raise PseudomaskError(f"{link} is no link made by pseudomask; move it away")
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.symlink_to(relative)
    temporary.replace(link)
