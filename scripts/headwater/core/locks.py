"""Locks: files that one process at a time may hold, released by the kernel when it ends, however it ends."""

import errno
from pathlib import Path

from filelock import FileLock, Timeout

KNOWS_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""How a network disk says that it has no locks."""


class NoLocksError(Exception):
    """The disk of the lock file knows no locks; whoever asks decides whether to go on without."""


def try_lock(file: Path) -> FileLock | None:
    """The lock of a file, held from now on; None while another process holds it.

    `FileLock` would fall back to a file whose mere presence is the lock: after a killed job it would never open again.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file, blocking=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    except OSError as error:
        if error.errno in KNOWS_NO_LOCKS:
            raise NoLocksError(str(file)) from None
        raise
    return lock
