"""Real Snakemake runs in a copy-free working folder: only results and store lie in it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from dry_run import dry_run
from filelock import FileLock

ROOT = Path(__file__).parents[2]


class Workflow:
    """A folder in which a project's Snakefile runs, with a tiny configuration unless another is named."""

    def __init__(self, folder: Path, config: str = "tests/workflow/tiny.yaml", tree: Path = ROOT) -> None:
        self.folder, self.config, self.tree = folder, ROOT / config, tree
        self.data = ROOT / "tests"  # a data root elsewhere must not matter to generated scenes

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", *self._arguments, *arguments]

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*arguments), cwd=self.folder, capture_output=True, text=True, env=self.environment, check=False
        )
        if check and done.returncode:
            raise AssertionError(done.stdout + done.stderr)
        return done

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def dry(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = dry_run([*self._arguments, *arguments], self.folder, self.environment)
        if check and done.returncode:
            raise AssertionError(done.stdout + done.stderr)
        return done

    def counted(self, *arguments: str) -> Counter[str]:
        """Rules a dry run would execute, with the number of their jobs."""
        done = self.dry(*arguments)
        lines = (done.stdout + done.stderr).splitlines()
        rules = Counter(line.split()[1].rstrip(":") for line in lines if line.startswith(("rule ", "localrule ")))
        del rules["all"]
        return rules

    def planned(self, *arguments: str) -> set[str]:
        """Rules a dry run would execute."""
        return set(self.counted(*arguments))

    def keys(self, *overrides: str) -> dict[str, str]:
        """Key of every stage of the run, by its name, in the order of the plan."""
        overview = self.folder / "overview.json"
        environment = {**self.environment, "PSEUDOMASK_PLAN": str(overview)}
        arguments = [*self._arguments, "--config", "seed=0", *overrides]
        done = dry_run(arguments, self.folder, environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return {stage["name"]: Path(stage["outputs"][0]).parent.name for stage in json.loads(overview.read_text())}

    @property
    def _arguments(self) -> list[str]:
        return ["--snakefile", str(self.tree / "Snakefile"), "--cores", "2", "--configfile", str(self.config)]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.tree), "OMP_NUM_THREADS": "1", "PSEUDOMASK_DATA": str(self.data)}


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to Snakemake and every job below it."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def losses(workflow: Workflow) -> list[float]:
    """First loss in every line of the classifier's curve."""
    text = (workflow.folder / "results/tiny/train_classifier/curves.csv").read_text()
    return [float(line.split(",")[2]) for line in text.splitlines()[1:]]


def copy_of(finished: Workflow, folder: Path, without: tuple[str, ...] = ()) -> Workflow:
    """The finished run in another folder, some stages taken out."""
    copy = Workflow(folder)
    shutil.copytree(finished.folder, folder, symlinks=True, dirs_exist_ok=True)
    for name in without:
        shutil.rmtree((folder / "results/tiny" / name).resolve())
    return copy


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id) -> Workflow:
    """The tiny run, done once; every test process has its own copy."""
    if worker_id == "master":
        workflow = Workflow(tmp_path_factory.mktemp("finished"))
        workflow.run()
        return workflow
    shared = tmp_path_factory.getbasetemp().parent / "finished"
    with FileLock(f"{shared}.lock"):
        if not (shared / "results/tiny/report/provenance.json").exists():
            shared.mkdir(exist_ok=True)
            Workflow(shared).run()
    return copy_of(Workflow(shared), tmp_path_factory.mktemp("finished"))
