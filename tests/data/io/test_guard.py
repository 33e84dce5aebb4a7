import os
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from headwater.core.errors import UserError
from headwater.data.io import guard


def doubled(path, *, by):
    return int(path.read_text()) * by


def hang(path):
    time.sleep(600)


def spin(path):
    while True:
        pass


def die(path):
    os._exit(3)


def refuse(path):
    raise UserError("is what it is", file=path, remedy="leave it", nameless="nameless")


def fill(path):
    try:
        return np.ones(2**29).sum()
    except MemoryError:
        raise UserError("needs too much memory", file=path) from None


def room(path):
    """(threads of a numerical library, bytes that the process may still take)"""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    return os.environ["OPENBLAS_NUM_THREADS"], resource.getrlimit(resource.RLIMIT_AS)[0] - held


@pytest.fixture
def one():
    made = guard.Guard()
    yield made
    made.close()


@pytest.fixture
def path(tmp_path):
    (tmp_path / "x").write_text("21")
    return tmp_path / "x"


def test_work_is_done_elsewhere_and_one_process_does_it_all(one, path):
    assert one.run(doubled, path, by=2) == 42
    first = one.process.pid
    assert first != os.getpid()
    assert one.run(doubled, path, by=3) == 63
    assert one.process.pid == first


@pytest.mark.parametrize(("work", "wanted"), [(hang, "standstill"), (spin, "too long"), (die, "crash")])
def test_what_hangs_or_crashes_costs_itself_only(one, path, work, wanted, monkeypatch):
    assert one.run(doubled, path, by=2) == 42
    monkeypatch.setattr(guard, "SECONDS", 1)
    if work is hang:
        monkeypatch.setattr(guard, "PATIENCE", 1)
    with pytest.raises(UserError, match=wanted) as refused:
        one.run(work, path)
    assert str(path) in str(refused.value)
    monkeypatch.undo()
    assert one.run(doubled, path, by=2) == 42


def test_a_refusal_comes_back_whole(one, path):
    with pytest.raises(UserError) as refused:
        one.run(refuse, path)
    assert str(refused.value) == f"{path}: is what it is; leave it"
    assert (refused.value.file, refused.value.nameless) == (path, "nameless")


def test_threads_take_turns(one, path):
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(one.run, doubled, path, by=number) for number in range(20)]
    assert [answer.result() for answer in asked] == [21 * number for number in range(20)]


def test_a_forked_process_has_a_guard_of_its_own():
    reader, writer = os.pipe()
    mine = guard.guard()
    child = os.fork()
    if child == 0:
        os.write(writer, b"own" if guard.guard() is not mine else b"mine")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(reader, 10) == b"own"
    assert guard.guard() is mine


def test_memory_has_an_end(one, path):
    with pytest.raises(UserError, match="too much memory"):
        one.run(fill, path)


def test_the_process_is_replaced_before_a_leak_grows(one, path, monkeypatch):
    monkeypatch.setattr(guard, "FILES", 2)
    pids = []
    for _ in range(4):
        one.run(doubled, path, by=1)
        pids.append(one.process.pid)
    assert pids[0] == pids[1] != pids[2] == pids[3]


def test_what_decoders_need_themselves_is_not_taken_from_the_file(one, path, monkeypatch):
    """On a machine of 64 processors NumPy alone takes 2.6 GB of addresses, some for each thread."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "64")
    threads, left = one.run(room, path)
    assert threads == "1"
    assert left > 0.97 * guard.MEMORY
