"""What tests of several places ask for."""

import os
from collections.abc import Callable

import pytest
from hypothesis import settings

from records_made import written

# how long a case takes says more of what else the machine does than of the case
settings.register_profile("headwater", deadline=None)
settings.load_profile("headwater")


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
