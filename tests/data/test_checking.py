import pytest

from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.config.classes import ClassTable
from pipeline.data.checking import check_lines

CLASSES = ClassTable(names=("background", "cat", "dog"))


def manifest(**splits):
    records = (
        ImageRecord(name, f"{name}.jpg", tuple(inside.split("+")), 4, 4, (1,)) for name, inside in splits.items()
    )
    return Manifest(CLASSES, tuple(records))


@pytest.mark.parametrize(
    ("published", "said"),
    [
        ({}, "split train: 2 images"),
        ({"train": 2}, "split train: 2 images (published: 2)"),
        ({"train": 3}, "split train: 2 images (published: 3, which differs: are the lists the usual ones?)"),
        ({"train": "~3"}, "split train: 2 images (published: ~3)"),
    ],
)
def test_published_counts_stand_beside_those_found(published, said):
    lines = list(check_lines(manifest(a="train", b="train", c="val"), published))
    assert lines[:2] == [said, "  cat 2, dog 0"]
    assert not any("warning" in line for line in lines)


def test_images_that_are_trained_on_and_measured_are_named():
    lines = list(check_lines(manifest(a="train", b="train+val"), {}))
    assert lines[-1] == "warning: 1 images of val are in train too, such as 'b'"
