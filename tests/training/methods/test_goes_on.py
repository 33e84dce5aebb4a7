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

KILLS, STEPS = 20, 12


def products(folder):
    """The bytes of the encoder, and of the losses and learning rates of all steps."""
    return (folder / "e.safetensors").read_bytes(), (folder / "history" / "metrics.csv").read_bytes()


def saved_step(folder):
    progress = folder / "progress.pt"
    return torch.load(progress, weights_only=True)["step"] if progress.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_killed_at_random_steps_it_ends_in_the_same_bytes(tmp_path, method):
    chance = np.random.default_rng(zlib.crc32(method.encode()))
    wanted = source(method, steps=STEPS, warmup_steps=3, save_minutes=0)
    size = SIDE.get(method, 32)
    made = {name: str(path) for name, path in asdict(prepared_made.archive(tmp_path / "made", size=size)).items()}
    folders = [tmp_path / str(number) for number in range(KILLS)]
    same = {"source": wanted.as_json(), "made": made, "size": size}
    kills = [
        {"folder": str(folder), **same, "at": int(chance.integers(1, STEPS + 1)), "place": str(chance.choice(PLACES))}
        for folder in folders
    ]
    assert trainings(kills) == [-signal.SIGKILL] * KILLS
    # some lost all, some the steps since the last save, and some nothing
    assert len({saved_step(folder) for folder in folders}) > 3
    left_alone = tmp_path / "left_alone"
    assert trainings([{"folder": str(folder), **same} for folder in (left_alone, *folders)]) == [0] * (KILLS + 1)
    expected = products(left_alone)
    assert expected[1].count(b"training/loss") == expected[1].count(b"training/lr") == STEPS
    assert [products(folder) == expected for folder in folders] == [True] * KILLS
