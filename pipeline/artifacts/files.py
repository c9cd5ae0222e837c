"""Files that are complete or absent, and digests of files the user owns."""

import errno
import hashlib
import os
import platform
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from stat import S_ISLNK

from pipeline.errors import PseudomaskError

_HOST = platform.node().partition(".")[0]
_REASONS = {
    errno.ENOSPC: "no space is left on the disk; free some and run again",
    errno.EDQUOT: "the disk quota is used up; free some space and run again",
    errno.EROFS: "the file system is read-only; run in a folder that can be written to",
    errno.EACCES: "its folder may not be written to; change its permissions or run in another",
}


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``target`` that takes its place on success and vanishes on error.

    The data reach the disk before the rename, so a file that exists under its own name is complete, even
    after a power cut.

    Raises:
        PseudomaskError: the disk is full or cannot be written to; the message names the target and its folder.
    """
    # The suffix is kept because writers choose a format by it.
    temporary = target.with_name(f".{target.stem}.{_HOST}-{os.getpid()}.{secrets.token_hex(4)}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())  # some libraries create private files; results are shared
        temporary.replace(target)
    except OSError as error:
        reason = _REASONS.get(error.errno or 0)
        # What is refused may also be a file that is read meanwhile, such as an image.
        elsewhere = error.errno == errno.EACCES and os.access(target.parent, os.W_OK)
        if reason is None or elsewhere:
            raise
        raise PseudomaskError(f"{target} cannot be written: {reason}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_leftovers(target: Path) -> None:
    """Delete temporaries of killed writers of ``target``; one whose process lives, or is on another host, stays."""
    for leftover in target.parent.glob(f".{target.stem}.*{target.suffix}"):
        host, _, number = leftover.name.removeprefix(f".{target.stem}.").partition(".")[0].rpartition("-")
        if host == _HOST and number.isdecimal() and not Path(f"/proc/{number}").exists():
            leftover.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_text(target: Path, text: str) -> None:
    """Write a small text file atomically, leaving an equal one untouched."""
    if target.exists() and target.read_text() == text:
        return
    with atomic_path(target) as temporary:
        temporary.write_text(text)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_digest(path: Path) -> str:
    """SHA-256 of a file, or of a folder's files with their names, as 64 hex digits; hidden files are Snakemake's."""
    if not path.is_dir():
        return file_digest(path)
    digest = hashlib.sha256()
    for inner in sorted(found for found in path.rglob("[!.]*") if found.is_file()):
        digest.update(f"{inner.relative_to(path)}\0{file_digest(inner)}\n".encode())
    return digest.hexdigest()


class DigestCache:
    """Content digests of the user's files, remembered by path, size and modification time, as git does.

    Touching or copying a file costs one more reading; only a changed content changes a digest.
    """

    def __init__(self, database: Path) -> None:
        table = "CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY, size INT, mtime INT, digest TEXT)"
        try:
            database.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(database, timeout=60)
            self._db.execute(table)
        except (OSError, sqlite3.OperationalError) as error:
            advice = "run in a folder that can be written to and has space"
            raise PseudomaskError(f"{database} cannot be opened ({error}); {advice}") from error

    def digests(self, paths: Iterable[Path]) -> list[str]:
        """Digest of each file, in order.

        Raises:
            PseudomaskError: a file does not exist.
        """
        known = {row[0]: row[1:] for row in self._db.execute("SELECT path, size, mtime, digest FROM digests")}
        result, fresh = [], []
        real = cache(os.path.realpath)  # of folders: resolving every file by itself would take most of the time
        for path in paths:
            folder, own = os.path.split(path)
            name = f"{real(folder)}/{own}"
            try:
                stat = os.lstat(name)
                if S_ISLNK(stat.st_mode):
                    name = os.path.realpath(name)
                    stat = path.stat()
            except FileNotFoundError as error:
                raise PseudomaskError(f"{path} does not exist; check the data folder and the id lists") from error
            entry = known.get(name)
            if entry is None or entry[:2] != (stat.st_size, stat.st_mtime_ns):
                entry = (stat.st_size, stat.st_mtime_ns, file_digest(path))
                fresh.append((name, *entry))
            result.append(str(entry[2]))
        if fresh:
            with self._db:
                self._db.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)", fresh)
        return result
