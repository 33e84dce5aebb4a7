"""File locks that one process at a time can hold; the kernel releases them when the process ends in any way."""

import errno
from pathlib import Path

from filelock import FileLock, Timeout

UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Error numbers of file systems without locks, such as some network disks."""


class NoLocksError(Exception):
    """The file system of the lock file has no locks; the caller decides whether to go on without."""


def try_lock(file: Path, *, wait: float = 0.0) -> FileLock | None:
    """The lock of a file, held from now on; None if another process holds it, and still does after `wait` seconds."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # the soft fallback is a file whose presence is the lock: a killed job would leave it locked for ever
    lock = FileLock(file, blocking=wait > 0, timeout=wait or -1, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    except OSError as error:
        if error.errno in UNSUPPORTED:
            raise NoLocksError(str(file)) from None
        raise
    return lock
