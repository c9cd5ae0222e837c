"""Data set files: categories of other data sets mean the classes they are mapped to."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config.data import DataSettings
from pipeline.config.load import load_data, load_run, read_yaml
from pipeline.data.importing import import_boxes, import_manifest, import_masks

CONFIGS = Path(__file__).parents[2] / "configs"
COCO = (
    "person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant stop_sign "
    "parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag "
    "tie suitcase frisbee skis snowboard sports_ball kite baseball_bat baseball_glove skateboard surfboard "
    "tennis_racket bottle wine_glass cup fork knife spoon bowl banana apple sandwich orange broccoli carrot "
    "hot_dog pizza donut cake chair couch potted_plant bed dining_table toilet tv laptop mouse remote keyboard "
    "cell_phone microwave oven toaster sink refrigerator book clock vase scissors teddy_bear hair_drier "
    "toothbrush"
)


def categories():
    """COCO's 80 names in their order."""
    return [name.replace("_", " ") for name in COCO.split()]


@pytest.fixture
def coco(tmp_path):
    """Two images in COCO's layout: one with a couch and a crowd of people, one with nothing but a kite."""
    numbers = {name: number for number, name in enumerate(categories(), 1)}
    records = [{"id": n, "file_name": f"{n:012}.jpg", "height": 6, "width": 10} for n in (1, 2, 3)]
    square = {"bbox": [2, 1, 4, 3], "segmentation": [[2, 1, 6, 1, 6, 4, 2, 4]], "area": 12, "iscrowd": 0}
    crowd = {"bbox": [0, 0, 1, 6], "segmentation": {"counts": [0, 6, 54], "size": [6, 10]}, "area": 6, "iscrowd": 1}
    annotations = [
        {"id": 1, "image_id": 1, "category_id": numbers["couch"], **square},
        {"id": 2, "image_id": 1, "category_id": numbers["person"], **crowd},
        {"id": 3, "image_id": 2, "category_id": numbers["kite"], **square},
    ]
    content = {"images": records, "annotations": annotations}
    content["categories"] = [{"id": number, "name": name} for name, number in numbers.items()]
    for root, images, splits in (
        ("coco2014", "images", ("train2014", "val2014")),
        ("coco2017", "train2017", ("train2017",)),
    ):
        (tmp_path / root / images).mkdir(parents=True)
        (tmp_path / root / "annotations").mkdir()
        for record in records:
            Image.new("RGB", (10, 6)).save(tmp_path / root / images / record["file_name"])
        for split in splits:
            (tmp_path / root / f"annotations/instances_{split}.json").write_text(json.dumps(content))
    return tmp_path


def test_coco14_has_81_classes_and_no_image_without_an_object(coco):
    data = load_data(read_yaml(CONFIGS / "datasets/coco.yaml"))
    manifest, _ = import_manifest(data, coco)
    assert len(manifest.classes) == 81
    assert [record.id for record in manifest.split("train")] == ["000000000001", "000000000002"]
    masks = dict(import_masks(data, coco, manifest))
    names = manifest.classes.names
    mask = masks["000000000001"]
    assert mask.shape == (6, 10)
    assert (mask[1:4, 2:6] == names.index("couch")).all()
    assert names[masks["000000000002"].max()] == "kite"
    assert np.unique(mask[:, 6:]).tolist() == [0]


def test_coco17_keeps_the_20_classes_of_voc_with_their_boxes(coco):
    data = load_data(read_yaml(CONFIGS / "datasets/coco17.yaml"))
    manifest, _ = import_manifest(data, coco)
    assert [record.id for record in manifest] == ["000000000001"], "a kite is none of them"
    boxes = import_boxes(data, coco, manifest)["000000000001"]
    assert ("sofa", (2, 1, 6, 4)) in [(manifest.classes.names[box.class_index], box.corners) for box in boxes]


def test_every_class_of_voc_is_a_category_of_coco():
    data = load_data(read_yaml(CONFIGS / "datasets/coco17.yaml"))
    meant = {data.aliases.get(name, name) for name in categories()}
    assert set(data.classes.names) - meant == {"background"}
    finetune = load_run(read_yaml(CONFIGS / "voc/mdh-coco.yaml"), CONFIGS).finetune
    assert finetune.data == data


def test_folders_of_caltech_256_are_mapped_to_classes_once():
    config = load_run(read_yaml(CONFIGS / "voc/asdt-caltech.yaml"), CONFIGS)
    numbers = [re.fullmatch(r"(\d{3})\.[a-z0-9-]+", folder)[1] for folder in config.extra.folders]
    assert len(set(numbers)) == len(numbers)
    assert all(1 <= int(number) <= 257 for number in numbers)
    assert set(config.extra.folders.values()) < set(config.data.classes.names) - {"background"}


def test_true_masks_may_come_later_without_importing_images_again():
    given = {"source": "csv", "splits": {"train": "train.txt"}, "classes": {"names": ["background", "cat"]}}
    table = DataSettings(**given, tags="table", table="tags.csv")
    assert table.model_copy(update={"masks": "true", "boxes": "xml"}).of_images == table.of_images
    assert table.model_copy(update={"table": "other.csv"}).of_images != table.of_images
    for kind in ("masks", "boxes"):
        tagged = DataSettings(**given, tags=kind)
        assert tagged.model_copy(update={kind: "others"}).of_images != tagged.of_images
