"""What Snakemake itself costs: the graph planned, and nothing to do, at 20, 200 and 2,000 jobs; start-up of commands.

    python tests/benchmarks/bench_graph.py

The graph of method `cam` on tiny generated scenes, with more and more shards. It is run once, for real, with one shard,
so that afterwards there is nothing to do, whatever the number of shards. Wall time of whole commands.

Next bottleneck: Snakemake itself. Its start-up and plug-ins take 1.5 s of a call; then it makes each job (0.6 ms) and
prints it (1.1 ms, which `--quiet` spares).
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests/workflow/tiny.yaml"


def timed(folder: Path, *command: str) -> tuple[float, str]:
    """Seconds a command took, and what it printed.

    Raises:
        SystemExit: it failed; what it said is printed.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    start = perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    seconds = perf_counter() - start
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return seconds, done.stdout + done.stderr


def snakemake(folder: Path, shards: int, *arguments: str) -> tuple[float, str]:
    """As :func:`timed`, of Snakemake."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2"]
    return timed(folder, *command, "--configfile", str(TINY), "--config", f"runtime__shards={shards}", *arguments)


def main() -> None:
    cli = [sys.executable, "-m", "pipeline.cli"]
    with TemporaryDirectory() as name, TemporaryDirectory() as empty:
        finished, fresh = Path(name), Path(empty)
        snakemake(finished, 1)
        print(f"{'jobs':>6} {'shards':>7} {'-n, all to do':>14} {'nothing to do':>14}")
        for shards in (1, 37, 400):
            planned, text = snakemake(fresh, shards, "-n")
            jobs = re.findall(r"^total +(\d+)", text, re.MULTILINE)[-1]
            idle, _ = snakemake(finished, shards)
            print(f"{jobs:>6} {shards:7} {planned:12.1f} s {idle:12.1f} s", flush=True)
        for words in (["--help"], ["runs"]):
            seconds = min(timed(finished, *cli, *words)[0] for _ in range(3))
            print(f"pseudomask {' '.join(words)}: {seconds:.2f} s")


if __name__ == "__main__":
    main()
