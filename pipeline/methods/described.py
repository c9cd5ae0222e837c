"""The objectives of a configuration without their memory: what would be trained, and how large it is."""

import importlib
from pathlib import Path
from typing import Any

import torch

from pipeline.config.classes import ClassTable
from pipeline.config.run import RunConfig, TrainedSettings
from pipeline.methods.objective import Objective

_MODULES = ("asdt", "classifier", "cotraining", "dupl", "irn", "ktse", "mdh", "segmenter", "seminar")
_ALONE = {"start": "backbone", "pseudo": None}
"""Settings with which an objective needs no earlier network."""


def described(config: RunConfig, classes: ClassTable) -> dict[str, Objective]:
    """Every objective of a configuration by the path of its settings, on torch's ``meta`` device, without weights.

    Args:
        config: of any method.
        classes: of the data set.

    Raises:
        PseudomaskError: a network cannot be built, or settings contradict each other.
    """
    return {path: built_without_memory(settings, classes) for path, settings in config.trained()}


def built_without_memory(settings: TrainedSettings, classes: ClassTable) -> Objective:
    """One objective on the ``meta`` device.

    Raises:
        PseudomaskError: as for :func:`described`.
    """
    name = objective_name(settings)
    module = importlib.import_module(f"pipeline.methods.{name}")
    model: Any = module.Settings
    alone = {key: value for key, value in _ALONE.items() if key in model.model_fields}
    changes = {"network": settings.network.model_copy(update={"weights": None}), **alone}
    with torch.device("meta"):
        built: Objective = module.build(model.model_copy(settings, update=changes), classes, Path(), {})
    return built


def objective_name(settings: TrainedSettings) -> str:
    """The module of this room whose objective has such settings."""
    for name in _MODULES:
        model: Any = importlib.import_module(f"pipeline.methods.{name}").Settings
        if isinstance(settings, model):
            return name
    raise TypeError(f"no objective has settings of type {type(settings).__name__}")


def millions(objective: Objective) -> float:
    """Parameters of the networks an objective exports, in millions."""
    return sum(parameter.numel() for parameter in objective.export().parameters()) / 1e6
