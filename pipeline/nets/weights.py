"""Initial weights of a backbone from a local file: ours, timm's or torchvision's."""

import logging
import pickle
from pathlib import Path
from typing import Any, Protocol, TypeVar
from zipfile import BadZipFile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pipeline.config.network import NetworkSettings
from pipeline.errors import PseudomaskError
from pipeline.nets.backbones import Backbone

_log = logging.getLogger(__name__)
_OURS = "backbone."
_COUNTER = "num_batches_tracked"

State = dict[str, Tensor]


class WithBackbone(Protocol):
    """A network whose backbone is trained, too."""

    backbone: Backbone


Network = TypeVar("Network", bound=WithBackbone)


def initialised(network: Network, settings: NetworkSettings, root: Path) -> Network:
    """The network to be trained, its backbone from ``settings.weights``; see :func:`initialise`."""
    initialise(network.backbone, settings, root)
    return network


def initialise(backbone: Backbone, settings: NetworkSettings, root: Path) -> None:
    """Load ``settings.weights`` into the backbone, or log that it stays random.

    Args:
        backbone: changed in place.
        settings: names the file.
        root: folder a relative file name starts from.

    Raises:
        PseudomaskError: the file is missing, damaged, holds values that are not finite or belongs to another network.
    """
    if settings.weights is None:
        if not next(backbone.parameters()).is_meta:  # such a network is only counted
            _log.info("backbone %s starts from random weights (network.weights is null)", settings.backbone)
        return
    path = root / settings.weights
    if not path.is_file():
        raise PseudomaskError(
            f"network.weights: {path} does not exist; put the file there (`pseudomask weights list` says where public "
            "ones are from), name another one relative to the data root, or set it to null for random weights"
        )
    if settings.priors is None:
        load_backbone(backbone, path)
    else:
        plain = Backbone(settings.model_copy(update={"priors": None}))
        load_backbone(plain, path)
        backbone.take(plain)
    _log.info("backbone %s starts from %s", settings.backbone, path)


def load_backbone(backbone: Backbone, path: Path) -> None:
    """Copy the weights in ``path`` into the backbone.

    Files of this project are recognised by the prefix ``backbone.``, timm's by their names. Any other state dict, such
    as torchvision's MobileNetV2, fits if its tensors have the backbone's kinds and shapes in the backbone's order:
    both list layers in the order of the forward pass.

    Raises:
        PseudomaskError: as for :func:`initialise`.
    """
    # A safetensors file sorts its tensors by name, so positions say nothing.
    fill_backbone(backbone, read_state(path), path, ordered=path.suffix != ".safetensors")


def fill_backbone(backbone: Backbone, source: State, path: Path, ordered: bool) -> None:
    """Copy weights read from ``path`` into the backbone, as :func:`load_backbone` says.

    Args:
        backbone: changed in place.
        source: tensors by name.
        path: file they come from, for messages.
        ordered: they lie in the order of the forward pass.

    Raises:
        PseudomaskError: as for :func:`initialise`.
    """
    if any(name.startswith(_OURS) for name in source):
        source = {name.removeprefix(_OURS): value for name, value in source.items() if name.startswith(_OURS)}
        target = backbone.state_dict()
    else:
        target = backbone.timm_state()
    source, target = without_counters(source), without_counters(target)
    if target.keys() <= source.keys():
        pairs = {name: name for name in target}
    elif ordered:
        pairs = _by_order(source, target, path)
    else:
        raise _misfit(path, f"it lacks '{next(name for name in target if name not in source)}'")
    with torch.no_grad():
        for name, tensor in target.items():
            tensor.copy_(_checked(source[pairs[name]], tensor, pairs[name], path))


def read_state(path: Path) -> State:
    """Tensors by name from a safetensors or torch file; nothing but tensors is ever unpickled.

    Raises:
        PseudomaskError: the file is damaged, of another kind, or holds more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PseudomaskError(
            f"{path} is damaged or holds more than weights ({reason}); copy it again, or save its state dict alone"
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise PseudomaskError(f"{path} holds no state dict; save `model.state_dict()` in it")
    return {name.removeprefix("module."): value for name, value in found.items()}


def without_counters(state: State) -> State:
    """The tensors but batch norm's counts of batches, which older files lack and nothing here needs."""
    return {name: value for name, value in state.items() if not name.endswith(_COUNTER)}


def _by_order(source: State, target: State, path: Path) -> dict[str, str]:
    """Name in the file of every tensor of the backbone, matched by position, kind and shape."""
    if len(source) < len(target):
        raise _misfit(path, f"it holds {len(source)} tensors where the backbone has {len(target)}")
    pairs = dict(zip(target, source, strict=False))
    for position, (name, other) in enumerate(pairs.items()):
        wanted, found = (name.rpartition(".")[2], target[name].shape), (other.rpartition(".")[2], source[other].shape)
        if wanted != found:
            raise _misfit(
                path,
                f"tensor {position} is '{other}' {tuple(source[other].shape)} where the backbone has "
                f"'{name}' {tuple(target[name].shape)}",
            )
    return pairs


def _misfit(path: Path, found: str) -> PseudomaskError:
    return PseudomaskError(
        f"{path} does not fit the backbone: {found}; set network.backbone and network.backbone_options to the network "
        "the file was made for"
    )


def _checked(value: Tensor, target: Tensor, name: str, path: Path) -> Tensor:
    if value.shape != target.shape:
        raise _misfit(path, f"'{name}' is {tuple(value.shape)} where the backbone has {tuple(target.shape)}")
    if value.is_floating_point() and not torch.isfinite(value).all():
        raise PseudomaskError(f"{path}: '{name}' holds NaN or infinity; the file is damaged or its training diverged")
    return value
