"""Weights files of other projects, turned into one of this project's; nothing in them is ever executed."""

import math
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from pipeline.artifacts.checkpoint import save_weights
from pipeline.artifacts.files import file_digest
from pipeline.config.network import NetworkSettings
from pipeline.config.public_weights import public_weights
from pipeline.errors import PseudomaskError
from pipeline.nets.backbones import Backbone
from pipeline.nets.weights import State, fill_backbone, read_state, without_counters

_LIST_MAGIC = 0x112
_V1_MAGIC, _V2_MAGIC = 0xF993FAC8, 0xF993FAC9
_MXNET_TYPES = ("<f4", "<f8", "<f2", "<u1", "<i4", "<i1", "<i8")
_BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_var": "running_var"}
_CAFFE_LAYERS = {"reduce": 1, "conv3x3": 2, "increase": 3}


def import_weights(path: Path, name: str, target: Path, any_content: bool = False) -> dict[str, Any]:
    """Write a public weights file as safetensors with the names of our backbone, and a card.

    Args:
        path: torch state dict, safetensors, or MXNet's ``.params``.
        name: of an entry of ``public_weights``, or of a backbone.
        target: file to write.
        any_content: do not compare the content with the checksum of the entry.

    Returns:
        The card: what was read, for which network, what was left out.

    Raises:
        PseudomaskError: the file is damaged, another one than the entry's, or does not fit; the message names the
            first tensor that does not, its shape and the shape wanted.
    """
    entry = public_weights().get(name)
    digest = file_digest(path)
    wanted = None if entry is None else entry.sha256
    if wanted is not None and not digest.startswith(wanted) and not any_content:
        raise PseudomaskError(
            f"{path} is not the public file of '{name}': its SHA-256 starts with {digest[:8]}, that one's with "
            f"{wanted[:8]}; copy it again, or say --any-content if you want another training of the same network"
        )
    backbone = _backbone(name) if entry is None else Backbone(entry.network)
    source, ordered = read_foreign(path)
    fill_backbone(backbone, source, path, ordered)
    state = backbone.timm_state()
    network = NetworkSettings(backbone=name) if entry is None else entry.network
    card = {
        "weights": name,
        "network": network.model_dump(mode="json", exclude_defaults=True),
        "source": path.name,
        "source_sha256": digest,
        "tensors": len(state),
        "parameters": sum(parameter.numel() for parameter in backbone.parameters()),
        "left_out": len(without_counters(source)) - len(without_counters(state)),
    }
    save_weights(target, state, card)
    return card


def read_foreign(path: Path) -> tuple[State, bool]:
    """Tensors by name from a file of another project; names of MXNet's ResNet-38 and DeepLab-PyTorch become ours.

    Returns:
        The tensors, and whether they are in the order of the forward pass, so that unknown names may be matched by it.

    Raises:
        PseudomaskError: the file is damaged, of another kind, or holds more than tensors.
    """
    with path.open("rb") as stream:
        if stream.read(8) == struct.pack("<Q", _LIST_MAGIC):
            return _named_as_resnet38d(read_mxnet(path), path), False
    state = {name.removeprefix("base."): value for name, value in read_state(path).items()}
    if "layer1.conv1.conv.weight" in state:
        return _named_as_resnet101(state), False
    return state, path.suffix != ".safetensors"


def read_mxnet(path: Path) -> State:
    """Arrays by name, such as ``arg:conv1a_weight``, from a file that MXNet's ``nd.save`` wrote.

    All three layouts of a dense array are known: of 2016 (dimensions of 32 bits), version 1, and version 2.

    Raises:
        PseudomaskError: the file ends early or holds sparse arrays or unknown types.
    """
    try:
        with path.open("rb") as stream:
            _, _, count = _unpack(stream, "<QQQ")
            arrays = [_mxnet_array(stream, path) for _ in range(count)]
            names = list(_mxnet_names(stream))
    except (struct.error, UnicodeDecodeError) as error:
        raise PseudomaskError(f"{path} is damaged or ends early; copy it again ({error})") from error
    if len(names) != len(arrays):
        raise PseudomaskError(f"{path} holds {len(arrays)} arrays and {len(names)} names; copy it again")
    return dict(zip(names, arrays, strict=True))


def _mxnet_array(stream: BinaryIO, path: Path) -> torch.Tensor:
    (magic,) = _unpack(stream, "<I")
    if magic == _V2_MAGIC:
        (storage,) = _unpack(stream, "<i")
        if storage != 0:
            raise PseudomaskError(f"{path} holds a sparse array (storage type {storage}); only dense ones are weights")
    if magic in (_V1_MAGIC, _V2_MAGIC):
        (rank,) = _unpack(stream, "<I")
        form = "q"
    else:
        rank, form = magic, "I"  # before version 1 there was no magic number: the array starts with its rank
    if rank > 32:
        raise PseudomaskError(f"{path} is damaged or of an unknown version: an array of rank {rank}; copy it again")
    if rank == 0:
        return torch.empty(0)
    shape = _unpack(stream, f"<{rank}{form}")
    _, _, kind = _unpack(stream, "<iii")  # device, its number, type
    if not 0 <= kind < len(_MXNET_TYPES) or min(shape) < 0:
        raise PseudomaskError(f"{path} is damaged: an array of type {kind} and shape {shape}; copy it again")
    dtype = np.dtype(_MXNET_TYPES[kind])
    size = math.prod(shape) * dtype.itemsize
    content = stream.read(size)
    if len(content) != size:
        raise struct.error(f"an array of {size} bytes has {len(content)}")
    return torch.from_numpy(np.frombuffer(content, dtype).reshape(shape).copy())


def _mxnet_names(stream: BinaryIO) -> Iterator[str]:
    (count,) = _unpack(stream, "<Q")
    for _ in range(count):
        (length,) = _unpack(stream, "<Q")
        (name,) = struct.unpack(f"{length}s", stream.read(length))
        yield name.decode()


def _unpack(stream: BinaryIO, form: str) -> tuple[int, ...]:
    """Numbers that follow in the file."""
    return struct.unpack(form, stream.read(struct.calcsize(form)))


def _named_as_resnet38d(arrays: State, path: Path) -> State:
    """``arg:res2b1_branch2a_weight`` is ``b2_1.conv_branch2a.weight``; the classifier keeps its name."""
    state = {}
    for name, value in arrays.items():
        plain = name.partition(":")[2]
        found = re.fullmatch(r"(res|bn)(\d)(?:a|b(\d+))_(branch\w+?)_(weight|gamma|beta|moving_mean|moving_var)", plain)
        if found is not None:
            kind, level, number, branch, part = found.groups()
            block = f"b{level}" + (f"_{number}" if number else "")
            state[f"{block}.{'conv' if kind == 'res' else 'bn'}_{branch}.{_BATCH_NORM.get(part, part)}"] = value
        elif plain == "conv1a_weight":
            state["conv1a.weight"] = value
        elif plain.removeprefix("bn7_") in _BATCH_NORM:
            state[f"bn7.{_BATCH_NORM[plain.removeprefix('bn7_')]}"] = value
        elif plain.startswith("linear"):
            state[plain] = value
        else:
            raise PseudomaskError(f"{path} holds '{name}', which is no layer of ResNet-38 (model A1)")
    return state


def _named_as_resnet101(source: State) -> State:
    """DeepLab-PyTorch's names to timm's; the first filters are for BGR there. Classifier and ASPP keep their names."""
    state = {}
    for name, value in source.items():
        stem = re.fullmatch(r"layer1\.conv1\.(conv|bn)\.(\w+)", name)
        inner = re.fullmatch(r"layer([2-5])\.block(\d+)\.(reduce|conv3x3|increase|shortcut)\.(conv|bn)\.(\w+)", name)
        if stem is not None:
            state[f"{stem[1]}1.{stem[2]}"] = value.flip(1) if stem[1] == "conv" else value
        elif inner is not None:
            stage, block, layer, kind, part = inner.groups()
            place = f"downsample.{int(kind == 'bn')}" if layer == "shortcut" else f"{kind}{_CAFFE_LAYERS[layer]}"
            state[f"layer{int(stage) - 1}.{int(block) - 1}.{place}.{part}"] = value
        else:
            state[name] = value
    return state


def _backbone(name: str) -> Backbone:
    """A backbone by its name alone, at whichever stride it has by itself."""
    errors = []
    for stride in (32, 16, 8):
        try:
            return Backbone(NetworkSettings(backbone=name, output_stride=stride))
        except PseudomaskError as error:
            errors.append(error)
    known = ", ".join(public_weights())
    raise PseudomaskError(f"--as {name}: {errors[0]}; entries of the registry: {known}")
