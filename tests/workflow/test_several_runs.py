"""Several runs in one graph."""

import subprocess

import pytest
from conftest import ROOT, Workflow

TINY = ROOT / "tests/workflow/tiny.yaml"
RUNS = ("--config", f"runs=[{TINY}]", "seeds=[0, 1]", "table=table.md", "runtime__shards=1")


class Comparison(Workflow):
    @property
    def _arguments(self) -> list[str]:
        return ["--snakefile", str(self.tree / "workflow/comparison.smk"), "--cores", "2"]


def test_shared_stages_are_planned_once(tmp_path):
    jobs = Comparison(tmp_path).counted(*RUNS)
    assert jobs["tiny_0_data_import"] == jobs["tiny_0_data_truth"] == jobs["tiny_1_cam_train_classifier"] == 1
    assert not {"tiny_1_data_import", "tiny_1_data_truth"} & jobs.keys()


def test_finished_runs_only_give_the_table(finished):
    """The stages are those of the runs alone: none is made again."""
    comparison = Comparison(finished.folder)
    twice = f"runs=[{TINY}, {TINY.parent}/tiny.*]"
    named = ("title=Tiny, 'tis", "runtime__threads=1")
    done = comparison.run("--config", twice, "table=new/table.md", "page=page.html", *named)
    assert "1 of 1 steps (100%) done" in done.stderr
    table = (finished.folder / "new/table.md").read_text()
    assert table.startswith("# Tiny, 'tis\n\n20")
    assert "; all runs with runtime__threads=1.\n\n| masks" in table
    assert table.count("tiny: pseudo-mask") == 1
    assert "<html" in (finished.folder / "page.html").read_text()


def test_a_failure_says_where_logs_are(finished):
    done = Comparison(finished.folder).run("--config", f"runs=[{TINY}]", "table=.", check=False)  # a folder
    assert done.returncode
    assert "Logs: results/<run>/<stage>/log.txt" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("runs=[nowhere/*.yaml]", "table=t"), "nowhere"),
        ((), "say what"),
        ((f"runs=[{TINY}]", "table=t", "title=Tiny: all"), "title"),
        ((f"runs={TINY}", "table=t"), "are lists"),
        ((f"runs=[{TINY}, other.yaml]", "table=t"), "called 'tiny', too"),
    ],
)
def test_mistakes_name_the_remedy(tmp_path, words, said):
    (tmp_path / "other.yaml").write_text(TINY.read_text())
    command = [*Comparison(tmp_path).command(), "--config", "seed=0", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode
    assert said in done.stdout + done.stderr
