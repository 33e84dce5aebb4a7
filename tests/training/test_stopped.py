"""A training in a process of its own, ended from outside: by SIGTERM, by SIGKILL, and through torchrun."""

import signal
import subprocess
import time

import pytest

from training_made import STEPS, Small, command, products, train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("left_alone")
    train(folder, Small(dropout=0.2))
    return products(folder)


def ended(folder, how, *, after_row, ranks=1):
    """Start the training, send a signal once the table has a row of that step, and give the exit code."""
    line, environment = command("slowly", folder, ranks=ranks)
    with subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        table, deadline = folder / "metrics.csv", time.monotonic() + 120
        while not (table.exists() and f"\n{after_row}," in table.read_text()):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(how)
        process.communicate(timeout=60)
        return process.returncode


def test_sigterm_saves_and_says_143(tmp_path, left_alone):
    assert ended(tmp_path, signal.SIGTERM, after_row=8) == 143
    assert (tmp_path / "progress.pt").exists()
    train(tmp_path, Small(dropout=0.2))
    assert products(tmp_path) == left_alone


def test_sigkill_at_any_moment_loses_at_most_the_steps_since_the_last_save(tmp_path, left_alone):
    for after_row in (4, 16):
        assert ended(tmp_path, signal.SIGKILL, after_row=after_row) == -signal.SIGKILL
    train(tmp_path, Small(dropout=0.2))
    assert products(tmp_path) == left_alone


def test_torchrun_passes_sigterm_on_and_both_ranks_leave_in_time(tmp_path):
    assert ended(tmp_path, signal.SIGTERM, after_row=4, ranks=2) != 0
    assert (tmp_path / "progress.pt").exists()
    train(tmp_path, Small(dropout=0.2))
    assert (tmp_path / "metrics.csv").read_text().count("training/loss") == STEPS
