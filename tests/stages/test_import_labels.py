from pipeline.artifacts.job import Job
from pipeline.artifacts.manifest import ImageRecord, Manifest
from pipeline.artifacts.masks import MaskStore
from pipeline.config.classes import ClassTable
from pipeline.config.runtime import RuntimeSettings
from pipeline.stages.import_labels import Inputs, Outputs, Settings, run

CLASSES = ClassTable(names=("background", "cat"))


def test_images_without_a_scribble_have_no_mask(tmp_path):
    (tmp_path / "scribbles").mkdir()
    points = "".join(f"<point><X>{x}</X><Y>2</Y></point>" for x in (1, 8))
    line = f"<annotation><polygon><tag>cat</tag>{points}</polygon></annotation>"
    (tmp_path / "scribbles/a.xml").write_text(line)
    records = tuple(ImageRecord(name, f"{name}.jpg", ("train",), 6, 10, (1,)) for name in ("a", "b"))
    Manifest(CLASSES, records).write(tmp_path / "manifest.parquet")
    settings = Settings(kind="scribbles", source="files", scribbles="scribbles", size=1)
    job = Job("labels", "key", RuntimeSettings(device="cpu", data_root=tmp_path), tmp_path)
    run(settings, Inputs(tmp_path / "manifest.parquet"), Outputs(tmp_path / "m.h5"), job)
    found = MaskStore(tmp_path / "m.h5")
    assert list(found.ids) == ["a"]
    assert (found["a"] == 1).sum() == 8
