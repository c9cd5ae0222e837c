import json
import os
import time

import pytest
from typer.testing import CliRunner

from pipeline.artifacts.files import content_digest
from pipeline.artifacts.store import StageFolder, delete, find_runs, stage_folders, unreferenced
from pipeline.cli import app
from pipeline.errors import PseudomaskError


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Two runs that share one result, one unfinished stage, and two results nothing points to."""
    monkeypatch.chdir(tmp_path)
    for kind, key, done in (
        ("train", "a", 1),
        ("train", "b", 1),
        ("train", "c", 0),
        ("evaluate", "d", 1),
        ("x", "e", 0),
    ):
        folder = tmp_path / "store" / kind / key
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(bytes(2000))
        (folder / "log.txt").write_text("first\nstep 3 of 9\n")
        if done:
            (folder / "provenance.json").write_text("{}")
    for run, links in (("one", {"train": "train/a", "late": "train/c"}), ("two", {"train": "train/a"})):
        (tmp_path / "results" / run).mkdir(parents=True)
        (tmp_path / "results" / run / "config.yaml").write_text("method: cam\n")
        for name, target in links.items():
            (tmp_path / "results" / run / name).symlink_to(f"../../store/{target}")
    return tmp_path


def names(folders):
    return sorted(folder.path.name for folder in folders)


def age(folder, days):
    then = time.time() - days * 86400
    for path in (folder, *folder.iterdir()):
        os.utime(path, (then, then))


def test_only_what_no_run_points_to_is_rubbish(place):
    assert names(stage_folders(place / "store")) == list("abcde")
    assert names(unreferenced(place / "store", place / "results")) == list("bd")  # something may be writing e
    age(place / "store/x/e", days=0.05)
    assert names(unreferenced(place / "store", place / "results")) == list("bde")
    age(place / "store/train/b", days=10)
    assert names(unreferenced(place / "store", place / "results", older_than_days=5)) == ["b"]


def test_gc_touches_nothing_unless_told_and_never_while_snakemake_works(place):
    age(place / "store/x/e", days=1)
    done = CliRunner().invoke(app, ["gc"])
    assert "3 results without a run" in done.output
    assert "--delete" in done.output
    assert names(stage_folders(place / "store")) == list("abcde")
    (place / ".snakemake/locks").mkdir(parents=True)
    (place / ".snakemake/locks/0.input.lock").touch()
    with pytest.raises(PseudomaskError, match="at work"):
        delete(unreferenced(place / "store", place / "results"), place)
    (place / ".snakemake/locks/0.input.lock").unlink()
    assert "deleted 3" in CliRunner().invoke(app, ["gc", "--delete"]).output
    assert names(stage_folders(place / "store")) == list("ac")


def test_without_any_run_nothing_is_called_rubbish(place):
    with pytest.raises(PseudomaskError, match="holds no run"):
        unreferenced(place / "store", place / "elsewhere")


def test_runs_are_listed_with_what_is_shared_and_how_far_they_are(place):
    one, two = find_runs(place / "results")
    assert (one.method, sorted(one.stages)) == ("cam", ["late", "train"])
    assert one.stages["late"].last_line == "step 3 of 9"
    assert not one.stages["late"].done
    assert two.stages["train"].done
    text = CliRunner().invoke(app, ["runs"], env={"COLUMNS": "80"}).output
    assert "1/2" in text
    assert "1/1" in text
    assert "shared" in text
    assert "step 3 of 9" in text
    assert "no run in" in CliRunner().invoke(app, ["runs", "--results", "nowhere"]).output


def test_a_flipped_bit_is_found_named_and_removed_on_request(place):
    folder = StageFolder(place / "store/train/a")
    digest = content_digest(folder.path / "weights")
    (folder.path / "provenance.json").write_text(json.dumps({"digests": {"weights": digest}}))
    assert CliRunner().invoke(app, ["verify", "results/two"]).output == "1 results, 0 damaged\n"
    with (folder.path / "weights").open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"\1")
    with pytest.raises(PseudomaskError, match=r"train/a/weights is not what its stage wrote; `pseudomask verify"):
        StageFolder(folder.path).check("weights")
    done = CliRunner().invoke(app, ["verify", "results/two"])
    assert done.exit_code == 1
    assert "damaged: weights in" in done.output
    assert folder.path.exists()
    assert "1 damaged and removed" in CliRunner().invoke(app, ["verify", "results/two", "--remove"]).output
    assert not folder.path.exists()


def test_digest_of_a_folder_is_of_names_and_contents(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner/x.png").write_bytes(b"picture")
    (tmp_path / "a/.snakemake_timestamp").touch()
    assert content_digest(tmp_path / "a") == content_digest(tmp_path / "b")
    (tmp_path / "b/inner/x.png").rename(tmp_path / "b/inner/y.png")
    assert content_digest(tmp_path / "a") != content_digest(tmp_path / "b")


def test_what_cannot_be_verified_is_said(place):
    assert "1 of them were made before digests" in CliRunner().invoke(app, ["verify", "results/two"]).output
    with pytest.raises(PseudomaskError, match="nowhere is no run"):
        CliRunner().invoke(app, ["verify", "nowhere"], catch_exceptions=False)
