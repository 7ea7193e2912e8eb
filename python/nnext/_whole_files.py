"""Files that are written whole or not at all, and opened only if they are files.

Locks need `fcntl`, which Windows has not: there a part that a killed process left is never removed.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

if sys.platform != "win32":
    import fcntl

PathLike = str | bytes | os.PathLike[str] | os.PathLike[bytes]

_NEW = 60.0  # seconds between the making of a part and its first data, at the very most


def file_name(path: PathLike) -> str:
    """Return the name of a file as text, or raise a FileNotFoundError if it is empty."""
    name = os.fsdecode(path)  # bytes too
    if not name:
        raise FileNotFoundError(errno.ENOENT, "the name of the file is empty", name)
    return name


def opened(path: str) -> IO[bytes]:
    """Open a regular file to read; opening a pipe without O_NONBLOCK would wait for a writer.

    Raises
    ------
    OSError
        If it cannot be opened, or is a directory, a device or a pipe.
    """
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 the caller closes it
    except (IsADirectoryError, PermissionError):  # as Windows says of a directory
        if os.path.isdir(path):
            _check_regular(path, stat.S_IFDIR)
        raise
    try:
        _check_regular(path, os.fstat(file.fileno()).st_mode)
    except BaseException:
        file.close()
        raise
    return file


def _without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def _check_regular(path: str, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "no regular file but a directory", path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "no regular file but a device or pipe", path)


@contextmanager
def replacing(path: str) -> Iterator[IO[bytes]]:
    """Give a file to write to, which takes the place of `path` once all is written.

    It stands beside its final place under a name of its own, ``.nnext-<which file>-<16 hex
    digits>.part`` (the final name may be as long as a name can be), and is locked while it is
    written: the lock ends with the process, so a part that nobody locks is what a killed process
    left.

    Raises
    ------
    OSError
        If it cannot be written, or `path` is a directory, a device or a pipe.
    """
    if os.path.basename(path) in ("", os.curdir, os.pardir):  # realpath would take these away
        raise IsADirectoryError(errno.EISDIR, "the name of a directory, not of a file", path)
    target = Path(os.path.realpath(path))  # a link stays one; what it leads to is replaced
    mode = None
    with suppress(FileNotFoundError):
        mode = target.stat().st_mode
        _check_regular(path, mode)
    _remove_abandoned(target)
    part = target.with_name(f"{_part_of(target)}-{os.urandom(8).hex()}.part")
    try:
        with part.open("xb") as file:
            with suppress(OSError):  # a file system without locks: then parts are left alone
                _lock(file)
            if mode is not None:
                os.chmod(part, stat.S_IMODE(mode))
            yield file
            file.flush()
            os.fsync(file.fileno())  # else a loss of power may leave the new name without data
            if sys.platform != "win32":
                part.replace(target)  # while it is locked, so that nobody takes it for abandoned
        if sys.platform == "win32":  # which moves no open file
            part.replace(target)
    except OSError as error:
        if error.filename != os.fspath(part):
            raise
        # The caller knows of no part: a folder that is not there, or may not be written.
        raise type(error)(error.errno, error.strerror, path) from None
    finally:
        part.unlink(missing_ok=True)


def check_folder(path: str) -> None:
    """Raise a FileNotFoundError if the folder of a file is not there."""
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "no folder for the file", path)


def _lock(file: IO[bytes], wait: bool = True) -> None:
    """Lock a file; an OSError if another has and `wait` is False, or if there are no locks."""
    if sys.platform == "win32":
        raise OSError(errno.ENOSYS, "no locks")
    else:  # type checkers of that system must not look for fcntl
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def _part_of(target: Path) -> str:
    """Return how the names of parts of a file begin."""
    return f".nnext-{zlib.crc32(os.fsencode(target.name)):08x}"


def _remove_abandoned(target: Path) -> None:
    """Remove parts of `target` whose writers are dead; those being written are locked."""
    name = re.compile(re.escape(_part_of(target)) + r"-[0-9a-f]{16}\.part")
    with suppress(OSError):  # a folder that may not be listed
        for part in target.parent.iterdir():
            if name.fullmatch(part.name):
                # Gone meanwhile, locked, or another user's: not ours to remove.
                with suppress(OSError), open(part, "rb", opener=_without_waiting) as file:
                    _lock(file, wait=False)
                    found = os.fstat(file.fileno())
                    # One without data may be new, and its writer about to lock it.
                    if found.st_size or found.st_mtime < time.time() - _NEW:
                        part.unlink()
