"""Every preset plans its whole graph over miniatures of the layouts: files exist, their content is not needed."""

import json

import pytest
import yaml
from conftest import ROOT, Workflow

from pipeline.config.public_weights import public_weights

CONFIGS = ROOT / "configs"
PRESETS = sorted(
    path.relative_to(CONFIGS).as_posix()
    for folder in ("voc", "coco", "cocostuff")
    for path in CONFIGS.glob(f"{folder}/*")
)
LISTS = {"train_aug": "a b c", "train": "a b", "val": "v"}


def touch(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_coco(folder, images, split, prefix):
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]
    record = {"id": 7, "file_name": f"{prefix}7.jpg", "height": 8, "width": 8}
    annotation = {"id": 1, "image_id": 7, "category_id": 2, "bbox": [0, 0, 4, 4], "iscrowd": 0, "segmentation": []}
    content = {"images": [record], "annotations": [annotation], "categories": categories}
    touch(folder / f"annotations/instances_{split}.json", json.dumps(content))
    touch(folder / images / record["file_name"])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for name, ids in LISTS.items():
        touch(root / f"VOC2012/ImageSets/Segmentation/{name}.txt", "\n".join(ids.split()) + "\n")
        for image_id in ids.split():
            for file in (
                f"JPEGImages/{image_id}.jpg",
                f"Annotations/{image_id}.xml",
                f"SegmentationClassAug/{image_id}.png",
            ):
                touch(root / "VOC2012" / file)
    for name in ("train", "test"):
        touch(root / f"cocostuff10k/imageLists/{name}.txt", f"{name}1\n")
        touch(root / f"cocostuff10k/images/{name}1.jpg")
        touch(root / f"cocostuff10k/masks-voc/{name}1.png")
    for split in ("train2014", "val2014"):
        write_coco(root / "coco2014", "images", split, f"COCO_{split}_")
    write_coco(root / "coco2017", "train2017", "train2017", "")
    for folder in yaml.safe_load((CONFIGS / "voc/asdt-caltech.yaml").read_text())["extra"]["folders"]:
        touch(root / "256_ObjectCategories" / folder / "001_0001.jpg")
    for name in (
        "clicks/voc_whats_the_point.json",
        "clicks/voc_whats_the_point_bg_from_scribbles.json",
        "scribbles/a.xml",
    ):
        touch(root / name)
    for name in public_weights():
        touch(root / f"weights/{name}.safetensors", name)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_the_graph_can_be_planned(preset, data, tmp_path):
    workflow = Workflow(tmp_path, f"configs/{preset}")
    workflow.data = data
    assert {"evaluation_table", "report_the_run"} <= workflow.planned()
