"""The runs of a folder as a table for the terminal."""

import time
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.artifacts.store import Run, find_runs


def runs_table(results: Path) -> Group:
    """One row per run; below, a line for every stage at work with what it said last."""
    table = Table(box=None, header_style="bold")
    for column, justify in (("run", "left"), ("method", "left"), ("stages", "right"), ("size", "right")):
        table.add_column(column, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("last change", no_wrap=True)
    found = find_runs(results)
    shared = _shared(found)
    at_work = []
    for run in found:
        folders = run.stages
        done = sum(folder.done for folder in folders.values())
        size = sum({folder.path: folder.size for folder in folders.values()}.values())
        changed = max((folder.modified for folder in folders.values()), default=0.0)
        both = sum(folder.size for folder in folders.values() if folder.path in shared)
        note = f" ({human_size(both)} shared)" if both else ""
        table.add_row(run.path.name, run.method, f"{done}/{len(folders)}", human_size(size) + note, _age(changed))
        for folder in folders.values():
            if not folder.done and folder.last_line:
                at_work.append(Text(f"{run.path.name}: {folder.last_line}", "dim", no_wrap=True, overflow="ellipsis"))
    if not found:
        table.add_row(f"no run in {results}")
    return Group(table, *at_work)


def human_size(size: int) -> str:
    """Bytes in a unit people read."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def _shared(runs: list[Run]) -> set[Path]:
    """Stage folders that several runs point to."""
    counts: dict[Path, int] = {}
    for run in runs:
        for path in {folder.path for folder in run.stages.values()}:
            counts[path] = counts.get(path, 0) + 1
    return {path for path, count in counts.items() if count > 1}


def _age(then: float) -> str:
    seconds = max(0.0, time.time() - then)
    for limit, unit in ((90, 1), (5400, 60), (172800, 3600)):
        if seconds < limit:
            return f"{seconds / unit:.0f} {({1: 's', 60: 'min', 3600: 'h'})[unit]} ago"
    return f"{seconds / 86400:.0f} days ago"
