"""`snakemake --profile slurm` on a real SLURM cluster of two nodes on this machine."""

import re
import subprocess
import sys
import time

import pytest
from conftest import ROOT, Workflow, losses

from slurm import Cluster, why_not

reason = why_not()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(reason is not None, reason=str(reason))]
SETTINGS = ["--profile", str(ROOT / "workflow/profiles/slurm")]
# On one machine results appear at once. The plugin asks after 12 s, when most of these jobs are done; else 22 s later.
SETTINGS += ["--latency-wait", "5", "--slurm-init-seconds-before-status-checks", "12"]
SETTINGS += ["--default-resources", "mem_mb=attempt * 4000"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


class SlurmWorkflow(Workflow):
    """The tiny run, its jobs through sbatch."""

    def command(self, *arguments):
        base = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        return [*base, "--configfile", str(ROOT / "tests/workflow/tiny.yaml"), *SETTINGS, *arguments]


def test_the_whole_run_goes_through_sbatch_with_the_same_bytes(cluster, finished, tmp_path):
    there = SlurmWorkflow(tmp_path)
    said = there.run().stderr
    assert "has been submitted with SLURM jobid" in said
    assert "Submitted array job" in said  # the two shards of a stage
    for name in ("infer_cams/scores.h5", "pseudo_masks/masks.h5", "train_segmenter/weights.safetensors"):
        ours, theirs = (folder / "results/tiny" / name for folder in (tmp_path, finished.folder))
        assert ours.read_bytes() == theirs.read_bytes(), name
    assert "Nothing to be done" in there.run().stderr


def test_cancelled_training_is_submitted_again_and_goes_on(cluster, tmp_path):
    there = SlurmWorkflow(tmp_path)
    steps = ["--config", "classifier__training__steps=300"]
    log = tmp_path / "results/tiny/train_classifier/log.txt"
    process = subprocess.Popen(
        there.command(*steps, "--until", "cam_train_classifier"),
        cwd=tmp_path,
        env=there.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 300
    while not (log.exists() and "step 20/" in log.read_text()):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.5)
    cluster.restart_controller()  # forgets nothing
    (job, _) = cluster.jobs("RUNNING")[0]
    cluster.run("scancel", job)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    assert "going on from step" in log.read_text()


def test_a_training_over_two_nodes_learns_as_one_process(cluster, tmp_path, monkeypatch):
    """Same effective batch, same losses within rounding; each task has a node of its own."""
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")  # the pretended nodes have no names of their own
    until = ("--until", "cam_train_classifier")
    alone, there = Workflow(tmp_path / "one"), SlurmWorkflow(tmp_path / "two")
    for workflow in (alone, there):
        workflow.folder.mkdir()
    alone.run(*until)
    said = there.run("--config", "runtime__nodes=2", *until).stderr
    assert cluster.node_of(re.findall(r"SLURM jobid (\d+)", said)[-1]) == "node[0-1]"
    assert "2 devices" in (there.folder / "results/tiny/train_classifier/log.txt").read_text()
    assert losses(there) == pytest.approx(losses(alone), rel=1e-5)


def test_an_array_that_a_limit_would_tear_apart_is_refused(cluster, tmp_path):
    """The plugin waits for ever for the rest of an array that Snakemake may not start."""
    for limit in (("--jobs", "2"), ("--max-jobs-per-timespan", "2/1s"), ("--resources", "gpu=1")):
        done = SlurmWorkflow(tmp_path).run(*limit, check=False)
        assert done.returncode
        assert f"{limit[0]}" in done.stderr.partition("jobs are to run, but ")[2]
    said = SlurmWorkflow(tmp_path).run("--jobs", "2", "--slurm-array-jobs", "", "--until", "data_import").stderr
    assert "has been submitted with SLURM jobid" in said


def test_an_unknown_partition_is_named_at_once(cluster, tmp_path):
    start = time.monotonic()
    done = SlurmWorkflow(tmp_path).run("slurm_partition=nowhere", check=False)
    assert done.returncode
    assert "nowhere" in done.stderr or "partition" in done.stderr
    assert time.monotonic() - start < 120


def test_a_job_out_of_time_is_submitted_again_with_more_and_goes_on(cluster, tmp_path):
    there = SlurmWorkflow(tmp_path)
    minutes = ["--default-resources", "mem_mb=attempt * 4000", "runtime=attempt * attempt"]
    there.run("--config", "classifier__training__steps=1500", "--until", "cam_train_classifier", *minutes)
    assert "TIMEOUT" in {state for _, state in cluster.ended()}
    assert "going on from step" in (tmp_path / "results/tiny/train_classifier/log.txt").read_text()


def test_a_drained_node_gets_no_job(cluster, tmp_path):
    before = {job for job, _ in cluster.ended()}
    cluster.run("scontrol", "update", "nodename=node0", "state=drain", "reason=test")
    try:
        SlurmWorkflow(tmp_path).run("--until", "data_truth")
    finally:
        cluster.run("scontrol", "update", "nodename=node0", "state=resume")
    made = {job for job, _ in cluster.ended()} - before
    assert len(made) == 3
    assert {cluster.node_of(job) for job in made} == {"node1"}
