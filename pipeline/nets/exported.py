"""Networks rebuilt from a weights file alone: its card holds the settings and the classes."""

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError
from torch import Tensor, nn

from pipeline.artifacts.checkpoint import load_weights
from pipeline.config.classes import ClassTable
from pipeline.config.ktse import HeadSettings
from pipeline.config.network import NetworkSettings
from pipeline.errors import PseudomaskError
from pipeline.nets.class_aware import ClassAwareNetwork
from pipeline.nets.classification import ClassificationNetwork
from pipeline.nets.irn import BoundaryNetwork
from pipeline.nets.segmentation import SegmentationNetwork

Network = TypeVar("Network", ClassificationNetwork, SegmentationNetwork)
AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)
CamNetwork = ClassificationNetwork | ClassAwareNetwork


def load_classifier(path: Path, branch: int | None = None) -> tuple[ClassificationNetwork, NetworkSettings, ClassTable]:
    """The trained classification network in a weights file, its settings and classes.

    Args:
        path: weights file.
        branch: which of several networks in the file, from 0; None: it holds one.

    Raises:
        PseudomaskError: the file is missing, damaged or holds another kind of network.
    """
    return _load(path, ClassificationNetwork, branch, background=False)


def load_cam_network(path: Path, branch: int | None = None) -> tuple[CamNetwork, NetworkSettings, ClassTable]:
    """Any trained network that makes activation maps, the plain one or KTSE's, its settings and classes.

    Raises:
        PseudomaskError: as for :func:`load_classifier`.
    """
    state, card = load_weights(path)
    head = card.get("settings", {}).get("head")
    if head is None:
        return load_classifier(path, branch)
    settings, classes = _described(card, path)
    network = ClassAwareNetwork(settings, HeadSettings.model_validate(head), len(classes))
    return _filled(network, state, card, path), settings, classes


def load_segmenter(path: Path, branch: int | None = None) -> tuple[SegmentationNetwork, NetworkSettings, ClassTable]:
    """The trained segmentation network in a weights file, its settings and classes.

    Raises:
        PseudomaskError: as for :func:`load_classifier`.
    """
    return _load(path, SegmentationNetwork, branch, background=True)


def load_segmenters(
    path: Path, branch: int | Literal["mean", "max"] | None
) -> tuple[list[SegmentationNetwork], NetworkSettings, ClassTable]:
    """One segmentation network of a weights file, or with ``mean`` or ``max`` all of a file with several.

    Raises:
        PseudomaskError: as for :func:`load_classifier`; or the file holds a single network where all are asked for.
    """
    if not isinstance(branch, str):
        network, settings, classes = load_segmenter(path, branch)
        return [network], settings, classes
    state, _ = load_weights(path)
    numbers = sorted({int(name.split(".")[0]) for name in state if name.split(".")[0].isdecimal()})
    if len(numbers) < 2:
        raise PseudomaskError(f"{path} holds one network; 'branch: {branch}' joins several, so set branch to null")
    loaded = [load_segmenter(path, number) for number in numbers]
    return [network for network, _, _ in loaded], *loaded[0][1:]


def load_boundary_network(path: Path) -> tuple[BoundaryNetwork, NetworkSettings, ClassTable]:
    """The trained boundary network of IRN in a weights file, its settings and classes.

    Raises:
        PseudomaskError: as for :func:`load_classifier`.
    """
    state, card = load_weights(path)
    settings, classes = _described(card, path)
    network = BoundaryNetwork(settings, bool(card["settings"].get("displacement")))
    return _filled(network, state, card, path), settings, classes


def _load(
    path: Path, kind: type[Network], branch: int | None, background: bool
) -> tuple[Network, NetworkSettings, ClassTable]:
    state, card = load_weights(path)
    settings, classes = _described(card, path)
    network = kind(settings, len(classes) if background else len(classes.foreground))
    if branch is not None:
        # A branch may have parts of both kinds of network; each kind takes its own. Parts without a number are common.
        own = {name: state.get(f"{branch}.{name}", state.get(name)) for name in network.state_dict()}
        state = {name: value for name, value in own.items() if value is not None}
    return _filled(network, state, card, path), settings, classes


def _described(card: dict[str, Any], path: Path) -> tuple[NetworkSettings, ClassTable]:
    """Settings of the network and classes a card names."""
    try:
        return NetworkSettings.model_validate(card["settings"]["network"]), ClassTable.model_validate(card["classes"])
    except (KeyError, TypeError, ValidationError) as error:
        raise PseudomaskError(
            f"the card in {path} does not describe a network ({error}); train it again with this version"
        ) from error


def _filled(network: AnyNetwork, state: dict[str, Tensor], card: dict[str, Any], path: Path) -> AnyNetwork:
    """The network with its weights."""
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise PseudomaskError(
            f"{path} holds no {type(network).__name__} but what objective '{card.get('objective')}' exports; "
            f"connect the stage to another training ({str(error).splitlines()[1].strip()[:200]})"
        ) from error
    return network


def check_classes(wanted: ClassTable, found: ClassTable, path: Path) -> None:
    """Refuse a network trained for other classes than those of the data set.

    Raises:
        PseudomaskError: names the weights file and the first difference.
    """
    if wanted.names == found.names:
        return
    pairs = zip((*wanted.names, *[None] * len(found)), (*found.names, *[None] * len(wanted)), strict=False)
    index, (ours, theirs) = next((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
    raise PseudomaskError(
        f"{path} was trained for other classes: class {index} of the data set is {ours!r}, of the network {theirs!r}; "
        "train on this data set or import the data with the network's classes"
    )
