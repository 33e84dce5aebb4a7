"""What tests of several places ask for."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from records_made import written

# how long a case takes says more of what else the machine does than of the case
# CI tries the same cases each time: what fails there is the change's, and what chance finds is found at a desk
settings.register_profile("headwater", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("headwater")

# a shell's background jobs ignore Ctrl-C, and so do the processes that tests start and send it to
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


ON_DEMAND = {"cluster": "on a real SLURM: make cluster", "soak": "takes long: make soak"}
"""Marks of tests that run only where -m names the mark, and how that is done."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what was not asked for, and bring the files with slow tests to the front: what is short fills the gaps."""
    for mark, how in ON_DEMAND.items():
        if mark not in config.getoption("-m"):
            for item in items:
                if item.get_closest_marker(mark):
                    item.add_marker(pytest.mark.skip(reason=how))
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """After `make soak`: how often each thing was tried, and how often it went wrong."""
    if "soak" not in config.getoption("-m"):
        return
    tried: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        if "soak" in report.keywords and (report.when == "call" or report.failed):
            name = report.nodeid.partition("[")[0].rpartition("::")[2].removeprefix("test_").replace("_", " ")
            tried[name] += 1
            wrong[name] += report.failed
    if tried:
        terminalreporter.section("soak: tried / wrong")
        for name, times in sorted(tried.items()):
            terminalreporter.write_line(f"{times:6d} / {wrong[name]:<5d} {name}")
        terminalreporter.write_line(f"{tried.total():6d} / {wrong.total():<5d} in all")


@pytest.fixture(autouse=True)
def torch_draws_the_same_each_time() -> None:
    """Bounds on rounding hold for the numbers of a test, not for any that chance could give it."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="module", autouse=True)
def figures_as_svg_only(request: pytest.FixtureRequest) -> Iterator[None]:
    """Reports in the tests of a module draw their PDF and PNG files, which take most of the time, only where asked."""
    drawing = sys.modules.get("headwater.reporting.drawing")
    if drawing is None or request.node.get_closest_marker("every_format"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing.Drawing, "pdf", b"%PDF of a test")
        patch.setattr(drawing.Drawing, "png", b"\x89PNG of a test")
        yield


@pytest.fixture(scope="module")
def float64() -> Iterator[None]:
    """What torch computes in the tests of a module is float64: see `rounding`."""
    # most tests need no torch, whose import takes seconds
    from rounding import in_float64

    with in_float64():
        yield


@pytest.fixture
def slurm_says(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A SLURM whose squeue and sacct print the lines that are given; none given: they fail."""
    folder = tmp_path_factory.mktemp("slurm")

    def says(*, squeue: list[str] | None = None, sacct: list[str] | None = None) -> None:
        for name, lines in (("squeue", squeue), ("sacct", sacct)):
            said = written(folder / f"{name}.txt", "".join(f"{line}\n" for line in lines or []))
            program = written(folder / name, f"#!/bin/sh\n{'exit 1' if lines is None else f'cat {said}'}\n")
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return says
