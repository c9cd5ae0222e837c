from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from pipeline.artifacts.boxes import Box
from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.artifacts.masks import MaskStore, MaskWriter
from pipeline.config.classes import ClassTable
from pipeline.config.mdh import HeadsSettings
from pipeline.config.priors import PriorSettings
from pipeline.config.training import AugmentSettings
from pipeline.data.mixed import MixedSamples
from pipeline.data.samples import Normalisation, TrainingSamples
from pipeline.errors import PseudomaskError
from pipeline.methods.mdh import STRONG, WEAK, streams

CLASSES = ClassTable(names=("background", "disc", "square"))
FULL, BOTH = ("f0", "f1", "f2"), STRONG | WEAK


class Names(Dataset):
    """Which image and mask sample n shows, without pixels."""

    def __init__(self, manifest, masks, number):
        self.manifest, self.masks, self.number = manifest, masks, number

    def __getitem__(self, number):
        record = self.manifest.records[number % len(self.manifest)]
        return {"name": record.id, "value": int(self.masks[record.id][0, 0]), "n": number}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Three images with masks of value 1, nine with pseudo-masks of value 2, which the three have as well."""
    folder = tmp_path_factory.mktemp("mixed")
    ids = (*FULL, *(f"w{number}" for number in range(9)))
    for name, chosen, value in (("mask", FULL, 1), ("pseudo", ids, 2)):
        with MaskWriter(folder / f"{name}.h5", CLASSES) as writer:
            for image_id in chosen:
                writer.add(image_id, np.full((20, 20), value, np.uint8))
    for image_id in ids:
        Image.fromarray(np.full((20, 20, 3), 90, np.uint8)).save(folder / f"{image_id}.png")
    manifest = Manifest(CLASSES, tuple(ImageRecord(i, f"{i}.png", ("train",), 20, 20, None) for i in ids))
    return folder, manifest, {name: MaskStore(folder / f"{name}.h5") for name in ("mask", "pseudo")}


def batch_of(world, heads, parts=1, step=0):
    _, manifest, stores = world
    samples = MixedSamples(streams(heads), manifest, stores, parts, Names)
    return [samples[step * heads.images + place] for place in range(heads.images)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"kind": "mixed"}, {("f", STRONG): 28, ("w", BOTH): 4, ("w", WEAK): 28}),
        (
            {"kind": "mixed", "strong_batch": 16, "weak_batch": 16, "shared": False},
            {("f", STRONG): 14, ("w", STRONG): 2, ("w", WEAK): 16},
        ),
        ({"kind": "mixed", "ratio": (5, 3)}, {("f", STRONG): 20, ("w", BOTH): 12, ("w", WEAK): 20}),
        ({"kind": "dual"}, {("f", STRONG): 32, ("w", WEAK): 32}),
        ({"kind": "single", "strong_batch": 24}, {("f", STRONG): 6, ("w", STRONG): 18}),
    ],
)
def test_a_batch_holds_what_the_heads_ask_for(world, settings, expected):
    heads = HeadsSettings(**settings)
    batch = batch_of(world, heads)
    assert Counter((sample["name"][0], int(sample["role"])) for sample in batch) == expected
    assert all(sample["value"] == (1 if sample["name"][0] == "f" else 2) for sample in batch)


def test_micro_batches_have_equal_shares(world):
    batch = batch_of(world, HeadsSettings(), parts=4)
    counts = [Counter(int(s["role"]) for s in batch[start : start + 15]) for start in range(0, 60, 15)]
    assert counts == [{STRONG: 7, BOTH: 1, WEAK: 7}] * 4


def test_streams_go_through_all_their_images(world):
    heads = HeadsSettings(strong_batch=8, weak_batch=6)
    seen = [s["n"] for step in range(3) for s in batch_of(world, heads, step=step) if s["role"] == STRONG]
    assert seen == list(range(21))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": 5}, "28 images of one kind cannot be split over 5"),
        ({"stores": ("mask",)}, "masks 'pseudo', which are not connected"),
        ({"ids": FULL}, "no image has a 'pseudo' to learn from"),
    ],
)
def test_batches_that_cannot_be_made_are_refused(world, change, message):
    _, manifest, stores = world
    kept = {name: stores[name] for name in change.get("stores", stores)}
    if "stores" in change:
        manifest = replace(manifest, records=manifest.records[:3])
    if "ids" in change:
        manifest = replace(manifest, records=tuple(r for r in manifest if r.id in change["ids"]))
    with pytest.raises(PseudomaskError, match=message):
        MixedSamples(streams(HeadsSettings()), manifest, kept, change.get("parts", 1), Names)


def test_an_image_without_any_mask_is_named(world):
    _, manifest, stores = world
    more = replace(manifest, records=(*manifest.records, replace(manifest.records[0], id="lost")))
    with pytest.raises(PseudomaskError, match="'lost' has no mask of any kind"):
        MixedSamples(streams(HeadsSettings()), more, stores, 1, Names)


def training_samples(world, priors, stream=None, boxes=None):
    folder, manifest, stores = world
    return TrainingSamples(
        manifest,
        folder,
        frozenset({"mask"}),
        {"mask": stores["pseudo"]},
        AugmentSettings(long_side=(16, 32), crop=24),
        Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        0,
        priors=priors,
        boxes=boxes,
        stream=stream,
    )


def test_priors_follow_the_colours(world):
    boxes = {image_id: [Box(2, (0, 0, 20, 20))] for image_id in (*FULL, *(f"w{n}" for n in range(9)))}
    sample = training_samples(world, PriorSettings(), boxes=boxes)[0]
    assert sample["image"].shape == (5, 24, 24)
    assert torch.equal(sample["image"][4] == 1, sample["valid"])
    assert (sample["image"][3][~sample["valid"]] == 1).all()
    with pytest.raises(PseudomaskError, match="priors of boxes, which are not connected"):
        training_samples(world, PriorSettings())


def test_streams_have_an_order_of_their_own(world):
    first, second = ([training_samples(world, None, stream).record(n).id for n in range(24)] for stream in (0, 1))
    assert first[:12] != second[:12]
    assert first[:12] != first[12:]
    assert sorted(first[:12]) == sorted(second[12:])
