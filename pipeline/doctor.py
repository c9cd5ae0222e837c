"""What this machine has and lacks."""

import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

_PACKAGES = ("torch", "torchvision", "timm", "numpy", "opencv-python-headless", "h5py", "snakemake", "pydantic")


@dataclass(frozen=True)
class Finding:
    """One line of the examination."""

    level: Literal["ok", "warn", "fail"]
    subject: str
    text: str


def examine() -> Iterator[Finding]:
    """Findings in the order a user wants to read them."""
    supported = (3, 11) <= sys.version_info[:2] <= (3, 13)
    text = sys.version.split()[0] + ("" if supported else "; use 3.11, 3.12 or 3.13")
    yield Finding("ok" if supported else "fail", "Python", text)
    for name in _PACKAGES:
        try:
            yield Finding("ok", name, version(name))
        except PackageNotFoundError:
            yield Finding("fail", name, "not installed; run `make setup`")
    yield from _devices()
    yield from _opencv()
    yield from _crf()
    yield from _folders()
    yield from _data()


def _devices() -> Iterator[Finding]:
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        yield Finding("fail", "devices", f"torch cannot be imported: {error}")
        return
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            yield Finding("ok", "GPU", f"{index}: {torch.cuda.get_device_name(index)}")
    else:
        yield Finding("warn", "GPU", "none that CUDA can use; networks run on the CPU")
    yield Finding("ok", "CPU", f"{os.cpu_count()} cores")


def _opencv() -> Iterator[Finding]:
    wheels = []
    for name in ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"):
        try:
            version(name)
            wheels.append(name)
        except PackageNotFoundError:
            continue
    if len(wheels) > 1:
        yield Finding("fail", "OpenCV", f"{' and '.join(wheels)} overwrite each other; uninstall all, install one")


def _crf() -> Iterator[Finding]:
    from pipeline.crf.backends import ORDER, pick_backend
    from pipeline.errors import PseudomaskError

    for name in ORDER:
        try:
            yield Finding("ok", f"CRF {name}", pick_backend(name).why)
        except PseudomaskError as error:
            yield Finding("warn", f"CRF {name}", str(error))


def _folders() -> Iterator[Finding]:
    for name in ("store", "results"):
        folder = Path(name) if Path(name).exists() else Path()
        if not os.access(folder, os.W_OK):
            yield Finding("fail", name, f"{folder.resolve()} is not writable; start from a folder of yours")
            continue
        free = shutil.disk_usage(folder).free / 2**30
        yield Finding("ok" if free > 10 else "warn", name, f"writable, {free:.0f} GiB free")


def _data() -> Iterator[Finding]:
    folder = os.environ.get("PSEUDOMASK_DATA")
    if not folder:
        yield Finding(
            "warn", "data root", "$PSEUDOMASK_DATA is not set; relative data paths start from the working folder"
        )
        return
    root = Path(folder)
    if not root.is_dir():
        yield Finding("fail", "data root", f"$PSEUDOMASK_DATA names {folder}, which does not exist")
        return
    found = sorted(path.name for path in root.iterdir() if path.is_dir())
    yield Finding("ok", "data root", f"{folder} with {', '.join(found) or 'nothing in it'}")
