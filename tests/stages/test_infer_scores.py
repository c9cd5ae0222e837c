from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from pipeline.artifacts.boxes import Box, write_boxes
from pipeline.artifacts.checkpoint import save_weights
from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.artifacts.scores import ScoreStore
from pipeline.config.classes import ClassTable
from pipeline.config.inference import MultiScaleSettings
from pipeline.config.network import NetworkSettings
from pipeline.config.priors import PriorSettings
from pipeline.config.runtime import RuntimeSettings
from pipeline.data.priors import prior_layers
from pipeline.errors import PseudomaskError
from pipeline.nets.classification import ClassificationNetwork
from pipeline.nets.segmentation import SegmentationNetwork
from pipeline.stages.infer_scores import Inputs, Outputs, Settings, run, strong_classes

CLASSES = ClassTable(names=("background", "disc", "square"))
NETWORK = NetworkSettings(backbone="mobilenetv2_035", decoder="deeplabv2")


def _save(network, path):
    card = {"objective": "any", "settings": {"network": NETWORK.model_dump(mode="json")}}
    save_weights(path, network.state_dict(), card | {"classes": CLASSES.model_dump(mode="json")})


@pytest.fixture
def world(tmp_path):
    """Two images in different splits and an untrained segmenter with strong opinions."""
    torch.manual_seed(0)
    network = SegmentationNetwork(NETWORK, 3).eval()
    for branch in network.decoder.branches:
        branch.weight.data *= 10
    _save(network, tmp_path / "weights.safetensors")
    random, records = np.random.default_rng(0), []
    for name in ("train", "val"):
        Image.fromarray(random.integers(0, 256, (33, 46, 3), np.uint8)).save(tmp_path / f"{name}.png")
        records.append(ImageRecord(name, f"{name}.png", (name,), 33, 46, None))
    Manifest(CLASSES, tuple(records)).write(tmp_path / "manifest.parquet")
    return tmp_path, network


def _run(folder, **settings):
    runtime = RuntimeSettings(device="cpu", threads=1, data_root=folder)
    inputs = Inputs(folder / "manifest.parquet", folder / "weights.safetensors")
    run(Settings(**settings), inputs, Outputs(folder / "s.h5"), Job("scores", "0" * 16, runtime, folder))
    return ScoreStore(folder / "s.h5")


def _logits(network, image, scale, flip, size):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (NETWORK.mean, NETWORK.std))
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    sides = [round(side * scale) for side in image.shape[:2]]
    view = (F.interpolate(pixels, sides, mode="bicubic", antialias=True).clamp(0, 255)[0] / 255 - mean) / std
    logits = network(view[None])
    if flip:
        logits = (logits + network(view[None].flip(-1)).flip(-1)) / 2
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("fusion", ["mean", "max"])
def test_probabilities_equal_a_slow_reference(world, fusion, flip):
    folder, network = world
    scales = (0.75, 1.25)
    multi = MultiScaleSettings(scales=scales, flip=flip)
    scores = _run(folder, fusion=fusion, multi_scale=multi, min_probability=0.0, stride=2)["val"]
    image = np.array(Image.open(folder / "val.png"))
    with torch.inference_mode():
        first, second = (_logits(network, image, scale, flip, (17, 23)) for scale in scales)
        joined = (first + second) / 2 if fusion == "mean" else torch.maximum(first, second)
    np.testing.assert_allclose(scores.values, joined.softmax(0).numpy(), atol=2e-3)
    assert scores.classes.tolist() == [0, 1, 2]
    assert (scores.size, scores.kind) == ((33, 46), "probability")


def test_a_network_that_sees_boxes_gets_their_priors_mirrored_with_the_image(world):
    folder, _ = world
    settings = NETWORK.model_copy(update={"priors": PriorSettings(initial="kaiming")})
    torch.manual_seed(0)
    network = SegmentationNetwork(settings, 3).eval()
    card = {"objective": "any", "settings": {"network": settings.model_dump(mode="json")}}
    save_weights(folder / "seeing.safetensors", network.state_dict(), card | {"classes": CLASSES.model_dump()})
    boxes = {"val": [Box(2, (5, 4, 20, 30))]}
    write_boxes(folder / "boxes.parquet", boxes)

    def found(**files):
        runtime = RuntimeSettings(device="cpu", threads=1, data_root=folder)
        inputs = Inputs(folder / "manifest.parquet", folder / "seeing.safetensors", **files)
        chosen = Settings(multi_scale=MultiScaleSettings(scales=(1.0,), flip=True), min_probability=0.0, stride=1)
        run(chosen, inputs, Outputs(folder / "p.h5"), Job("scores", "0" * 16, runtime, folder))
        return ScoreStore(folder / "p.h5")

    image = np.array(Image.open(folder / "val.png"))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (NETWORK.mean, NETWORK.std))
    layers = prior_layers(boxes["val"], (33, 46), settings.priors, 3)
    seen = torch.cat(
        [
            (torch.from_numpy(image).permute(2, 0, 1) / 255 - mean) / std,
            torch.from_numpy(np.stack([layer.values for layer in layers])),
        ]
    )[None]
    with torch.inference_mode():
        logits = (network(seen) + network(seen.flip(-1)).flip(-1)) / 2
        expected = F.interpolate(logits, (33, 46), mode="bilinear", align_corners=False)[0].softmax(0)
    np.testing.assert_allclose(found(boxes=folder / "boxes.parquet")["val"].values, expected.numpy(), atol=2e-3)
    with pytest.raises(PseudomaskError, match="sees priors of boxes; connect the stage to import_boxes"):
        found()


def test_split_chooses_images(world):
    assert _run(world[0]).ids == ("train", "val")
    assert _run(world[0], split="val").ids == ("val",)


def test_a_square_is_what_the_network_sees_and_the_image_what_is_stored(world):
    found = _run(world[0], resize="square", side=64)["val"]
    assert found.values.shape[-2:] == _run(world[0])["val"].values.shape[-2:]


def test_short_side_resizes_what_the_network_sees_not_what_is_stored(world):
    own = _run(world[0])["val"]
    resized = _run(world[0], resize="short_side", side=66)["val"]
    assert resized.values.shape[1:] == own.values.shape[1:]
    assert resized.size == own.size
    assert not np.allclose(own.values[:1], resized.values[:1], atol=1e-2)


def test_weak_classes_are_dropped_but_never_the_best_one():
    values = np.array([0.99, 0.004, 0.006], np.float32)[:, None, None]
    assert strong_classes(values, 0.01).tolist() == [0]
    assert strong_classes(values, 0.005).tolist() == [0, 2]
    flat = np.full((200, 1, 1), 0.005, np.float32)
    assert strong_classes(flat, 0.01).tolist() == [0]


def test_a_classifier_is_refused(world):
    folder, _ = world
    _save(ClassificationNetwork(NETWORK, 2), folder / "weights.safetensors")
    with pytest.raises(PseudomaskError, match="holds no SegmentationNetwork"):
        _run(folder)


@pytest.fixture
def pair(world):
    """The world's network beside another one with the same backbone, in one file."""
    folder, first = world
    second = SegmentationNetwork(NETWORK, 3).eval()
    second.backbone.load_state_dict(first.backbone.state_dict())
    for branch in second.decoder.branches:
        branch.weight.data *= 10
    parts = {f"backbone.{name}": value for name, value in first.backbone.state_dict().items()}
    for number, network in enumerate((first, second)):
        parts |= {f"{number}.decoder.{name}": value for name, value in network.decoder.state_dict().items()}
    card = {"objective": "any", "settings": {"network": NETWORK.model_dump(mode="json")}}
    save_weights(folder / "weights.safetensors", parts, card | {"classes": CLASSES.model_dump(mode="json")})
    return folder


def test_branches_share_a_backbone_and_join_by_mean_or_maximum(pair):
    found = {branch: _run(pair, branch=branch, min_probability=0.0)["val"].values for branch in (0, 1, "mean", "max")}
    assert np.abs(found[0] - found[1]).max() > 0.05
    np.testing.assert_allclose(found["mean"], (found[0] + found[1]) / 2, atol=2e-3)
    np.testing.assert_allclose(found["max"], np.maximum(found[0], found[1]), atol=2e-3)


def test_joining_the_branches_of_a_single_network_is_refused(world):
    with pytest.raises(PseudomaskError, match="holds one network; 'branch: mean'"):
        _run(world[0], branch="mean")


def test_the_tags_can_decide_which_classes_may_occur(world):
    folder, _ = world
    manifest = Manifest.read(folder / "manifest.parquet")
    tagged = tuple(replace(record, tags=(2,)) for record in manifest)
    replace(manifest, records=tagged).write(folder / "manifest.parquet")
    assert 1 in _run(folder, min_probability=0)["val"].classes
    assert _run(folder, min_probability=0, use_tags=True)["val"].classes.tolist() == [0, 2]


def test_use_tags_without_tags_is_explained(world):
    with pytest.raises(PseudomaskError, match="'train' has no tags"):
        _run(world[0], use_tags=True)
