"""Applying a network to images of many sizes: the first image of a size against later ones, and bare forward passes.

    python tests/benchmarks/bench_inference.py [--images 24] [--device cpu]

Scores of ``configs/mini/cam.yaml``'s segmenter at the images' own sizes, scale 1, made-up images, random weights. The
peer is the forward pass alone of the network as it was trained, on views made before; the stage folds its batch norm
into the convolutions. On a GPU, cuDNN has to plan every convolution for every size of image: "new sizes" against
"sizes seen" is what that costs, and there are rows without cuDNN. On the CPU one thread.

Next bottleneck: on a CPU the convolutions themselves; on a GPU the plans of new sizes.
"""

import argparse
from copy import deepcopy
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config.inference import InferenceSettings
from pipeline.config.load import load_run, read_yaml
from pipeline.config.methods.cam import Config
from pipeline.config.runtime import RuntimeSettings
from pipeline.nets.inference import ViewMaker
from pipeline.nets.segmentation import SegmentationNetwork
from pipeline.stages.infer_scores import probabilities

ROOT = Path(__file__).parents[2]
SETTINGS = InferenceSettings()


def network_of(runtime: RuntimeSettings) -> tuple[SegmentationNetwork, ViewMaker, SegmentationNetwork]:
    """The network for inference, its views, and the network as it was trained."""
    config = load_run(read_yaml(ROOT / "configs/mini/cam.yaml"), ROOT / "configs")
    assert isinstance(config, Config)
    assert config.segmenter is not None
    settings = config.segmenter.network.model_copy(update={"weights": None})
    torch.manual_seed(0)
    network = SegmentationNetwork(settings, 21)
    trained = deepcopy(network).eval()
    views = ViewMaker(network, settings, network.backbone.multiple, runtime)
    layout = torch.channels_last if runtime.channels_last else torch.contiguous_format
    return network, views, trained.to(views.device, memory_format=layout)  # type: ignore[call-overload]


def sample(count: int) -> list[NDArray[np.uint8]]:
    """Images of different sizes."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (375 - 3 * number, 500 - 2 * number, 3), np.uint8) for number in range(count)]


def milliseconds(images: list[NDArray[np.uint8]], network: SegmentationNetwork, views: ViewMaker) -> float:
    """Time per image of the stage's own function."""
    start = perf_counter()
    for image in images:
        probabilities(network, views, image, SETTINGS)
    return 1e3 * (perf_counter() - start) / len(images)


@torch.inference_mode()
def bare(images: list[NDArray[np.uint8]], network: SegmentationNetwork, views: ViewMaker) -> float:
    """Time per image of the forward pass alone, with views made before."""
    ready: list[Tensor] = [view for image in images for view in views.of(image, SETTINGS.multi_scale)]
    done = []
    start = perf_counter()
    for view in ready:
        done.append(network(view).amax())
    torch.stack(done).cpu()
    return 1e3 * (perf_counter() - start) / len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description="inference over images of many sizes")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    images = sample(options.images)
    cudnn = [True, False] if options.device == "cuda" else [True]
    print(f"{'ms per image':34} {'new sizes':>10} {'sizes seen':>11} {'bare':>8}  stage / bare")
    for channels_last in (True, False):
        for enabled in cudnn:
            runtime = RuntimeSettings(device=options.device, threads=1, channels_last=channels_last)
            network, views, trained = network_of(runtime)
            with torch.backends.cudnn.flags(enabled=enabled):
                probabilities(network, views, np.zeros((64, 64, 3), np.uint8), SETTINGS)  # loads the kernels
                new = milliseconds(images, network, views)
                seen = milliseconds(images, network, views)
                alone = bare(images, trained, views)
            name = ("channels_last" if channels_last else "channels first") + ("" if enabled else ", without cuDNN")
            print(f"{name:34} {new:10.0f} {seen:11.0f} {alone:8.0f}  {seen / alone:.2f}", flush=True)


if __name__ == "__main__":
    main()
