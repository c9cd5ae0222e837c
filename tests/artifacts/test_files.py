import errno
import os
import subprocess

import pytest

from pipeline.artifacts.files import DigestCache, atomic_path, remove_leftovers
from pipeline.errors import PseudomaskError


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "no space is left"), (errno.EROFS, "read-only")])
def test_a_disk_that_takes_nothing_is_named(tmp_path, number, words):
    target = tmp_path / "masks.h5"
    with pytest.raises(PseudomaskError, match=f"masks.h5 cannot be written: .*{words}"), atomic_path(target) as path:
        path.write_text("half")
        raise OSError(number, "told by the system")
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    target = tmp_path / "masks.h5"
    dead = subprocess.Popen(["true"])
    dead.wait()
    with atomic_path(target) as ours:
        ours.touch()
        killed = ours.with_name(ours.name.replace(f"-{os.getpid()}.", f"-{dead.pid}."))
        elsewhere = ours.with_name(f".masks.otherhost-{dead.pid}.00aa.h5")
        for path in (killed, elsewhere):
            path.touch()
        remove_leftovers(target)
        assert {path.name for path in tmp_path.iterdir()} == {ours.name, elsewhere.name}


def test_a_cache_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PseudomaskError, match=r"digests.sqlite cannot be opened"):
        DigestCache(tmp_path / "file/digests.sqlite")


@pytest.mark.parametrize("writable", [True, False])
def test_a_refused_folder_is_named_and_a_refused_image_is_not_taken_for_it(tmp_path, monkeypatch, writable):
    monkeypatch.setattr(os, "access", lambda path, mode: writable)  # root, as in CI, may write everywhere
    wanted = PermissionError if writable else PseudomaskError
    with pytest.raises(wanted, match="image.jpg" if writable else "permissions"), atomic_path(tmp_path / "masks.h5"):
        raise PermissionError(errno.EACCES, "denied", "image.jpg")
