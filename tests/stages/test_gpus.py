import subprocess
import sys
import time

import pytest

from pipeline.errors import PseudomaskError
from pipeline.stages.gpus import reserve

HOLD = """
import sys, time
from pathlib import Path
from pipeline.stages.gpus import reserve
print(",".join(reserve(int(sys.argv[1]), ["0", "1", "2"], Path(sys.argv[2]), every=0.05)), flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Starts processes that hold devices until the test ends."""
    started = []

    def start(count):
        command = [sys.executable, "-c", HOLD, str(count), str(tmp_path)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_every_job_gets_its_own_and_a_killed_one_gives_it_back(holder, tmp_path):
    first, second = holder(1), holder(2)
    given = {first.stdout.readline().strip(), second.stdout.readline().strip()}
    held = [device for devices in given for device in devices.split(",")]
    assert sorted(held) == ["0", "1", "2"]
    third = holder(2)
    time.sleep(0.5)
    assert third.poll() is None
    second.kill()
    second.wait()
    assert third.stdout.readline().strip() in given


def test_more_than_there_are_is_an_error(tmp_path):
    with pytest.raises(PseudomaskError, match=r"asks for 2 GPUs, this job sees 1"):
        reserve(2, ["0"], tmp_path)
