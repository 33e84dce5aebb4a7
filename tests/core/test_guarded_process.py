import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from headwater.core import guarded_process
from headwater.core.errors import UserError
from headwater.core.guarded_process import GuardedProcess, Limits, NoProcessError, WorkError, is_guarded, limited

LIMITS = Limits(seconds=8, memory=2**29)


def doubled(path, *, by=2):
    return int(path.read_text()) * by


def hang(path):
    time.sleep(600)


def spin(path):
    while True:
        pass


def die(path):
    os._exit(3)


def under_limits(path, *, work, limits=LIMITS):
    with limited(path, limits=limits, remedy="fetch it again"):
        return work(path)


def each_under_limits(paths, *, deadly):
    """A refusal or a value for each file of a series; a file whose name is in `deadly` ends the process."""
    outcomes = []
    for path in paths:
        try:
            outcomes.append(under_limits(path, work=die if path.name in deadly else doubled))
        except UserError as refusal:
            outcomes.append(str(refusal))
    return outcomes


def refuse(path):
    raise UserError("is what it is", file=path, remedy="leave it", nameless="nameless")


def fill(path):
    return np.ones(2**29).sum()


def own_shortage(path):
    with limited(path, limits=LIMITS, remedy=""):
        pass
    raise MemoryError("of the work, not of the decoder")


def broken(path):
    raise EOFError("as a closed pipe raises it")


def unsendable(path):
    return lambda: path


def surroundings(path):
    """(threads of a numerical library, bytes that may be taken while a file is decoded, limits before and after)"""
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_CPU)
    before = [resource.getrlimit(kind) for kind in kinds]
    with limited(path, limits=LIMITS, remedy=""):
        left = resource.getrlimit(resource.RLIMIT_AS)[0] - guarded_process._held()
        inside = [resource.getrlimit(kind) for kind in kinds]
    return os.environ["OPENBLAS_NUM_THREADS"], left, before, inside, [resource.getrlimit(kind) for kind in kinds]


def large_series(path):
    """What a worker may hold before a file, and take after it, beside what the file may take."""
    earlier = [np.empty(LIMITS.memory, np.uint8) for _ in range(4)]
    with limited(path, limits=LIMITS, remedy=""):
        decoded = np.ones(LIMITS.memory // 4, np.uint8)
    later = [np.empty(LIMITS.memory, np.uint8) for _ in range(4)]
    return len(earlier) + len(later) + int(decoded[0])


def long_work(path):
    """CPU seconds of the work itself, between files, beyond what a file may take."""
    limits = Limits(seconds=1, memory=2**29)
    for _ in range(2):
        with limited(path, limits=limits, remedy=""):
            doubled(path)
        began = time.process_time()
        while time.process_time() - began < 2.2:
            pass
    return "done"


def burn_out(path):
    """Comes to an end by the signal of the CPU limit, while no file is decoded."""
    os.kill(os.getpid(), signal.SIGXCPU)


def says_guarded(path):
    """(this process, a fork of it)"""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, str(is_guarded()).encode())
        os._exit(0)
    return is_guarded(), os.read(reader, 10).decode()


def complain(path):
    os.write(2, b"heard ")
    with limited(path, limits=LIMITS, remedy=""):
        os.write(2, b"unheard ")
    os.write(2, b"heard again")


@pytest.fixture
def process():
    made = GuardedProcess()
    yield made
    made.close()


@pytest.fixture
def path(tmp_path):
    (tmp_path / "x").write_text("21")
    return tmp_path / "x"


def one(process, work, path, /, **arguments):
    (result,) = process.run(partial(work, **arguments), [path], lost=lambda path: "lost")
    return result


def test_work_is_done_elsewhere_and_one_process_does_it_all(process, path):
    assert one(process, doubled, path) == 42
    first = process.process.pid
    assert first != os.getpid()
    assert process.run(doubled, [path] * 3, lost=None) == [42] * 3
    assert process.process.pid == first


@pytest.mark.parametrize(
    ("work", "limits", "wanted"),
    [
        (hang, LIMITS._replace(seconds=1, patience=1), "brings its decoder to a standstill"),
        (spin, LIMITS._replace(seconds=1), "takes its decoder too long"),
        (die, LIMITS, "makes its decoder crash"),
        (fill, LIMITS, "takes its decoder too much memory"),
    ],
)
def test_what_hangs_or_crashes_costs_itself_only(process, path, work, limits, wanted):
    assert one(process, doubled, path) == 42
    with pytest.raises(UserError) as refused:
        one(process, under_limits, path, work=work, limits=limits)
    assert str(refused.value) == f"{path}: {wanted}; fetch it again"
    assert refused.value.nameless == wanted
    assert process.ended == (work is not fill)
    assert one(process, doubled, path) == 42


def test_one_file_of_a_series_costs_itself_only(process, tmp_path):
    paths = [tmp_path / str(number) for number in range(5)]
    for number, path in enumerate(paths):
        path.write_text(str(number))
    crashed = {number: f"{paths[number]}: makes its decoder crash; fetch it again" for number in (1, 3)}
    outcomes = one(process, each_under_limits, paths, deadly={"1", "3"})
    assert outcomes == [crashed.get(number, 2 * number) for number in range(5)]
    assert process.ended == 2


@pytest.mark.parametrize("work", [die, burn_out])
def test_an_end_while_no_file_is_decoded_is_blamed_on_none(process, path, work):
    assert one(process, work, path) == "lost"
    assert one(process, doubled, path) == 42


def test_a_refusal_comes_back_whole(process, path):
    with pytest.raises(UserError) as refused:
        one(process, refuse, path)
    assert str(refused.value) == f"{path}: is what it is; leave it"
    assert (refused.value.file, refused.value.nameless) == (path, "nameless")
    assert process.ended == 0


def test_lack_of_memory_of_the_work_itself_is_not_blamed_on_the_file(process, path):
    with pytest.raises(WorkError, match="MemoryError: of the work"):
        one(process, own_shortage, path)


def test_an_error_of_the_work_comes_back_with_its_traceback(process, path):
    with pytest.raises(WorkError, match=r"in broken\n(.*\n)+EOFError: as a closed pipe"):
        one(process, broken, path)
    with pytest.raises(WorkError, match="lambda"):
        one(process, unsendable, path)
    assert one(process, doubled, path) == 42
    assert process.ended == 0


def test_an_answer_that_nobody_waited_for_is_not_the_next_one(process, path):
    one(process, doubled, path)
    process._send(doubled, [path], {})
    assert one(process, partial(doubled, by=3), path) == 63


def test_a_process_that_was_killed_between_two_cases_costs_none(process, path):
    one(process, doubled, path)
    process.process.kill()
    process.process.wait()
    assert one(process, doubled, path) == 42


def test_threads_take_turns(process, path):
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(one, process, doubled, path, by=number) for number in range(20)]
    assert [answer.result() for answer in asked] == [21 * number for number in range(20)]


def test_a_forked_process_has_a_guarded_process_of_its_own():
    reader, writer = os.pipe()
    mine = guarded_process.of_this_process()
    child = os.fork()
    if child == 0:
        os.write(writer, b"own" if guarded_process.of_this_process() is not mine else b"mine")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(reader, 10) == b"own"
    assert guarded_process.of_this_process() is mine


def test_the_process_is_replaced_before_a_leak_grows(process, path, monkeypatch):
    monkeypatch.setattr(guarded_process, "FILES", 2)
    pids = []
    for _ in range(4):
        one(process, under_limits, path, work=doubled)
        pids.append(process.process.pid)
    assert pids[0] == pids[1] != pids[2] == pids[3]


def test_limits_are_those_of_a_file_and_are_lifted_after_it(process, path, monkeypatch):
    """On a machine of 64 processors NumPy alone takes 2.6 GB of addresses, some for each thread."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "64")
    threads, left, before, inside, after = one(process, surroundings, path)
    assert threads == "1"
    assert 0.97 * LIMITS.memory < left <= LIMITS.memory
    assert before == after == [resource.getrlimit(kind) for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU)]
    assert all(limit != earlier for limit, earlier in zip(inside, before, strict=True))


def test_a_large_series_is_not_refused(process, path):
    assert one(process, large_series, path) == 9


def test_work_between_files_may_take_its_time(process, path):
    assert one(process, long_work, path) == "done"


def test_a_process_knows_whether_it_is_guarded(process, path):
    assert one(process, says_guarded, path) == (True, "False")
    assert not is_guarded()


def test_a_decoder_complains_to_nobody(process, path, capfd):
    one(process, complain, path)
    assert capfd.readouterr().err == "heard heard again"


def test_a_process_that_does_not_start_is_told(process, path, monkeypatch):
    monkeypatch.setattr(guarded_process, "START", "raise SystemExit(3)")
    with pytest.raises(NoProcessError, match="does not start"):
        one(process, doubled, path)
    monkeypatch.undo()
    assert one(process, doubled, path) == 42


def killed_by(path, *, number, times):
    """End this process by a signal as often as `times`, which a file beside counts, then double."""
    seen = path.with_name("seen")
    seen.write_text(seen.read_text() + "." if seen.exists() else ".")
    if len(seen.read_text()) <= times:
        if number != signal.SIGKILL:
            # under nohup, tests and their processes ignore SIGHUP
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        time.sleep(60)
    return doubled(path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("guarding", [False, True])
def test_a_process_that_somebody_killed_once_costs_no_case(process, path, number, guarding):
    work = partial(killed_by, number=number, times=1)
    assert one(process, partial(under_limits, work=work) if guarding else work, path) == 42
    assert process.ended == 1


def test_a_case_that_ends_two_processes_is_lost(process, path):
    assert one(process, partial(killed_by, number=signal.SIGKILL, times=2), path) == "lost"


def test_a_machine_without_processes_is_not_blamed_on_a_file(process, path, monkeypatch):
    def no_more(*arguments, **options):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(guarded_process.subprocess, "Popen", no_more)
    with pytest.raises(NoProcessError, match=r"cannot be started: .*temporarily unavailable"):
        one(process, doubled, path)


def test_a_stopped_process_starts_no_other(process, path):
    with ThreadPoolExecutor(1) as threads:
        one(process, doubled, path)
        waiting = threads.submit(one, process, hang, path)
        while not process.busy:
            time.sleep(0.01)
        process.stop()
        assert isinstance(waiting.exception(timeout=60), NoProcessError)
    assert process.ended == 0


def test_a_script_is_not_run_again_and_no_process_is_left(tmp_path):
    script = tmp_path / "mine.py"
    script.write_text(
        "print('once')\n"
        "from pathlib import Path\n"
        "from headwater.core.guarded_process import of_this_process\n"
        "(size,) = of_this_process().run(Path.exists, [Path(__file__)], lost=None)\n"
        "print(size, of_this_process().process.pid)\n"
    )
    process = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    once, last = process.stdout.splitlines()
    assert (once, last.split()[0], process.stderr) == ("once", "True", "")
    assert not Path(f"/proc/{last.split()[1]}").exists()
