"""What a page says of stages: their graph, who made what in which time, and what looks wrong in their masks."""

import json
from collections.abc import Mapping, Sequence
from html import escape

from pipeline.artifacts.code import packages
from pipeline.artifacts.lineage import MadeStage
from pipeline.artifacts.store import StageFolder
from pipeline.report.graph import Node, stage_graph

_WARNINGS = {"empty": "empty masks", "tags": "tags without pixels", "pixels": "pixels without tag"}


def state_of(stage: MadeStage) -> tuple[str, str]:
    """``done``, ``begun`` or ``waiting``, and the time it took or what the state means."""
    if stage.seconds is not None:
        return "done", duration(stage.seconds)
    return ("begun", "begun, not done") if StageFolder(stage.folder).last_line else ("waiting", "waiting")


def run_graph(made: Sequence[MadeStage]) -> str:
    """The stages as a picture, each with its kind and its time or state; a box leads to its entry of the list."""
    return f"<div class='scroll'>{stage_graph([_node(stage) for stage in made])}</div>"


def stage_list(made: Sequence[MadeStage]) -> str:
    """An entry for every stage that opens on its settings and the packages and device behind it."""
    return "".join(_entry(stage) for stage in made)


def warning_table(counts: Mapping[str, Mapping[str, int]]) -> str:
    """How many masks of each store look wrong; a number filters the gallery.

    Args:
        counts: by store, see :meth:`pipeline.report.gallery.Column.warnings`.
    """
    header = "".join(f"<th>{text}</th>" for text in ("masks", *_WARNINGS.values()))
    rows = "".join(
        f"<tr><td>{escape(name)}</td>{''.join(_count(name, kind, found[kind]) for kind in _WARNINGS)}</tr>"
        for name, found in counts.items()
    )
    return f"<div class='scroll'><table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table></div>"


def duration(seconds: float) -> str:
    """A time people read."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _node(stage: MadeStage) -> Node:
    before = tuple(folder.name for folder in stage.before)
    state, words = state_of(stage)
    return Node(stage.folder.name, stage.name, f"{stage.spec['kind']}, {words}", state, before)


def _entry(stage: MadeStage) -> str:
    facts = [stage.name, f"{stage.spec['kind']}/{stage.spec['key']}", state_of(stage)[1]]
    if stage.facts:
        facts += [f"{stage.memory} MiB", stage.where, stage.facts["started"]]
    shown = {name: stage.spec.get(name) for name in ("settings", "inputs", "sources")}
    versions = stage.facts.get("packages", packages(stage.spec["code"]))
    shown["versions"] = versions | {name: stage.facts[name] for name in ("python", "platform") if name in stage.facts}
    text = json.dumps(shown, indent=1)
    summary = " · ".join(escape(str(fact)) for fact in facts)
    return f"<details id='{escape(stage.folder.name)}'><summary>{summary}</summary><pre>{escape(text)}</pre></details>"


def _count(store: str, kind: str, count: int) -> str:
    if not count or store == "truth":
        return f"<td>{count}</td>"
    attributes = f"type='button' class='link' data-stage='{escape(store, quote=True)}' data-warning='{kind}'"
    return f"<td><button {attributes}>{count}</button></td>"
