import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pipeline.artifacts.manifest import ImageRecord
from pipeline.config.inference import MultiScaleSettings
from pipeline.config.network import NetworkSettings
from pipeline.config.runtime import RuntimeSettings
from pipeline.errors import PseudomaskError
from pipeline.nets.device import find_device
from pipeline.nets.inference import ViewMaker, join_mirrored, read_images, strided_size

CPU = RuntimeSettings(device="cpu", threads=1)
HALF = NetworkSettings(mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 0.5))


def _image(height: int = 31, width: int = 45) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def _views(image, scales=(1.0,), flip=False, multiple=1, size=None):
    maker = ViewMaker(nn.Conv2d(3, 1, 1), HALF, multiple, CPU)
    return list(maker.of(image, MultiScaleSettings(scales=scales, flip=flip), size))


def test_the_image_itself_is_only_normalised():
    image = _image()
    (view,) = _views(image)
    expected = (image.transpose(2, 0, 1) / 255 - 0.5) / np.array([0.5, 0.25, 0.5])[:, None, None]
    np.testing.assert_allclose(view[0].numpy(), expected, atol=1e-5)


def test_scaled_views_equal_pils_bicubic():
    image = _image()
    (view,) = _views(image, scales=(0.5,))
    expected = np.asarray(Image.fromarray(image).resize((22, 16), Image.Resampling.BICUBIC)) / 127.5 - 1
    assert view.shape == (1, 3, 16, 22)
    assert np.abs(view[0, 0].numpy() - expected[:, :, 0]).max() < 0.01


def test_flip_makes_pairs():
    (view,) = _views(_image(), flip=True)
    assert torch.equal(view[1], view[0].flip(-1))


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"scales": (2.0,)}, (62, 90)),
        ({"multiple": 16}, (32, 48)),
        ({"multiple": 16, "scales": (0.1,)}, (16, 16)),
        ({"size": (62, 90)}, (62, 90)),
        ({"scales": (0.01,)}, (1, 1)),
    ],
)
def test_sizes(options, shape):
    (view,) = _views(_image(), **options)
    assert tuple(view.shape[-2:]) == shape


def test_joining_mirrored_maps_mirrors_back():
    maps = torch.arange(6.0).view(1, 1, 2, 3)
    assert torch.equal(join_mirrored(torch.cat([maps, maps.flip(-1)])), maps[0])
    assert torch.equal(join_mirrored(maps), maps[0])


def test_strided_size_rounds_up():
    assert strided_size((31, 44), 4) == (8, 11)


def test_cuda_where_there_is_none_is_explained(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PseudomaskError, match="finds no CUDA device"):
        find_device(RuntimeSettings(device="cuda"))
    assert find_device(RuntimeSettings(device="auto")).type == "cpu"


def test_images_are_read_ahead_in_order(tmp_path, caplog):
    caplog.set_level("INFO")
    records = []
    for number in range(7):
        Image.fromarray(np.full((4, 5, 3), number, np.uint8)).save(tmp_path / f"{number}.png")
        records.append(ImageRecord(f"id{number}", f"{number}.png", (), 4, 5, ()))
    read = list(read_images(records, tmp_path, "stage"))
    assert [record.id for record, _ in read] == [record.id for record in records]
    assert [int(image[0, 0, 0]) for _, image in read] == list(range(7))
    assert "stage: 7 images in" in caplog.text


def test_an_unreadable_image_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(PseudomaskError, match="broken"):
        list(read_images([ImageRecord("broken", "a.png", (), 4, 5, ())], tmp_path, "stage"))
