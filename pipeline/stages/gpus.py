"""A GPU of its own for each job of a machine; where a scheduler hands out GPUs, those are taken as they are."""

import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from pipeline.errors import PseudomaskError

log = logging.getLogger(__name__)
_HELD: list[IO[str]] = []  # locks end with the process, however it ends


def take_gpus(count: int) -> None:
    """Let this process and its children see ``count`` GPUs nobody else uses; without a GPU nothing happens.

    Waits while too few are free.

    Raises:
        PseudomaskError: the machine has fewer.
    """
    if "LOCAL_RANK" in os.environ:  # one of several processes of a training, which share what the first one took
        return
    import torch

    there = torch.cuda.device_count()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    # A scheduler gives a job exactly what it asked for, perhaps under a number that another job's GPU has too.
    if there == 0 or (given is not None and there == count):
        return
    devices = [str(index) for index in range(there)] if given is None else given.split(",")
    folder = Path(tempfile.gettempdir()) / f"pseudomask-gpus-{os.getuid()}"
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(reserve(count, devices, folder))


def reserve(count: int, devices: Sequence[str], folder: Path, every: float = 1.0) -> list[str]:
    """Lock ``count`` of ``devices`` until this process ends.

    Args:
        count: how many.
        devices: their names, such as ``0`` or a UUID.
        folder: where the lock files of this machine lie.
        every: seconds between two looks while too few are free.

    Returns:
        The devices, in the order given.

    Raises:
        PseudomaskError: there are fewer devices than asked for.
    """
    if count > len(devices):
        raise PseudomaskError(f"runtime.devices asks for {count} GPUs, this job sees {len(devices)}; ask for fewer")
    folder.mkdir(exist_ok=True)
    waiting = False
    while True:
        locks: dict[str, IO[str]] = {}
        # One process looks at a time: otherwise two that want two each could end with one each.
        with (folder / "look.lock").open("w") as looking:
            fcntl.flock(looking, fcntl.LOCK_EX)
            for device in devices:
                if len(locks) < count and (lock := _lock(folder / f"{device}.lock")) is not None:
                    locks[device] = lock
            if len(locks) == count:
                _HELD.extend(locks.values())
                return list(locks)
            for lock in locks.values():
                lock.close()
        if not waiting:
            log.info("waiting for %d free GPUs of %s", count, ", ".join(devices))
            waiting = True
        time.sleep(every)


def _lock(path: Path) -> IO[str] | None:
    """The locked file; None if another process has it."""
    stream = path.open("w")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        return None
    return stream
