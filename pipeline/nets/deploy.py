"""A trained segmenter as one file that needs none of this package: ONNX, or a program of torch.export."""

import json
from pathlib import Path

import torch
from timm.layers.helpers import to_2tuple
from timm.layers.pool2d_same import AvgPool2dSame
from torch import Tensor, nn

from pipeline.artifacts.files import atomic_path
from pipeline.config.classes import ClassTable
from pipeline.config.network import NetworkSettings
from pipeline.errors import PseudomaskError
from pipeline.nets.decoders import upsample
from pipeline.nets.exported import load_segmenter
from pipeline.nets.inference import normalise
from pipeline.nets.segmentation import SegmentationNetwork

_EXAMPLE = 96
_SIDES = (33, 8192)


class Deployed(nn.Module):
    """RGB images in, probabilities at their size out; normalisation included.

    Args:
        network: the trained network.
        settings: mean and standard deviation it was trained with.
    """

    def __init__(self, network: SegmentationNetwork, settings: NetworkSettings) -> None:
        super().__init__()
        self.network, self._settings = network, settings

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities (B, C, H, W) of RGB images (B, 3, H, W) with values 0..255."""
        scores = self.network(normalise(image, self._settings))
        return upsample(scores, image.shape[-2:]).softmax(1)


def to_onnx(weights: Path, target: Path, branch: int | None = None) -> ClassTable:
    """Write the network of a weights file as ONNX; batch, height and width (from 33 pixels) stay free.

    Input ``image``: float32 RGB 0..255, (B, 3, H, W). Output ``probabilities``: (B, C, H, W). Class names, colours and
    the network's settings lie in the file's metadata. Vision transformers want sides that are multiples of their
    patches.

    Args:
        weights: ``weights.safetensors`` of a segmenter.
        target: file to write.
        branch: which of several networks in the file, from 0; None: it holds one.

    Returns:
        The classes of the output's channels.

    Raises:
        PseudomaskError: the weights hold no segmenter, or ``onnx`` is not installed.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise PseudomaskError("ONNX files need two more packages: pip install onnx onnxscript") from error
    program, facts, classes = _program(weights, branch)
    made = torch.onnx.export(program, input_names=["image"], output_names=["probabilities"], dynamo=True, verbose=False)
    assert made is not None
    model = made.model_proto
    for name, value in facts.items():
        model.metadata_props.add(key=name, value=value)
    with atomic_path(target) as temporary:
        temporary.write_bytes(model.SerializeToString())
    return classes


def to_pt2(weights: Path, target: Path, branch: int | None = None) -> ClassTable:
    """Write the network of a weights file as a program that ``torch.export.load`` reads.

    Input and output are as for :func:`to_onnx`; what lies in the metadata there are extra files here.

    Returns:
        The classes of the output's channels.

    Raises:
        PseudomaskError: the weights hold no segmenter.
    """
    program, facts, classes = _program(weights, branch)
    with atomic_path(target) as temporary:
        torch.export.save(program, temporary, extra_files=facts)
    return classes


def _program(weights: Path, branch: int | None) -> tuple[torch.export.ExportedProgram, dict[str, str], ClassTable]:
    """The network as a program for images of any size, texts that describe it, its classes."""
    network, settings, classes = load_segmenter(weights, branch)
    _fix_padding(network)
    deployed = Deployed(network, settings).eval()
    step = network.backbone.multiple
    # Two images of unequal sides, so that no size is taken for a constant.
    example = torch.zeros(2, 3, _ceil(_EXAMPLE, step), _ceil(_EXAMPLE + 32, step))
    sizes = {0: _BATCH, 2: _side("h", step), 3: _side("w", step)}
    # What is not provable of all sizes, such as the arithmetic of pooling, is checked when the program runs.
    program = torch.export.export(
        deployed, (example,), dynamic_shapes=(sizes,), prefer_deferred_runtime_asserts_over_guards=True
    )
    facts = {
        "classes": json.dumps(classes.names),
        "palette": json.dumps(classes.palette[: len(classes)].tolist()),
        "network": settings.model_dump_json(),
    }
    return program, facts, classes


def _fix_padding(network: nn.Module) -> None:
    """Give timm's poolings of stride one the fixed padding they amount to: torch.export saves no ceil() of a size."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, AvgPool2dSame) and child.stride == (1, 1):
                height, width = (side - 1 for side in to_2tuple(child.kernel_size))
                zeros = nn.ZeroPad2d((width // 2, width - width // 2, height // 2, height - height // 2))
                setattr(parent, name, nn.Sequential(zeros, nn.AvgPool2d(child.kernel_size, 1)))


_BATCH = torch.export.Dim("batch", min=1, max=1024)


def _side(name: str, step: int) -> object:
    """A free side that is a multiple of ``step``."""
    if step == 1:
        return torch.export.Dim(name, min=_SIDES[0], max=_SIDES[1])
    return step * torch.export.Dim(f"{name}_patches", min=1, max=_SIDES[1] // step)


def _ceil(side: int, step: int) -> int:
    return -(-side // step) * step
