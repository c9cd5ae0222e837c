import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.manifest import ImageRecord
from pipeline.data.images import image_size, load_preview, load_record, read_image
from pipeline.errors import PseudomaskError

RED = np.zeros((4, 6, 3), np.uint8) + np.array([200, 0, 0], np.uint8)


def saved(tmp_path, picture, name="x.png", **options):
    picture.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    name = "x.tif" if mode == "CMYK" else "x.png"
    picture = Image.fromarray(RED)
    picture = picture.quantize(4) if mode == "P" else picture.convert(mode)
    image = read_image(saved(tmp_path, picture, name), "x")
    assert image.shape == (4, 6, 3)
    assert image.dtype == np.uint8
    if mode not in ("L", "LA", "1"):
        assert np.abs(image.astype(int) - RED).max() <= 3


def test_sixteen_bits_are_scaled(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.array([[0, 32896, 65535]], np.uint16)))
    np.testing.assert_array_equal(read_image(path, "x")[0, :, 0], [0, 128, 255])


def test_transparent_pixels_are_white(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.zeros((2, 2, 4), np.uint8), "RGBA"))
    assert read_image(path, "x").min() == 255


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, Image.fromarray(RED), "x.jpg", exif=exif)
    assert read_image(path, "x").shape == (6, 4, 3)
    assert image_size(path, "x") == (6, 4)


def test_one_pixel_and_a_wrong_extension(tmp_path):
    saved(tmp_path, Image.fromarray(RED[:1, :1]), "x.png").rename(tmp_path / "x.jpg")
    assert read_image(tmp_path / "x.jpg", "x").shape == (1, 1, 3)


def test_twenty_megapixels_are_read(tmp_path):
    path = saved(tmp_path, Image.new("RGB", (5000, 4000)), "x.jpg")
    assert read_image(path, "x").shape == (4000, 5000, 3)


def test_a_truncated_file_is_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), "x.jpg")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(PseudomaskError, match=r"image 'my id' .*x\.jpg.* cannot be read"):
        read_image(path, "my id")


def test_a_replaced_image_is_noticed(tmp_path):
    saved(tmp_path, Image.fromarray(RED))
    with pytest.raises(PseudomaskError, match="is 6x4, the manifest says 7x4"):
        load_record(ImageRecord("x", "x.png", (), 4, 7, None), tmp_path)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_preview_is_the_image_decoded_smaller(tmp_path, orientation):
    ramp = np.linspace(0, 255, 320).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    saved(tmp_path, Image.fromarray(np.broadcast_to(ramp, (160, 320)).copy()), "x.jpg", exif=exif)
    height, width = image_size(tmp_path / "x.jpg", "x")
    record = ImageRecord("x", "x.jpg", ("train",), height, width, None)
    preview, whole = load_preview(record, tmp_path, 60), load_record(record, tmp_path)
    assert preview.shape == (height // 4, width // 4, 3)
    assert np.abs(preview.astype(int) - whole[2::4, 2::4]).max() < 8
    assert load_preview(record, tmp_path, 500).shape == whole.shape


def test_a_preview_of_another_size_than_the_manifest_says_is_refused(tmp_path):
    saved(tmp_path, Image.fromarray(RED))
    with pytest.raises(PseudomaskError, match="is 6x4, the manifest says 5x4"):
        load_preview(ImageRecord("x", "x.png", ("train",), 4, 5, None), tmp_path, 3)
