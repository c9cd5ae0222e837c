import json
import sys
from types import SimpleNamespace

from pipeline.artifacts.code import code_digests
from pipeline.stages import runner

SETTINGS = {"counts": {"train": 2}, "size": 48}


def provenance(folder, code):
    """What a stage that draws two scenes notes of itself."""
    document = {"name": "scenes", "kind": "generate_scenes", "key": "0", "settings": SETTINGS, "code": code}
    document |= {"inputs": {}, "outputs": {"folder": str(folder / "scenes")}, "runtime": {"precision": "bf16-mixed"}}
    (folder / "stage.json").write_text(json.dumps(document))
    runner.run_stage(folder / "stage.json")
    return json.loads((folder / "provenance.json").read_text())


def test_provenance_names_the_gpu_and_the_memory_it_took(tmp_path, monkeypatch):
    cuda = SimpleNamespace(is_available=lambda: True, device_count=lambda: 2, get_device_name=lambda: "NVIDIA X")
    cuda.max_memory_reserved = lambda index: [3, 7][index] * 2**20
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    made = provenance(tmp_path, {})
    assert (made["device"], made["precision"], made["peak_gpu_memory_mib"]) == ("NVIDIA X", "bf16-mixed", 7)


def test_without_a_gpu_there_is_no_memory_of_one(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    made = provenance(tmp_path, {})
    assert made["device"] == "cpu"
    assert not {"precision", "peak_gpu_memory_mib"} & made.keys()


def test_packages_are_those_of_the_environment_the_stage_ran_in(tmp_path, caplog):
    code = code_digests("pipeline.stages.generate_scenes")
    made = provenance(tmp_path, {**code, "numpy": "1.0"})
    assert made["packages"]["numpy"] == code["numpy"]
    assert "pipeline.data.scenes" not in made["packages"]
    assert caplog.messages == [f"the key of this result is of numpy 1.0, here is {code['numpy']}"]
