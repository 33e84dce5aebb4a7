"""Progress is told as lines in a log, and the items pass through untouched."""

import io
import sys

import pytest

from headwater.core import progress


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until a test moves it."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_the_time_left_and_then_the_time_taken(seconds: list[float], capsys: pytest.CaptureFixture):
    passed = []
    for item in progress.bar("abcd", total=4, what="prepare"):
        passed.append(item)
        seconds[0] += 20
    assert passed == list("abcd")
    assert capsys.readouterr().err.splitlines() == [
        "prepare: 2 of 4, 0:00:40 left",
        "prepare: 4 of 4 in 0:01:20",
    ]


def test_what_is_known_stands_behind(seconds: list[float], capsys: pytest.CaptureFixture):
    known: list[str] = []
    for item in progress.bar("abc", total=3, what="training", say=lambda: ", ".join(known)):
        known[:] = [f"loss {item}"] if item != "a" else []
        seconds[0] += 31
    assert capsys.readouterr().err.splitlines() == [
        "training: 1 of 3, time left not known yet",
        "training: 2 of 3, 0:00:31 left; loss b",
        "training: 3 of 3 in 0:01:33; loss c",
    ]


def test_work_that_was_done_before_is_counted_but_not_timed(seconds: list[float], capsys: pytest.CaptureFixture):
    for _ in progress.bar(range(3), total=10, what="pretrain", done=7):
        seconds[0] += 31
    assert capsys.readouterr().err.splitlines()[:2] == [
        "pretrain: 8 of 10, time left not known yet",
        "pretrain: 9 of 10, 0:00:31 left",
    ]


def test_a_slow_first_item_promises_no_hours(seconds: list[float], capsys: pytest.CaptureFixture):
    for item in progress.bar(range(1000), total=1000, what="training"):
        # 40 seconds of warm-up, then an eighth of a second a step
        seconds[0] += 0.125 if item else 40
    assert capsys.readouterr().err.splitlines() == [
        "training: 1 of 1000, time left not known yet",
        "training: 241 of 1000, 0:01:35 left",
        "training: 481 of 1000, 0:01:05 left",
        "training: 721 of 1000, 0:00:35 left",
        "training: 961 of 1000, 0:00:05 left",
        "training: 1000 of 1000 in 0:02:45",
    ]


def test_quick_work_says_one_line(seconds: list[float], capsys: pytest.CaptureFixture):
    assert list(progress.bar(range(1000), total=1000, what="reduce")) == list(range(1000))
    assert capsys.readouterr().err == "reduce: 1000 of 1000 in 0:00:00\n"


def test_no_work_is_told_as_well(capsys: pytest.CaptureFixture):
    assert list(progress.bar([], total=0, what="reduce")) == []
    assert "0 of 0" in capsys.readouterr().err


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(progress.bar(iter("ab"), total=2, what="predict")) == ["a", "b"]
    assert "predict: 100%" in terminal.getvalue()


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0:00:00"), (59.6, "0:01:00"), (3599, "0:59:59"), (360_000, "100:00:00")]
)
def test_clock(seconds: float, told: str):
    assert progress.clock(seconds) == told
