"""Files of weights and of progress: whole, told apart, locked, and refused in one line when broken."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from headwater.core.errors import UserError
from headwater.models import weight_files
from headwater.training import checkpoint
from training_made import ALONE


def test_weights_and_what_is_said_of_them_come_back(tmp_path):
    tensors = {"b": torch.arange(6).view(2, 3).t(), "a": torch.tensor(3), "half": torch.ones(3, dtype=torch.bfloat16)}
    tensors["same"] = tensors["b"]
    weight_files.save_weights(tensors, tmp_path / "deep" / "w.safetensors", {"size": "32", "naïve": "µ"})
    loaded, metadata = weight_files.load_weights(tmp_path / "deep" / "w.safetensors")
    assert metadata == {"size": "32", "naïve": "µ"}
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[key], tensors[key]) for key in tensors)


def test_equal_weights_are_equal_bytes(tmp_path):
    tensors = {name: torch.ones(2) for name in "abcdef"}
    metadata = {name: json.dumps({name: 1}) for name in "zyxwvut"}
    for number in range(8):
        weight_files.save_weights(tensors, tmp_path / f"{number}.safetensors", metadata)
    assert len({file.read_bytes() for file in tmp_path.iterdir()}) == 1


def test_broken_weights_are_refused(tmp_path):
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    weight_files.save_weights({"a": torch.ones(100)}, whole, {})
    cut.write_bytes(whole.read_bytes()[:-7])
    (tmp_path / "text.safetensors").write_text("no weights")
    for name in ("cut", "text", "absent"):
        with pytest.raises(UserError, match=f"{name}.safetensors: weights file is .*truncated.*; delete it"):
            weight_files.load_weights(tmp_path / f"{name}.safetensors")


def test_progress_comes_back_under_its_identity_only(tmp_path, capsys):
    file = tmp_path / "p.pt"
    assert checkpoint.load(file, identity="x") is None
    checkpoint.save({"step": 3, "best": {"weights": {"a": torch.ones(2)}, "score": None}}, file, identity="x")
    assert checkpoint.load(file, identity="x")["step"] == 3
    assert checkpoint.load(file, identity="y") is None
    assert capsys.readouterr().err.count("belongs to another training") == 1


def test_a_save_that_fails_leaves_the_one_before(tmp_path, monkeypatch):
    file = tmp_path / "p.pt"
    checkpoint.save({"step": 1}, file, identity="x")

    def half(contents, path):
        path.write_bytes(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="full"):
        checkpoint.save({"step": 2}, file, identity="x")
    assert checkpoint.load(file, identity="x") == {"step": 1}
    assert [found.name for found in tmp_path.iterdir()] == ["p.pt"]


def test_broken_progress_is_refused_and_nothing_in_it_is_run(tmp_path):
    file = tmp_path / "p.pt"
    checkpoint.save({"step": 1, "a": torch.ones(1000)}, file, identity="x")
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no progress", b"rubbish", b"cos\nsystem\n(S'touch ran'\ntR."):
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"p\.pt: training checkpoint is corrupt or truncated.*; delete it"):
            checkpoint.load(file, identity="x")
    for content in ({"step": 1}, [1, 2]):
        torch.save(content, file)
        with pytest.raises(UserError, match="corrupt or truncated"):
            checkpoint.load(file, identity="x")


def test_a_folder_in_the_place_of_progress_is_called_so(tmp_path):
    (tmp_path / "p.pt").mkdir()
    with pytest.raises(UserError, match=r"p\.pt: is a folder in the place of the training's checkpoint; move it away"):
        checkpoint.load(tmp_path / "p.pt", identity="x")


def test_no_changed_bit_of_a_checkpoint_is_resumed_from(tmp_path):
    """torch reads a tensor with a changed bit without a word; found by many flips in `make soak`."""
    file, chance = tmp_path / "p.pt", np.random.default_rng(0)
    checkpoint.save({"step": 1, "a": torch.arange(1000.0)}, file, identity="x")
    whole, refused = file.read_bytes(), 0
    for _ in range(300):
        changed = bytearray(whole)
        changed[chance.integers(len(whole))] ^= 1 << int(chance.integers(8))
        file.write_bytes(changed)
        try:
            loaded = checkpoint.load(file, identity="x")
            assert loaded["step"] == 1 and torch.equal(loaded["a"], torch.arange(1000.0))
        except UserError:
            refused += 1
    # the rest of the file is padding, and names that nobody reads
    assert refused > 200


def test_forget_takes_away_what_a_killed_save_left(tmp_path):
    for name in (".p.pt.ab12.pt", ".q.pt.ab12.pt", "p.pt"):
        (tmp_path / name).write_bytes(b"half")
    checkpoint.forget(tmp_path / "p.pt")
    assert [file.name for file in tmp_path.iterdir()] == [".q.pt.ab12.pt"]


def test_forget_leaves_nothing_and_may_be_said_twice(tmp_path):
    with checkpoint.alone(tmp_path / "p.pt", world=ALONE):
        checkpoint.save({}, tmp_path / "p.pt", identity="x")
    for _ in range(2):
        checkpoint.forget(tmp_path / "p.pt")
        assert not list(tmp_path.iterdir())


HOLD = """
import fcntl, os, sys
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(handle, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
if sys.argv[2:]:
    os.unlink(sys.argv[1])
"""


@pytest.mark.parametrize("removed", [[], ["and removed"]])
def test_a_second_training_waits_for_the_first_and_says_so(tmp_path, capsys, monkeypatch, removed):
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_TRIES", 0.05)
    file = tmp_path / "p.pt"
    command = [sys.executable, "-c", HOLD, str(tmp_path / "p.pt.lock"), *removed]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        ends = threading.Timer(0.4, first.stdin.close)
        ends.start()
        with checkpoint.alone(file, world=ALONE):
            assert not ends.is_alive()
            handle = os.open(tmp_path / "p.pt.lock", os.O_RDWR)
            with pytest.raises(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(handle)
    assert capsys.readouterr().err.count("another job is training this run; waiting") == 1


def test_a_file_system_without_locks_is_told(tmp_path, capsys, monkeypatch):
    def flock(handle, how):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with checkpoint.alone(tmp_path / "p.pt", world=ALONE):
        pass
    assert "has no locks" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_from_other_mistakes(tmp_path, monkeypatch):
    @contextmanager
    def full(_):
        yield Path("/dev/full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left") as told:
        patch.setattr(checkpoint, "whole", full)
        checkpoint.save({"a": torch.ones(100_000)}, tmp_path / "p.pt", identity="i")
    assert told.value.errno == errno.ENOSPC
    with pytest.raises(RuntimeError, match="of mine"):
        checkpoint.save({"a": Unpicklable()}, tmp_path / "p.pt", identity="i")
    assert not list(tmp_path.iterdir())


class Unpicklable:
    def __reduce__(self):
        raise RuntimeError("a mistake of mine")
