import pytest

from pipeline.artifacts.boxes import Box, read_box_table, write_boxes
from pipeline.errors import PseudomaskError


def test_boxes_come_back_in_order(tmp_path):
    boxes = {"b": [Box(2, (0, 1, 5, 6)), Box(1, (3, 3, 4, 4))], "a": [Box(1, (0, 0, 1, 1))], "none": []}
    write_boxes(tmp_path / "b.parquet", boxes)
    assert read_box_table(tmp_path / "b.parquet") == {name: found for name, found in boxes.items() if found}
    write_boxes(tmp_path / "empty.parquet", {})
    assert read_box_table(tmp_path / "empty.parquet") == {}


def test_another_file_is_refused(tmp_path):
    (tmp_path / "b.parquet").write_bytes(b"no")
    with pytest.raises(PseudomaskError, match="no readable box table"):
        read_box_table(tmp_path / "b.parquet")
    with pytest.raises(PseudomaskError, match="no readable box table"):
        read_box_table(tmp_path / "missing.parquet")
