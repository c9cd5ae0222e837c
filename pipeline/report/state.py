"""How far a run is, as a page, before its report is drawn."""

import os
from collections import Counter
from datetime import datetime
from pathlib import Path

from pipeline.artifacts.files import write_text
from pipeline.artifacts.layout import SPEC
from pipeline.artifacts.lineage import MadeStage, lineage
from pipeline.artifacts.store import Run
from pipeline.report.page import Page, Part
from pipeline.report.stages import run_graph, stage_list, state_of


def stages_of(run: Run) -> list[MadeStage]:
    """The stages of a run, finished or not, sources first."""
    working = run.path.absolute().parents[1]  # results/<run>
    folders = [working / os.path.relpath(stage.path, working.resolve()) for stage in run.stages.values()]
    return lineage((folder / SPEC for folder in folders), working)


def draw_state(run: Run) -> Path:
    """Write ``state.html`` into the folder of a run: the graph of its stages with the state of each."""
    stages = stages_of(run)
    counts = Counter(state_of(stage)[0] for stage in stages)
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    note = f"{now}: {counts['done']} of {len(stages)} stages done; the report with all images comes with the last"
    parts = [Part("Stages", run_graph(stages)), Part("Provenance", stage_list(stages))]
    page = run.path / "state.html"
    write_text(page, Page(f"{run.path.name}: {run.method}, not finished", note, parts).html())
    return page
