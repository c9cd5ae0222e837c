import base64
import io
import json
import zlib

import numpy as np
import pytest
from PIL import Image
from scenes import CLASSES, Scenes, data_of

from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.masks import MaskStore
from pipeline.artifacts.scores import ScoreStore
from pipeline.errors import PseudomaskError
from pipeline.evaluation.confusion import confusion_of, joint_counts
from pipeline.evaluation.metrics import mean_iou
from pipeline.report.gallery import Sources, last_iou, make_gallery


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return Scenes(tmp_path_factory.mktemp("scenes"), 70)


def sources(scenes, **changes):
    records = Manifest.read(scenes.folder / "data/manifest.parquet").records
    masks = {name: MaskStore(path) for name, path in scenes.masks().items()}
    truth, scores = MaskStore(scenes.folder / "truth/masks.h5"), ScoreStore(scenes.folder / "scores.h5")
    return Sources(**{"records": records, "classes": CLASSES, "root": scenes.folder, "masks": masks, "truth": truth,
                      "scores": scores} | changes)  # fmt: skip


def gallery(scenes, side=64, megabytes=10, threads=2, **changes):
    return make_gallery(sources(scenes, **changes), side, megabytes, threads, lambda items, _: items)


def unpacked(document):
    """Picture and layers of every image, read as the page reads them."""
    images, found = document["images"], []
    ends = [block["first"] for block in document["blocks"][1:]] + [len(images["id"])]
    for block, end in zip(document["blocks"], ends, strict=True):
        pictures = io.BytesIO(base64.b64decode(block["pictures"]))
        layers = io.BytesIO(zlib.decompress(base64.b64decode(block["layers"])))
        for number in range(block["first"], end):
            width, height = images["shape"][number]
            picture = Image.open(io.BytesIO(pictures.read(images["bytes"][number])))
            assert picture.size == (width, height)
            own = {}
            for name, store in document["stores"].items():
                if store["classes"][number] is not None:
                    own[name] = np.frombuffer(layers.read(width * height), np.uint8).reshape(height, width)
            if images["heat"][number]:
                across, down = -(-width // 2), -(-height // 2)
                own["heat"] = np.frombuffer(layers.read(across * down), np.uint8).reshape(down, across)
            found.append(own)
        assert not layers.read()
        assert not pictures.read()
    return found


def test_every_image_and_mask_comes_back(scenes):
    made = gallery(scenes)
    assert made.side == 64
    assert made.shown == 70
    # Pictures smaller than the limit keep their size, and so their masks come back bit for bit.
    for number, own in enumerate(unpacked(made.document)):
        np.testing.assert_array_equal(own["truth"], scenes.truth(number))
        np.testing.assert_array_equal(own["pseudo-mask"], scenes.refined(number))
        assert own["heat"].max() == 14  # 0.95 of 15 levels, rounded
        assert own["heat"].shape == (12, 16)
    assert made.document["images"]["tags"][4] == [2]
    assert made.document["splits"] == ["train", "val"]


def test_facts_are_those_of_the_masks_in_full_size(scenes):
    made = gallery(scenes, side=40)
    for number in range(70):
        truth, mask = scenes.truth(number), scenes.refined(number)
        expected = mean_iou(confusion_of(joint_counts(truth, mask), 4, 255, "background"))
        assert made.columns["pseudo-mask"].iou[number] == pytest.approx(expected)
        assert made.document["stores"]["pseudo-mask"]["iou"][number] == round(1000 * expected)
        assert made.document["stores"]["truth"]["ignored"][number] == round(1000 / 24)
        assert made.document["stores"]["pseudo-mask"]["classes"][number] == np.unique(mask[mask > 0]).tolist()
    np.testing.assert_array_equal(last_iou(made.columns), made.columns["pseudo-mask"].iou)
    # Half of the confidence lies at zero, where there is no object.
    assert made.confidence.sum() == pytest.approx(1)
    assert made.confidence[19] == pytest.approx(np.mean([(scenes.truth(n)[::4, ::4] > 0).mean() for n in range(70)]))


def test_warnings_count_what_looks_wrong(scenes):
    made = gallery(scenes)
    records = sources(scenes).records
    empty = [n for n in range(70) if n % 10 == 0]
    too_many = [n for n in range(70) if n % 10 and n % 7 == 0 and scenes.label(n) != 2]
    expected = {"empty": len(empty), "tags": len(empty), "pixels": len(too_many)}
    assert made.columns["pseudo-mask"].warnings(records) == expected


def test_pictures_shrink_until_the_document_fits(scenes, tmp_path):
    large = Scenes(tmp_path, 60, (96, 128))
    generous = gallery(large, 128, 10)
    budget = 0.7e-6 * len(json.dumps(generous.document))
    narrow = gallery(large, 128, budget)
    assert generous.side == 128
    assert len(json.dumps(narrow.document)) <= 1e6 * budget
    assert 40 <= narrow.side < 128
    assert narrow.shown == 60
    sizes = [narrow.document["images"]["shape"], generous.document["images"]["shape"]]
    assert [max(map(max, shapes)) for shapes in sizes] == [narrow.side, 128]


def test_where_not_all_fit_the_worst_and_the_best_are_among_those_shown(scenes):
    made = gallery(scenes, megabytes=0.02)
    assert made.side == 40
    assert 9 <= made.shown < 70
    assert len(unpacked(made.document)) == made.shown
    iou = made.columns["pseudo-mask"].iou
    assert len(iou) == 70
    shown = [scenes.ids.index(image_id) for image_id in made.document["images"]["id"]]
    assert shown == sorted(shown)
    order = np.argsort(iou, kind="stable")
    third = made.shown // 3
    assert set(order[:third]) | set(order[-third:]) <= set(shown)


def test_threads_change_nothing(scenes):
    assert gallery(scenes, threads=1).document == gallery(scenes, threads=3).document


def test_clicks_stay_visible_in_small_pictures(tmp_path):
    scenes = Scenes(tmp_path, 2, (200, 300))
    from pipeline.artifacts.masks import MaskWriter

    with MaskWriter(tmp_path / "clicks.h5", CLASSES, stage="s") as writer:
        mask = np.full((200, 300), 255, np.uint8)
        mask[77, 111] = 2
        writer.add(scenes.ids[0], mask)
    found = gallery(scenes, side=50, masks={"clicks": MaskStore(tmp_path / "clicks.h5")})
    small = unpacked(found.document)[0]["clicks"]
    assert (small == 2).any()
    assert found.document["stores"]["clicks"]["classes"][1] is None


def test_without_images_it_says_so(scenes):
    with pytest.raises(PseudomaskError, match="nothing to show"):
        gallery(scenes, records=())


def test_the_page_names_commands_files_and_numbers(scenes):
    page = scenes.page()
    text, data = page.read_text(), data_of(page)
    assert data["commands"]["CAM"].endswith("CAM/masks.h5")
    assert data["commands"]["activation"].endswith("scores.h5")
    assert [entry["name"] for entry in data["entries"]][1] == "CAM"
    assert "coverage" in data["entries"][1]["per_class"]
    assert data["gallery"]["images"]["path"][3] == "photos/3.jpg"
    for heading in ("Results", "Classes", "Images", "Curves", "Distributions", "Warnings"):
        assert f"<h2>{heading}</h2>" in text
    assert page.with_name("sheet.jpg").stat().st_size > 1000
    again = page.read_bytes()
    page.unlink()
    assert scenes.page().read_bytes() == again


def test_without_truth_it_says_so(scenes):
    text = scenes.page(truth=False).read_text()
    assert "nothing was measured" in text
    assert "<h2>Classes</h2>" not in text
