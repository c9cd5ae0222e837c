import json

from pipeline.artifacts.lineage import lineage


def stage(folder, name, inputs, **facts):
    spec = {"name": name, "kind": "k", "key": name, "settings": {}, "code": {}, "inputs": inputs}
    folder.mkdir(parents=True)
    (folder / "stage.json").write_text(json.dumps(spec))
    if facts:
        (folder / "provenance.json").write_text(json.dumps({**spec, "device": "cpu", **facts}))


def test_everything_behind_a_file_is_found_once_sources_first(tmp_path):
    stage(tmp_path / "store/a/1", "data", {}, wall_seconds=1.5, peak_memory_mib=10)
    shards = [
        {
            "wall_seconds": 2,
            "peak_memory_mib": 70,
            "device": "A100",
            "precision": "32-true",
            "peak_gpu_memory_mib": 900,
        },
        {
            "wall_seconds": 3,
            "peak_memory_mib": 60,
            "device": "A100",
            "precision": "bf16-mixed",
            "peak_gpu_memory_mib": 950,
        },
    ]
    data = "store/a/1/manifest.parquet"
    stage(tmp_path / "store/b/2", "cams", {"manifest": data}, wall_seconds=1, peak_memory_mib=5, shards=shards)
    masks = {"cam": "store/b/2/scores.h5", "mine": "given/masks.h5"}
    stage(tmp_path / "store/c/3", "masks", {"manifest": data, "masks": masks, "threshold": None})
    found = lineage([tmp_path / "store/c/3/masks.h5", tmp_path / data, tmp_path / "given/masks.h5"], tmp_path)
    assert [each.name for each in found] == ["data", "cams", "masks"]
    assert [each.seconds for each in found] == [1.5, 6, None]
    assert [each.memory for each in found] == [10, 70, None]
    assert [each.where for each in found[:2]] == ["cpu", "A100, A100 (bf16-mixed), 950 MiB there"]
    assert [[folder.name for folder in each.before] for each in found] == [[], ["1"], ["1", "2"]]
