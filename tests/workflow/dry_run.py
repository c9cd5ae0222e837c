"""Dry runs in processes forked from one that has Snakemake imported: half the time of a new interpreter each."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path

_server = get_context("forkserver")
_server.set_forkserver_preload(["snakemake.cli"])


def dry_run(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """``snakemake -n`` with these arguments, working folder and environment; what it printed and its exit code."""
    arguments = ["-n", *map(str, arguments)]
    with tempfile.TemporaryDirectory() as printed:
        files = [f"{printed}/stdout", f"{printed}/stderr"]
        process = _server.Process(target=_run, args=(arguments, str(folder), dict(environment), files))
        process.start()
        process.join(timeout=120)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"no end after 120 s: snakemake {' '.join(arguments)}")
        texts = [Path(file).read_text() for file in files]
    return subprocess.CompletedProcess(arguments, process.exitcode, *texts)


def _run(arguments: list[str], folder: str, environment: dict[str, str], files: list[str]) -> None:
    from snakemake.cli import main

    for descriptor, file in zip((1, 2), files, strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path.insert(0, environment["PYTHONPATH"])
    main(arguments)
