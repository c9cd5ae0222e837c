"""Where files come from: the stages behind them, read from what lies beside them in the store."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts.layout import PROVENANCE, SPEC


@dataclass(frozen=True)
class MadeStage:
    """A stage as its folder describes it.

    Attributes:
        folder: ``store/<kind>/<key>``.
        spec: content of ``stage.json``: name, kind, key, settings, code, inputs.
        facts: content of ``provenance.json``; empty while the stage has not finished.
        before: folders of the stages it reads from.
    """

    folder: Path
    spec: dict[str, Any]
    facts: dict[str, Any]
    before: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Name in the run that planned it last."""
        return str(self.spec["name"])

    @property
    def seconds(self) -> float | None:
        """Time it took, all shards together; None while it has not finished."""
        if not self.facts:
            return None
        parts = [self.facts, *self.facts.get("shards", [])]
        return float(sum(part["wall_seconds"] for part in parts))

    @property
    def memory(self) -> int | None:
        """Peak memory of its largest process, MiB."""
        return self._peak("peak_memory_mib")

    @property
    def where(self) -> str:
        """Devices, with the peak memory of its largest process on a GPU."""
        peak = self._peak("peak_gpu_memory_mib")
        devices = ", ".join(self.devices)
        return devices if peak is None else f"{devices}, {peak} MiB there"

    @property
    def devices(self) -> list[str]:
        """Device of its networks, of the shards if it has some, with their precision if that is not single."""
        if not self.facts:
            return []
        words = []
        for part in self.facts.get("shards") or [self.facts]:
            precision = part.get("precision", "32-true")
            words.append(part["device"] if precision == "32-true" else f"{part['device']} ({precision})")
        return list(dict.fromkeys(words))

    def _peak(self, name: str) -> int | None:
        parts = [self.facts, *self.facts.get("shards", [])]
        return max((int(part[name]) for part in parts if name in part), default=None)


def lineage(files: Iterable[Path], base: Path = Path()) -> list[MadeStage]:
    """The stages that made ``files`` and everything these were made from, sources first.

    Args:
        files: results of stages; a file without a ``stage.json`` beside it is the user's and has no stage.
        base: folder that paths in ``stage.json`` start from.
    """
    found: dict[Path, MadeStage] = {}
    for file in files:
        _follow(file.parent, base, found)
    return list(found.values())


def input_paths(spec: dict[str, Any]) -> list[str]:
    """Paths of all inputs named in the content of a ``stage.json``."""
    paths: list[str] = []
    for value in spec["inputs"].values():
        if isinstance(value, dict):
            paths += value.values()
        elif value is not None:
            paths.append(value)
    return paths


def _follow(folder: Path, base: Path, found: dict[Path, MadeStage]) -> None:
    if folder in found or not (folder / SPEC).exists():
        return
    spec = json.loads((folder / SPEC).read_text())
    before = tuple(dict.fromkeys((base / path).parent for path in input_paths(spec)))
    for each in before:
        _follow(each, base, found)
    made = folder / PROVENANCE
    facts = json.loads(made.read_text()) if made.exists() else {}
    found[folder] = MadeStage(folder, spec, facts, tuple(each for each in before if each in found))
