"""What work took is noted over its stops, and an attempt at other work counts nothing."""

import json

import pytest

from headwater.core import timing


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves."""
    now = [100.0]
    monkeypatch.setattr(timing.time, "monotonic", lambda: now[0])
    return now


def worked(file, clock, seconds, *, identity="a", stopped=False):
    """What the file tells after so many seconds of work."""
    try:
        with timing.counted(file, identity=identity) as told:
            clock[0] += seconds
            told["steps"] = 3
            if stopped:
                raise SystemExit(143)
    except SystemExit:
        assert stopped
    return json.loads(file.read_text())


def test_attempts_that_were_stopped_are_counted_in_until_the_work_is_done(tmp_path, clock):
    file = tmp_path / "spent.json"
    assert timing.seconds(file) is None
    assert worked(file, clock, 5, stopped=True)["finished"] is False
    assert worked(file, clock, 7, stopped=True)["seconds"] == 12
    told = worked(file, clock, 1)
    assert told == {"steps": 3, "identity": "a", "finished": True, "seconds": 13}
    # done again, or other work
    assert worked(file, clock, 2, stopped=True)["seconds"] == 2
    assert worked(file, clock, 4, identity="b")["seconds"] == 4 == timing.seconds(file)


def test_other_ranks_write_nothing(tmp_path):
    with timing.counted(tmp_path / "spent.json", writes=False):
        pass
    assert not list(tmp_path.iterdir())
