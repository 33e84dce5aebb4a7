"""A pre-training that is killed with SIGKILL anywhere goes on exactly, whatever its method."""

import signal
import zlib
from dataclasses import asdict

import numpy as np
import pytest
import torch

import prepared_made
from killed_made import PLACES, trainings
from test_methods import METHODS, SIDE, source

STEPS = 12


def products(folder):
    """The bytes of the encoder, and of the losses and learning rates of all steps."""
    return (folder / "e.safetensors").read_bytes(), (folder / "history" / "metrics.csv").read_bytes()


def saved_step(folder):
    progress = folder / "progress.pt"
    return torch.load(progress, weights_only=True)["step"] if progress.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize("kills", [6, pytest.param(20, marks=pytest.mark.soak)])
@pytest.mark.parametrize("method", METHODS)
def test_killed_at_random_steps_it_ends_in_the_same_bytes(tmp_path, method, kills):
    chance = np.random.default_rng(zlib.crc32(method.encode()))
    wanted = source(method, steps=STEPS, batch=8, warmup_steps=3, save_minutes=0)
    size = SIDE.get(method, 32)
    made = {name: str(path) for name, path in asdict(prepared_made.archive(tmp_path / "made", size=size)).items()}
    folders = [tmp_path / str(number) for number in range(kills)]
    same = {"source": wanted.as_json(), "made": made, "size": size}
    # anywhere in the training, but as often in each part of it
    steps = [1 + (number * STEPS + int(chance.integers(STEPS))) // kills for number in range(kills)]
    deaths = [
        {"folder": str(folder), **same, "at": step, "place": str(chance.choice(PLACES))}
        for folder, step in zip(folders, steps, strict=True)
    ]
    assert trainings(deaths) == [-signal.SIGKILL] * kills
    # some lost all, some the steps since the last save, and some nothing
    assert len({saved_step(folder) for folder in folders}) > 3
    left_alone = tmp_path / "left_alone"
    assert trainings([{"folder": str(folder), **same} for folder in (left_alone, *folders)]) == [0] * (kills + 1)
    expected = products(left_alone)
    assert expected[1].count(b"training/loss") == expected[1].count(b"training/lr") == STEPS
    assert [products(folder) == expected for folder in folders] == [True] * kills
