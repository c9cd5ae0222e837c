"""Weights and training states as safetensors: no pickle, atomic, bit for bit."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pipeline.artifacts.files import atomic_path
from pipeline.errors import PseudomaskError


def save_weights(path: Path, state: dict[str, Tensor], card: dict[str, Any]) -> None:
    """Write a state dict and a JSON card that says how to rebuild its network.

    Args:
        path: file to write, atomically.
        state: tensors by name, on any device.
        card: objective, settings, classes, seed, steps, versions; anything JSON holds.
    """
    # Tied parameters share memory, which safetensors refuses, hence the clones.
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {"card": json.dumps(card, sort_keys=True)})


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`save_weights` wrote.

    Raises:
        PseudomaskError: the file is missing, damaged or has no card.
    """
    if not path.exists():
        raise PseudomaskError(f"{path} does not exist; run the stage that trains it first")
    try:
        with safe_open(path, "pt") as file:
            card = (file.metadata() or {}).get("card")
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise PseudomaskError(f"{path} is damaged or no safetensors file; delete it, run again ({error})") from error
    if card is None:
        raise PseudomaskError(
            f"{path} was not written by pseudomask: it has no card that says how to build the network"
        )
    return state, json.loads(card)


def save_training_state(path: Path, state: dict[str, Any]) -> None:
    """Write nested dictionaries and lists of tensors and JSON scalars, such as an optimiser's state."""
    tensors: dict[str, Tensor] = {}
    tree = _flatten(state, tensors)
    save_weights(path, tensors, {"tree": tree})


def load_training_state(path: Path) -> dict[str, Any]:
    """Read what :func:`save_training_state` wrote, equal in every bit.

    Raises:
        PseudomaskError: the file is damaged.
    """
    tensors, card = load_weights(path)
    state: dict[str, Any] = _restore(card["tree"], tensors)
    return state


def _flatten(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The value with tensors replaced by names; mappings become pairs, since JSON keys are texts only."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, dict):
        return {"pairs": [[key, _flatten(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"items": [_flatten(item, tensors) for item in value]}
    return {"value": value}


def _restore(tree: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Any:
    ((kind, content),) = tree.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "pairs":
        return {key: _restore(item, tensors) for key, item in content}
    if kind == "items":
        return [_restore(item, tensors) for item in content]
    return content
