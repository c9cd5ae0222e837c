import pytest

from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.config.classes import ClassTable
from pipeline.errors import PseudomaskError

CLASSES = ClassTable(names=("background", "cat"))
RECORDS = tuple(
    ImageRecord(f"i{n}", f"img/{n}.jpg", ("train", "all") if n % 2 else ("val", "all"), 3, 4, (1,) if n else None)
    for n in range(7)
)


def test_round_trip(tmp_path):
    manifest = Manifest(CLASSES, RECORDS)
    manifest.write(tmp_path / "manifest.parquet")
    assert Manifest.read(tmp_path / "manifest.parquet") == manifest


def test_splits_may_overlap_and_join():
    manifest = Manifest(CLASSES, RECORDS)
    assert manifest.splits == ("all", "train", "val")
    assert len(manifest.split("train")) == 3
    assert len(manifest.split("train+val")) == 7
    with pytest.raises(PseudomaskError, match="'test' has no image; splits of this data set: all, train, val"):
        manifest.split("test")


@pytest.mark.parametrize("count", [1, 2, 3, 7, 9])
def test_shards_cover_everything_once(count):
    manifest = Manifest(CLASSES, RECORDS)
    parts = [record for index in range(count) for record in manifest.shard(index, count)]
    assert tuple(parts) == RECORDS


def test_reading_something_else_is_an_error(tmp_path):
    (tmp_path / "m.parquet").write_text("no")
    with pytest.raises(PseudomaskError, match="not a pseudomask manifest"):
        Manifest.read(tmp_path / "m.parquet")
