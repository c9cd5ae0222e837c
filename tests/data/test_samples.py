import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.artifacts.masks import MaskStore, MaskWriter
from pipeline.config.classes import ClassTable
from pipeline.config.training import AugmentSettings
from pipeline.data.augment import augment, scatter
from pipeline.data.samples import Normalisation, TrainingSamples, collate
from pipeline.errors import PseudomaskError

CLASSES = ClassTable(names=("background", "cat", "dog"))
PLAIN = AugmentSettings(long_side=None, crop=16, flip=0)


@pytest.fixture
def manifest(tmp_path):
    records = []
    with MaskWriter(tmp_path / "m.h5", CLASSES) as writer:
        for number in range(5):
            pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{number}.png")
            records.append(ImageRecord(str(number), f"{number}.png", ("train",), 16, 16, (1 + number % 2,)))
            writer.add(str(number), np.full((16, 16), 1 + number % 2, np.uint8))
    return Manifest(CLASSES, tuple(records))


def samples(manifest, tmp_path, augmentation=PLAIN, seed=0, fields=frozenset({"tags", "mask"})):
    normal = Normalisation((0.5,) * 3, (0.5,) * 3)
    return TrainingSamples(
        manifest, tmp_path, fields, {"mask": MaskStore(tmp_path / "m.h5")}, augmentation, normal, seed
    )


def test_an_epoch_shows_every_image_once_and_the_next_in_another_order(manifest, tmp_path):
    data = samples(manifest, tmp_path)
    orders = [[data.record(epoch * 5 + n).id for n in range(5)] for epoch in range(4)]
    assert all(sorted(order) == list("01234") for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    assert [data.record(n).id for n in range(5)] == orders[0]


def test_fields_are_normalised_and_agree(manifest, tmp_path):
    data = samples(manifest, tmp_path)
    for number in range(5):
        sample = data[number]
        record = data.record(number)
        image = np.asarray(Image.open(tmp_path / record.path), np.float32)
        np.testing.assert_allclose(sample["image"].permute(1, 2, 0).numpy(), image / 127.5 - 1, atol=1e-5)
        assert sample["tags"].tolist() == [float(1 in record.tags), float(2 in record.tags)]
        assert sample["mask"].unique().tolist() == list(record.tags)


def test_a_sample_is_the_same_whenever_it_is_made(manifest, tmp_path):
    wild = AugmentSettings(long_side=(16, 40), crop=24, brightness=0.5, contrast=0.5, saturation=0.5)
    first, second = samples(manifest, tmp_path, wild), samples(manifest, tmp_path, wild)
    second[3], second[11]
    assert (first[7]["image"] == second[7]["image"]).all()
    assert not (first[7]["image"] == samples(manifest, tmp_path, wild, seed=1)[7]["image"]).all()


def test_image_mask_and_validity_move_together():
    """A mask that marks the bright pixels still marks them after any geometric change; padding is ignored."""
    image = np.zeros((30, 50, 3), np.uint8)
    image[5:20, 10:35] = 255
    mask = (image[..., 0] > 0).astype(np.uint8)
    settings = AugmentSettings(long_side=(25, 90), crop=48)
    fill = np.full(3, 128, np.uint8)
    for seed in range(30):
        found = augment(image, {"mask": mask}, settings, fill, 255, np.random.default_rng(seed))
        assert found.image.shape == (48, 48, 3)
        np.testing.assert_array_equal(found.masks["mask"] == 255, ~found.valid)
        assert (found.image[~found.valid] == 128).all()
        inside = found.valid & (np.abs(found.image[..., 0].astype(int) - 127) > 100)
        np.testing.assert_array_equal(found.masks["mask"][inside] == 1, found.image[inside][:, 0] > 127)


def test_missing_tags_and_masks_are_named(manifest, tmp_path):
    bare = Manifest(CLASSES, (ImageRecord("9", "0.png", ("train",), 16, 16, None),))
    with pytest.raises(PseudomaskError, match="'9' has no tags"):
        samples(bare, tmp_path)
    with pytest.raises(PseudomaskError, match="'9' has no 'mask'"):
        samples(bare, tmp_path, fields=frozenset({"mask"}))
    with pytest.raises(PseudomaskError, match="no image to train on"):
        samples(Manifest(CLASSES, ()), tmp_path)


def test_every_click_survives_shrinking_when_masks_are_scattered():
    clicks = np.full((40, 60), 255, np.uint8)
    places = [(0, 0, 1), (39, 59, 2), (17, 31, 0), (20, 5, 1)]
    for row, column, label in places:
        clicks[row, column] = label
    small = scatter(clicks, (15, 10), 255)
    assert small.shape == (10, 15)
    kept = {(int(r), int(c), int(small[r, c])) for r, c in np.argwhere(small != 255)}
    assert kept == {(r // 4, c // 4, v) for r, c, v in places}
    large = scatter(clicks, (120, 80), 255)
    assert (large != 255).sum() == 4
    image, fill = np.zeros((40, 60, 3), np.uint8), np.zeros(3, np.uint8)
    counts = {}
    for how in ("nearest", "scatter"):
        settings = AugmentSettings(long_side=(20, 20), crop=20, flip=0, mask_resize=how)
        sample = augment(image, {"mask": clicks}, settings, fill, 255, np.random.default_rng(0))
        counts[how] = int((sample.masks["mask"] != 255).sum())
    assert counts["scatter"] == 4
    assert counts["nearest"] < 4


def test_short_side_and_blur():
    image, fill = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8), np.zeros(3, np.uint8)
    plain = AugmentSettings(long_side=None, short_side=(80, 80), crop=128, flip=0)
    sample = augment(image, {}, plain, fill, 255, np.random.default_rng(0))
    assert sample.valid.any(1).sum() == 80
    assert sample.valid.any(0).sum() == 120
    sharp = AugmentSettings(long_side=None, crop=40, flip=0)
    blurred = augment(image, {}, sharp.model_copy(update={"blur": 1.0}), fill, 255, np.random.default_rng(0))
    assert blurred.image.std() < augment(image, {}, sharp, fill, 255, np.random.default_rng(0)).image.std()


def test_the_first_samples_of_a_micro_batch_have_a_partner_of_a_class(manifest, tmp_path):
    normal = Normalisation((0.5,) * 3, (0.5,) * 3)
    data = TrainingSamples(manifest, tmp_path, frozenset({"tags"}), {}, PLAIN, normal, 0, partners=2, micro_batch=4)
    partners = set()
    for number in range(40):
        sample = data[number]
        assert ("partner_image" in sample) == (number % 4 < 2)
        if number % 4 < 2:
            assert sample["partner_tags"].tolist() == sample["tags"].tolist()
            assert torch.equal(sample["partner_image"], data[number]["partner_image"])
            partners.add(float(sample["partner_image"].sum()))
    assert len(partners) == 5
    batch = collate([data[number] for number in range(4)])
    assert {name: len(values) for name, values in batch.items()} == {
        **dict.fromkeys(("image", "valid", "tags"), 4),
        **dict.fromkeys(("partner_image", "partner_valid", "partner_tags"), 2),
    }
    assert torch.equal(batch["partner_image"][1], data[1]["partner_image"])
