import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from pipeline.artifacts.checkpoint import save_weights
from pipeline.cli import app
from pipeline.config.classes import ClassTable
from pipeline.config.network import NetworkSettings
from pipeline.errors import PseudomaskError
from pipeline.nets.exported import load_segmenter
from pipeline.nets.segmentation import SegmentationNetwork
from pipeline.predict import find_images

CLASSES = ClassTable(names=("background", "disc", "square"))
NETWORK = NetworkSettings(backbone="mobilenetv2_035", decoder="deeplabv2")
run = CliRunner().invoke


@pytest.fixture
def world(tmp_path):
    torch.manual_seed(0)
    network = SegmentationNetwork(NETWORK, 3).eval()
    for branch in network.decoder.branches:
        branch.weight.data *= 10
    card = {"objective": "any", "settings": {"network": NETWORK.model_dump(mode="json")}}
    weights = tmp_path / "weights.safetensors"
    save_weights(weights, network.state_dict(), card | {"classes": CLASSES.model_dump(mode="json")})
    random, photos = np.random.default_rng(0), tmp_path / "photos"
    photos.mkdir()
    for name, size in (("first.jpg", (48, 64)), ("second one.png", (33, 47))):
        Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).save(photos / name)
    (photos / "notes.txt").write_text("no image")
    return weights, photos, tmp_path / "out"


def test_a_folder_of_images_becomes_palette_masks(world):
    weights, photos, out = world
    done = run(app, ["predict", str(weights), str(photos), "-o", str(out), "--overlay", "--flip", "--scales", "0.5,1"])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in out.iterdir()) == [
        "first.overlay.jpg",
        "first.png",
        "second one.overlay.jpg",
        "second one.png",
    ]
    with Image.open(out / "second one.png") as picture:
        assert (picture.mode, picture.size) == ("P", (47, 33))
        assert picture.getpalette()[3:6] == CLASSES.palette[1].tolist()
        assert set(np.unique(picture)) <= {0, 1, 2}
    assert "1/2  first.jpg" in done.output
    assert "%" in done.output


def test_the_mask_is_that_of_the_network(world):
    weights, photos, out = world
    assert run(app, ["predict", str(weights), str(photos / "first.jpg"), "-o", str(out)]).exit_code == 0
    network, settings, _ = load_segmenter(weights)
    pixels = torch.from_numpy(np.array(Image.open(photos / "first.jpg"))).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (settings.mean, settings.std))
    with torch.inference_mode():
        logits = torch.nn.functional.interpolate(
            network.eval()((pixels - mean) / std), (48, 64), mode="bilinear", align_corners=False
        )
    agree = np.array(Image.open(out / "first.png")) == logits.argmax(1)[0].numpy()
    assert agree.mean() > 0.9  # probabilities are interpolated from every fourth pixel, logits here from the network's


def test_a_crf_changes_the_mask(world):
    weights, photos, out = world
    for name, options in (("plain", []), ("crf", ["--crf", "psa"])):
        assert run(app, ["predict", str(weights), str(photos), "-o", str(out / name), *options]).exit_code == 0
    plain, refined = (np.array(Image.open(out / name / "first.png")) for name in ("plain", "crf"))
    assert (plain != refined).any()


def test_mistakes_are_named(world):
    weights, photos, out = world
    for arguments, message in (
        ([str(photos / "absent.jpg")], "absent.jpg does not exist"),
        ([str(photos), "--scales", "0,x"], "multi_scale.scales.0"),
        ([str(photos), "--crf", "best"], "preset"),
        ([str(photos), "--branch", "mean"], "holds one network"),
        ([str(photos / "notes.txt")], "notes.txt"),
    ):
        done = run(app, ["predict", str(weights), *arguments, "-o", str(out)])
        assert isinstance(done.exception, PseudomaskError), done.output
        assert message in str(done.exception)


def test_two_images_of_one_name_are_refused(tmp_path):
    for name in ("a.jpg", "a.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(PseudomaskError, match=r"a\.jpg and .*a\.png would both become a\.png"):
        find_images([tmp_path])
    assert find_images([tmp_path / "a.jpg"]) == [tmp_path / "a.jpg"]
