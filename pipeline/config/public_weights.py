"""Public files of initial weights by name: which network they fit, where a user gets them, how they are checked."""

from functools import cache
from pathlib import Path

import yaml
from pydantic import Field

from pipeline.config.base import Settings
from pipeline.config.network import NetworkSettings
from pipeline.errors import PseudomaskError

FOLDER = "weights"
"""Folder below the data root where presets look."""


class PublicWeights(Settings):
    """One public file."""

    network: NetworkSettings = Field(description="backbone it fits, and mean and deviation of the images it saw")
    trained: str = Field(description="on what")
    project: str = Field(description="who publishes it, and under which heading")
    millions: float = Field(gt=0, description="published parameters in millions, classifier included")
    file: str = Field(description="name of the file there")
    mebibytes: float | None = Field(default=None, gt=0, description="size")
    sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{8,64}$", description="of its content, or the first digits"
    )
    otherwise: str | None = Field(default=None, description="what else serves, for instance without this file")


@cache
def public_weights() -> dict[str, PublicWeights]:
    """All public files that presets name, by the name of what is made of them."""
    entries = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
    return {name: PublicWeights.model_validate(entry) for name, entry in entries.items()}


def weights_file(network: NetworkSettings, root: Path) -> Path | None:
    """The file of a network's initial weights below the data root; None: it starts from random ones.

    Raises:
        PseudomaskError: the file is missing; the message says how to get it where it is a public one.
    """
    if network.weights is None:
        return None
    path = root / network.weights
    if not path.is_file():
        raise PseudomaskError(f"network.weights: {path} does not exist; {advice(path)}")
    return path


def advice(path: Path) -> str:
    """What a user can do about a missing file of weights, also on a machine without network."""
    entry = public_weights().get(path.stem)
    otherwise = "or set network.weights to null for random weights"
    if entry is None:
        return f"put the file there, name another one relative to the data root, {otherwise}"
    more = f"; or else: {entry.otherwise}" if entry.otherwise else ""
    return (
        f"it is made of the public file {entry.file} ({entry.project}). Nothing is downloaded: fetch it where there is "
        f"a network, copy it here and say\n  pseudomask weights import {entry.file} --as {path.stem} -o {path}\n"
        f"{otherwise}{more}"
    )
