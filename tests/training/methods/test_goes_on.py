"""A pre-training that is killed with SIGKILL anywhere goes on exactly, whatever its method."""

import signal
import zlib
from dataclasses import asdict

import numpy as np
import pytest
import torch

import prepared_made
import volume_ranks_made
from headwater.study.source import Source
from killed_made import PLACES, trainings
from test_methods import METHODS, SIDE, source
from test_volume_methods import NETWORKS
from test_volume_methods import SMALL as SMALL_OF_VOLUMES
from test_volume_methods import size as size_of_patch

STEPS = 12


def products(folder):
    """The bytes of the encoder, and of the losses and learning rates of all steps."""
    return (folder / "e.safetensors").read_bytes(), (folder / "history" / "metrics.csv").read_bytes()


def saved_step(folder):
    progress = folder / "progress.pt"
    return torch.load(progress, weights_only=True)["step"] if progress.exists() else 0


def of_pictures(method, folder):
    """The source of a pre-training on pictures, its files, and their size."""
    size = SIDE.get(method, 32)
    made = asdict(prepared_made.archive(folder, size=size))
    return source(method, steps=STEPS, batch=8, warmup_steps=3, save_minutes=0), made, size


def of_larger_pictures(method, folder):
    """The source of a pre-training on views of larger pictures, its files, and the size of the views."""
    made, size = asdict(prepared_made.archive(folder, size=48)), 32
    wanted = source(method, steps=STEPS, batch=8, warmup_steps=3, save_minutes=0)
    return wanted.model_copy(update={"view": size}), made, size


def of_volumes(method, folder):
    """The source of a pre-training on volumes, its files, and the patch."""
    made = volume_ranks_made.archive(folder, sides=(18, 18, 10) if method in NETWORKS else (10, 12, 8))
    files = {"cases": made.cases, "images": made.images, "rows": made.cases.with_name("rows.parquet")}
    training = {"steps": STEPS, "batch": 8, "lr": 2e-3, "warmup_steps": 3, "validations": 2, "save_minutes": 0}
    wanted = Source(
        name="made",
        backbone=NETWORKS.get(method, "tiny/net"),
        method={"name": method, **SMALL_OF_VOLUMES[method]},
        corpus="made",
        training=training,
        views=volume_ranks_made.VIEWS,
        seen=volume_ranks_made.SEEN,
        mean=(0.0,),
        std=(1.0,),
        # so few steps on so few cases
        collapse={"spread": 0},
    )
    return wanted, files, list(size_of_patch(method))


EACH = [*((method, of_pictures) for method in METHODS), *((method, of_volumes) for method in SMALL_OF_VOLUMES)]
EACH += [("dino", of_larger_pictures)]
DAILY = {*((method, of_pictures) for method in METHODS), ("dino", of_volumes), ("dino", of_larger_pictures)}


@pytest.mark.slow
@pytest.mark.parametrize("kills", [6, pytest.param(20, marks=pytest.mark.soak)])
@pytest.mark.parametrize(
    ("method", "kind"),
    [pytest.param(*each, marks=() if each in DAILY else pytest.mark.soak) for each in EACH],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_killed_at_random_steps_it_ends_in_the_same_bytes(tmp_path, method, kind, kills):
    chance = np.random.default_rng(zlib.crc32(method.encode()))
    wanted, files, size = kind(method, tmp_path / "made")
    made = {name: str(path) for name, path in files.items()}
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
