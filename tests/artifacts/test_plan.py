import json
import os
from pathlib import Path

import pytest

from pipeline.artifacts.code import code_digests
from pipeline.artifacts.files import DigestCache, atomic_path
from pipeline.artifacts.plan import Plan
from pipeline.config.base import Settings
from pipeline.config.runtime import RuntimeSettings
from pipeline.errors import PseudomaskError


class Toy(Settings):
    value: int = 1


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(threshold=1, labels=1, run="r", **runtime):
    made = Plan(run, {"run": run}, RuntimeSettings(**runtime))
    first = made.stage("search", "evaluate", Toy(value=threshold))
    made.stage("label", "label_scores", Toy(value=labels), {"threshold": first["metrics"], "scores": None})
    return made


def keys(made):
    return [stage.key for stage in made.stages.values()]


def test_a_setting_changes_its_stage_and_what_follows(folder):
    search, label = keys(plan())
    assert keys(plan(labels=2))[0] == search
    assert keys(plan(labels=2))[1] != label
    assert all(new != old for new, old in zip(keys(plan(threshold=2)), (search, label), strict=True))
    assert keys(plan()) == [search, label]


def test_runtime_and_run_name_change_nothing(folder):
    assert keys(plan()) == keys(plan(run="other", workers=5, threads=7))


def test_sources_count_by_content_not_by_time_or_place(folder):
    def key(root):
        made = Plan("r", {}, RuntimeSettings())
        return made.stage("d", "import_data", Toy(), sources=[root / "a.txt"], source_root=root).key

    for place in ("one", "two"):
        (folder / place).mkdir()
        (folder / place / "a.txt").write_text("same")
    before = key(folder / "one")
    os.utime(folder / "one/a.txt", (1, 1))
    assert key(folder / "one") == before == key(folder / "two")
    (folder / "one/a.txt").write_text("else")
    assert key(folder / "one") != before
    content = (folder / "one/a.txt").stat()
    (folder / "three").mkdir()
    (folder / "three/other.txt").write_text("more")
    os.utime(folder / "three/other.txt", ns=(0, content.st_mtime_ns))  # as large and as old, but another file
    (folder / "three/a.txt").symlink_to("../one/a.txt")
    assert key(folder / "three") == key(folder / "one")
    (folder / "three/a.txt").unlink()
    (folder / "three/a.txt").symlink_to("other.txt")
    assert key(folder / "three") != key(folder / "one")
    with pytest.raises(PseudomaskError, match=r"b\.txt does not exist"):
        DigestCache(folder / "d.sqlite").digests([folder / "b.txt"])


def test_write_makes_specs_links_and_config(folder):
    made = plan()
    made.write()
    made.write()
    spec = json.loads(Path("results/r/label/stage.json").read_text())
    assert spec["key"] == made.stages["label"].key
    assert spec["inputs"] == {"threshold": made.stages["search"]["metrics"].path, "scores": None}
    assert Path("results/r/config.yaml").read_text() == "run: r\n"


def test_results_of_stages_the_run_no_longer_has_do_not_stay_beside_it(folder):
    plan().write()
    (folder / "mine").mkdir()
    Path("results/r/notes").symlink_to(folder / "mine")
    smaller = Plan("r", {}, RuntimeSettings())
    smaller.stage("search", "evaluate", Toy())
    smaller.write()
    assert {path.name for path in Path("results/r").iterdir()} == {"config.yaml", "search", "notes"}
    plan().write()
    assert Path("results/r/label/stage.json").exists()


def test_reasons_name_the_setting_that_changed(folder):
    assert plan().reasons() == {"search": "no result yet", "label": "no result yet"}
    plan().write()
    reasons = plan(threshold=5).reasons()
    assert reasons["search"] == "setting value: 1 -> 5"
    assert reasons["label"] == "input threshold"


def test_a_name_is_used_once(folder):
    made = plan()
    with pytest.raises(PseudomaskError, match="'search' is defined twice"):
        made.stage("search", "evaluate", Toy())


def test_code_digest_follows_imports_and_ignores_comments(tmp_path, monkeypatch):
    digests = code_digests("pipeline.artifacts.plan")
    assert {"pipeline.artifacts.files", "pipeline.config.runtime", "pipeline.errors"} <= digests.keys()
    assert "pipeline.artifacts.masks" not in digests
    assert "numpy" in code_digests("pipeline.artifacts.masks")


def test_layout_docstrings_and_comments_are_not_code(tmp_path, monkeypatch):
    from pipeline.artifacts import code

    def digest(text):
        (tmp_path / "toy.py").write_text(text)
        code._inspect.cache_clear()
        return code_digests("pipeline.toy")["pipeline.toy"]

    monkeypatch.setattr(code, "_ROOT", tmp_path)
    plain = digest("def f(x):\n    return x + 1\n")
    assert digest('"""Doc."""\n\n\ndef f(x):  # why\n    """Doc."""\n    return (x\n            + 1)\n') == plain
    assert digest("def f(x):\n    return x + 2\n") != plain
    code._inspect.cache_clear()


def test_atomic_path_replaces_only_on_success(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("new")
        raise RuntimeError
    assert target.read_text() == "old"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]
