"""Faults of machines: full and read-only disks, damaged files, two Snakemakes at once, kills at any moment."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest
from conftest import ROOT, Workflow, copy_of, kill_session

FILES = ("infer_cams/scores.h5", "label_cams/masks.h5", "pseudo_masks/masks.h5", "crf_segmenter/masks.h5")
FILES += ("train_classifier/weights.safetensors", "train_segmenter/weights.safetensors")


def contents(workflow: Workflow) -> dict[str, bytes]:
    return {name: (workflow.folder / "results/tiny" / name).read_bytes() for name in FILES}


def verify(workflow: Workflow, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline.cli", "verify", *arguments]
    return subprocess.run(
        command, cwd=workflow.folder, env=workflow.environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own whose size and rights a test sets by ``mount -o remount``."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512M", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a file system here (needs root)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["train_segmenter", "infer_cams"])
def test_a_full_disk_is_named_and_the_run_goes_on_later(finished, small_disk, lost):
    workflow = copy_of(finished, small_disk, without=(lost,))
    used = shutil.disk_usage(small_disk).used
    remount(small_disk, f"size={used // 1024 + 120}k")  # enough for logs, too little for weights or scores
    done = workflow.run(check=False)
    assert done.returncode
    assert "no space" in (done.stdout + done.stderr).lower()
    remount(small_disk, "size=512M")
    workflow.run("--rerun-incomplete")
    assert contents(workflow) == contents(finished)


def test_a_read_only_disk_is_named(finished, small_disk):
    workflow = copy_of(finished, small_disk, without=("report",))
    remount(small_disk, "ro")
    done = workflow.run("--nolock", check=False)
    assert done.returncode
    assert "read-only" in (done.stdout + done.stderr).lower()
    remount(small_disk, "rw")
    workflow.run()


@pytest.mark.parametrize(
    "name", ["infer_cams/scores.h5", pytest.param("train_classifier/weights.safetensors", marks=pytest.mark.slow)]
)
def test_damage_is_named_and_made_good(finished, tmp_path, name):
    stages = {"infer_cams/scores.h5": "label_cams", "train_classifier/weights.safetensors": "infer_cams"}
    workflow = copy_of(finished, tmp_path / "copy", without=(stages[name],))
    path = workflow.folder / "results/tiny" / name
    damaged = bytearray(path.read_bytes())
    damaged[_inside(path)] ^= 1
    path.write_bytes(damaged)
    done = workflow.run(check=False)
    assert done.returncode
    assert path.name in done.stdout + done.stderr
    assert "verify --remove" in done.stdout + done.stderr
    found = verify(workflow)
    assert found.returncode == 1
    assert f"damaged: {path.name} in" in found.stdout
    verify(workflow, "--remove")
    workflow.run()
    assert contents(workflow) == contents(finished)
    assert verify(workflow).returncode == 0


def _inside(path: Path) -> int:
    """A byte of the content: of the last tensor, or of the first image's packed scores."""
    if path.suffix != ".h5":
        return path.stat().st_size - 100
    with h5py.File(path) as file:
        chunk = next(iter(file["scores"].values())).id.get_chunk_info(0)
        return int(chunk.byte_offset + chunk.size // 2)


@pytest.mark.slow
def test_two_snakemakes_at_once_on_one_store(finished, tmp_path):
    workflow = Workflow(tmp_path)
    both = [workflow.start("--nolock") for _ in range(2)]
    for process in both:
        process.wait(timeout=900)
    workflow.run("--nolock", "--rerun-incomplete")
    assert contents(workflow) == contents(finished)


@pytest.mark.slow
def test_without_file_locks_of_hdf5_nothing_changes(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", "FALSE")
    workflow = Workflow(tmp_path)
    workflow.run()
    assert contents(workflow) == contents(finished)


def _victims(process: subprocess.Popen[bytes]) -> list[int]:
    """Processes of a session that run a stage."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            session = os.getsid(int(entry.name))
            command = (entry / "cmdline").read_text()
        except (OSError, ProcessLookupError):
            continue
        if session == process.pid and "pseudomask\0stage" in command:
            found.append(int(entry.name))
    return found


@pytest.mark.slow
def test_fifty_kills_of_stages_snakemake_and_all(finished, tmp_path):
    """SIGKILL to one stage, to Snakemake alone or to everything, at fifty random moments of repeated runs."""
    workflow, chance = Workflow(tmp_path), random.Random(3)
    kills = 0
    while kills < 50:
        process = workflow.start()
        time.sleep(chance.uniform(3, 12))
        kind = chance.choice(["stage", "snakemake", "all"])
        victims = _victims(process)
        if process.poll() is not None:  # it finished: take something away and go on
            shutil.rmtree((workflow.folder / "results/tiny" / chance.choice(FILES)).resolve().parent)
            continue
        if kind == "stage" and victims:
            os.kill(chance.choice(victims), signal.SIGKILL)
            process.wait()
        elif kind == "snakemake":
            process.kill()
            process.wait()
        else:
            kill_session(process)
        kills += 1
        subprocess.run(
            [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--unlock"],
            cwd=workflow.folder,
            env=workflow.environment,
            capture_output=True,
            check=False,
        )
    time.sleep(20)  # a stage whose Snakemake was killed may still be at work
    workflow.run("--rerun-incomplete")
    assert contents(workflow) == contents(finished)
    assert not list((tmp_path / "store").rglob(".*.h5"))
    assert verify(workflow).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_dead_rank_ends_the_job(tmp_path, rank):
    """Two processes train; one is killed; the other must not wait for it."""
    workflow = Workflow(tmp_path)
    frozen = ["classifier__network__batch_norm=frozen", "classifier__training__steps=100000"]
    process = workflow.start("--config", "runtime__devices=2", *frozen, "--until", "cam_train_classifier")
    try:
        victim = _rank(process, rank)
        time.sleep(10)  # both are at work
        os.kill(victim, signal.SIGKILL)
        assert process.wait(timeout=120)
        time.sleep(2)
        assert _victims(process) == []
    finally:
        if process.poll() is None:
            kill_session(process)


def _rank(process: subprocess.Popen[bytes], rank: str) -> int:
    """The training process of this rank, once a training with two is at work."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        ranks = {}
        for number in _victims(process):
            environment = Path(f"/proc/{number}/environ").read_bytes().split(b"\0")
            named = [entry.decode().partition("=")[2] for entry in environment if entry.startswith(b"LOCAL_RANK=")]
            ranks[named[0] if named else "0"] = number
        if len(ranks) == 2:
            return ranks[rank]
        time.sleep(0.5)
    raise TimeoutError("no training with two processes came up")
