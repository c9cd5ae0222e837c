"""docs/benchmarks.md: what every benchmark is about, and what it printed on this machine.

    python tests/benchmarks/page.py [NAME ...]

NAME, such as ``store``, runs these benchmarks again and keeps the other sections as they are.
"""

import ast
import os
import platform
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import torch

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs/benchmarks.md"
SHORT = {"page": ["--images", "1000"], "scale": ["--images", "100", "1000"]}
HEAD = """# Benchmarks

Written by `make bench`; `make bench ONLY="store graph"` writes these two sections again. Each benchmark measures its
peer in the same run. Times are of the machine and day named under each heading; a load above 0.5 means that other work
went on beside. Where there is a GPU, sections of their own are written, so that both can be compared.
"""
ON_GPU = " on a GPU"


def section(name: str) -> str:
    """Heading, explanation and output of one benchmark.

    Raises:
        SystemExit: it failed; what it said is printed.
    """
    script = HERE / f"bench_{name}.py"
    title, *paragraphs = re.split(r"\n\s*\n", ast.get_docstring(ast.parse(script.read_text())) or "")
    words = [text if text.startswith(" ") else " ".join(text.split()) for text in paragraphs]
    done = subprocess.run(
        [sys.executable, str(script), *SHORT.get(name, [])], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{script}:\n{done.stdout}{done.stderr}")
    parts = [f"## {heading(name)}", " ".join(title.split()), f"{machine()}.", *words]
    return "\n\n".join([*parts, f"```\n{done.stdout.rstrip()}\n```"])


def heading(name: str) -> str:
    """Of the section that a benchmark writes on this machine."""
    return name + ON_GPU if torch.cuda.is_available() else name


def machine() -> str:
    """Date, processor, how busy it is, GPU and versions."""
    cpu = Path("/proc/cpuinfo")
    models = re.findall(r"^model name\s*: (.+)$", cpu.read_text(), re.MULTILINE) if cpu.exists() else []
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    model = models[0] if models else platform.processor()
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    load = f"load {os.getloadavg()[0]:.1f} before it began"
    return f"{date.today()}, {os.cpu_count()} cores ({model}, {load}){gpu}; {versions}"


def main() -> None:
    every = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    chosen = sys.argv[1:] or every
    if unknown := set(chosen) - set(every):
        raise SystemExit(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    known = re.split(r"^(?=## )", PAGE.read_text(), flags=re.MULTILINE)[1:] if PAGE.exists() else []
    sections = {text[3:].splitlines()[0]: text.rstrip() for text in known}
    for name in chosen:
        print(f"bench_{name} ...", flush=True)
        sections[heading(name)] = section(name)
        kept = [sections[title] for own in every for title in (own, own + ON_GPU) if title in sections]
        PAGE.write_text("\n\n".join([HEAD.rstrip(), *kept]) + "\n")


if __name__ == "__main__":
    main()
