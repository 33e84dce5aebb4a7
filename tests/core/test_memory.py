"""Freed memory stays with the process."""

import platform
import subprocess
import sys

import pytest

ARRAYS = 64
"""Of one MiB each; fewer than what is kept."""

HELD_AND_FREED = """
import psutil
from headwater.core.memory import keep_freed_memory
{setting}
arrays = [b"x" * 2**20 for _ in range({arrays})]
held = psutil.Process().memory_info().rss
del arrays
print(held - psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has this setting")
def test_freed_arrays_go_back_to_the_system_only_by_default():
    by_default, kept = (_returned(setting) for setting in ("", "keep_freed_memory()"))
    assert by_default > 0.9 * ARRAYS * 2**20
    assert kept < 0.1 * ARRAYS * 2**20


def _returned(setting: str) -> int:
    """Bytes that a process no longer holds after it has freed its arrays."""
    program = HELD_AND_FREED.format(setting=setting, arrays=ARRAYS)
    return int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)
