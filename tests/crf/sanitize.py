"""Build the CRF engine with the address and undefined-behaviour sanitizers and feed it random cases.

    python tests/crf/sanitize.py [--seconds 60] [--seed 0]

Runs every instruction set the machine has; fails with the first finding. Needs a C++ compiler (CXX, default g++).
"""

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
NATIVE = HERE.parents[1] / "pipeline" / "crf" / "native"
FLAGS = ["-std=c++17", "-O1", "-g", "-ffp-contract=off", "-fno-omit-frame-pointer", "-Wno-psabi"]
FLAGS += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-w"]


def main() -> None:
    parser = argparse.ArgumentParser(description="random cases through the CRF engine under sanitizers")
    parser.add_argument("--seconds", type=float, default=60, help="per instruction set")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sources = [HERE / "fuzz.cpp", *(path for path in sorted(NATIVE.glob("*.cpp")) if path.name != "api.cpp")]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "fuzz"
        subprocess.run([os.environ.get("CXX", "g++"), *FLAGS, *map(str, sources), "-o", str(program)], check=True)
        for isa in ("baseline", "avx2", "avx512"):
            command = [str(program), str(options.seconds), str(options.seed)]
            subprocess.run(command, check=True, env={**os.environ, "PSEUDOMASK_ISA": isa})


if __name__ == "__main__":
    main()
