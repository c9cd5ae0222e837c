import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from pipeline.artifacts.checkpoint import save_weights
from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.artifacts.scores import ScoreStore
from pipeline.config.classes import ClassTable
from pipeline.config.inference import MultiScaleSettings
from pipeline.config.network import NetworkSettings
from pipeline.config.runtime import RuntimeSettings
from pipeline.errors import PseudomaskError
from pipeline.nets.classification import ClassificationNetwork
from pipeline.nets.segmentation import SegmentationNetwork
from pipeline.stages.infer_cams import Inputs, Outputs, Settings, run

CLASSES = ClassTable(names=("background", "disc", "square", "star"))
NETWORK = NetworkSettings(backbone="mobilenetv2_035")
TAGS = {"a": (3, 1), "b": (), "c": None, "d": (2,)}


def _save(network, path, classes=CLASSES):
    card = {"objective": "any", "settings": {"network": NETWORK.model_dump(mode="json")}}
    save_weights(path, network.state_dict(), card | {"classes": classes.model_dump(mode="json")})


@pytest.fixture
def world(tmp_path):
    """Four images of odd sizes, with two, no, unknown and one tag, and an untrained classifier."""
    torch.manual_seed(0)
    network = ClassificationNetwork(NETWORK, 3).eval()
    _save(network, tmp_path / "weights.safetensors")
    random, records = np.random.default_rng(0), []
    for number, (name, tags) in enumerate(TAGS.items()):
        height, width = 37 + number, 50
        image = random.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / f"{name}.png")
        splits = ("train",) if tags is not None else ("other",)
        records.append(ImageRecord(name, f"{name}.png", splits, height, width, tags))
    Manifest(CLASSES, tuple(records)).write(tmp_path / "manifest.parquet")
    return tmp_path, network


def _run(folder, shard=(0, 1), **settings):
    runtime = RuntimeSettings(device="cpu", threads=1, data_root=folder)
    outputs = Outputs(folder / f"scores-{len(list(folder.glob('*.h5')))}.h5")
    inputs = Inputs(folder / "manifest.parquet", folder / "weights.safetensors")
    run(Settings(**settings), inputs, outputs, Job("cams", "0" * 16, runtime, folder, shard))
    return ScoreStore(outputs.scores)


def _slow_cams(network, image, classes, scales, size):
    """Sum over scales and mirror images of ReLU(classifier x features), then division by the maximum."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (NETWORK.mean, NETWORK.std))
    total = torch.zeros(len(classes), *size)
    for scale in scales:
        sides = [round(side * scale) for side in image.shape[:2]]
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        resized = F.interpolate(pixels, sides, mode="bicubic", antialias=True).clamp(0, 255)[0] / 255
        for mirrored in (False, True):
            view = ((resized - mean) / std).flip(-1) if mirrored else (resized - mean) / std
            features = network.backbone(view[None])[-1][0]
            for row, index in enumerate(classes):
                weight = network.classifier.weight[index - 1]
                cam = F.relu((weight * features).sum(0))
                cam = F.interpolate(cam[None, None], size, mode="bilinear", align_corners=False)[0, 0]
                total[row] += cam.flip(-1) if mirrored else cam
    return total / (total.amax((1, 2), keepdim=True) + 1e-5)


@pytest.mark.parametrize(("stride", "size"), [(4, (10, 13)), (1, (37, 50))])
def test_maps_equal_a_slow_reference(world, stride, size):
    folder, network = world
    scores = _run(folder, stride=stride)["a"]
    image = np.array(Image.open(folder / "a.png"))
    with torch.inference_mode():
        expected = _slow_cams(network, image, [1, 3], (0.5, 1.0, 1.5, 2.0), size)
    np.testing.assert_allclose(scores.values, expected.numpy(), atol=2e-3)
    assert scores.classes.tolist() == [1, 3]
    assert (scores.size, scores.kind) == ((37, 50), "cam")


def test_only_tagged_images_get_maps_and_only_of_their_tags(world):
    store = _run(world[0])
    assert store.ids == ("a", "b", "d")
    assert [store[name].classes.tolist() for name in store.ids] == [[1, 3], [], [2]]
    assert store["b"].values.shape == (0, 10, 13)


def test_predicted_classes_need_no_tags_and_follow_the_threshold(world):
    everything = _run(world[0], classes="predicted", threshold=1e-6)
    nothing = _run(world[0], classes="predicted", threshold=1 - 1e-6)
    assert everything.ids == ("a", "b", "c", "d")
    assert everything["c"].classes.tolist() == [1, 2, 3]
    assert nothing["c"].classes.tolist() == []


def test_a_map_that_is_nowhere_positive_stays_zero(world):
    folder, network = world
    network.classifier.weight.data[1] = 0
    _save(network, folder / "weights.safetensors")
    assert not _run(folder)["d"].values.any()


def test_scales_and_flip_matter(world):
    maps = [
        _run(world[0], multi_scale=MultiScaleSettings(scales=scales, flip=flip))["a"].values
        for scales, flip in [((1.0,), False), ((1.0,), True), ((1.0, 2.0), False)]
    ]
    assert not np.allclose(maps[0], maps[1], atol=1e-2)
    assert not np.allclose(maps[0], maps[2], atol=1e-2)


def test_shards_share_the_images(world):
    whole, first, second = _run(world[0]), _run(world[0], (0, 2)), _run(world[0], (1, 2))
    assert first.ids + second.ids == whole.ids
    np.testing.assert_array_equal(second["d"].values, whole["d"].values)


def test_a_split_with_untagged_images_is_explained(world):
    with pytest.raises(PseudomaskError, match="image 'c' of split 'other' has no tags"):
        _run(world[0], split="other")
    assert _run(world[0], split="other", classes="predicted").ids == ("c",)


def test_a_network_for_other_classes_is_refused(world):
    folder, network = world
    _save(network, folder / "weights.safetensors", ClassTable(names=("background", "disc", "ring", "star")))
    with pytest.raises(PseudomaskError, match="class 2 of the data set is 'square', of the network 'ring'"):
        _run(folder)


def test_a_segmenter_is_refused(world):
    folder, _ = world
    _save(SegmentationNetwork(NETWORK, 4), folder / "weights.safetensors")
    with pytest.raises(PseudomaskError, match="holds no ClassificationNetwork"):
        _run(folder)


def test_a_card_without_network_is_refused(world):
    folder, network = world
    save_weights(folder / "weights.safetensors", network.state_dict(), {"objective": "any", "settings": {}})
    with pytest.raises(PseudomaskError, match="does not describe a network"):
        _run(folder)
