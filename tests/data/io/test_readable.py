"""A file that is read piece by piece gives its bytes, and takes no memory for those that a header only claims."""

import tracemalloc

import pytest

from headwater.core.errors import UserError
from headwater.data.io import limits


def test_bytes_that_are_not_there_take_no_memory(tmp_path):
    path = tmp_path / "x.dcm"
    path.write_bytes(bytes(range(256)) * 10)
    tracemalloc.start()
    with limits.readable(path) as file:
        assert file.read(3) == b"\0\1\2"
        assert file.read(2**31) == (bytes(range(256)) * 10)[3:]
        assert file.read(2**31) == b"" and file.read() == b""
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**20


def test_no_file_and_too_large_a_file_are_refused(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        limits.readable(tmp_path / "absent")
    (tmp_path / "large").write_bytes(b"12345")
    monkeypatch.setattr(limits, "MOST_BYTES", 4)
    with pytest.raises(UserError, match="is larger than"):
        limits.readable(tmp_path / "large")
