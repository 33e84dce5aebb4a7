"""Files appear whole or not at all, and for those whom the umask lets in."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headwater.core import files, locks
from headwater.data import twin_folder
from headwater.study.archive import Twin


@pytest.fixture(params=[0o077, 0o027, 0o002, 0o022], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_every_file_honours_the_umask(tmp_path: Path, umask: int):
    files.write_json({}, tmp_path / "new" / "x.json")
    with files.whole(tmp_path / "x.parquet") as temporary:
        pd.DataFrame({"a": [1]}).to_parquet(temporary)
    with files.whole(tmp_path / "x.npy") as temporary:
        np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=(3,)).flush()
    lock = locks.try_lock(tmp_path / "x.lock")
    with twin_folder.whole_folder(tmp_path / "twin", archive="made", twin=Twin(cases=8)) as temporary:
        (temporary / "image.png").touch()
    folders = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert {_mode(path) for path in folders} == {0o777 & ~umask}
    assert {_mode(path) for path in tmp_path.rglob("*") if path.is_file()} == {0o666 & ~umask}
    lock.release()


def test_a_file_whose_writing_fails_leaves_the_one_before_and_nothing_else(tmp_path: Path):
    files.write_text("before", tmp_path / "x.txt")
    with pytest.raises(ZeroDivisionError), files.whole(tmp_path / "x.txt") as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"] and (tmp_path / "x.txt").read_text() == "before"
