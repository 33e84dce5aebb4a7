"""Compiled trainings: their losses and all that they leave are those of plain ones, but for rounding."""

import dataclasses
import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import compiled_made
import headwater
import rounding
import tiny_networks_made
import training_made
import warm
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.models import backbones, compiled
from headwater.training import ddp, scoring
from test_every_option import images, learner
from test_methods import METHODS
from test_recomputed import STEPS, trained

BY_BLOCKS = [method for method in METHODS if registry.constant("methods", method, "BY_BLOCKS", default=True)]
DAILY = {"mae", "byol", "dino"}
COMPILED = dataclasses.replace(training_made.ALONE, compiled=True)

needs_compiler = pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="needs C++")


@pytest.fixture
def traced(monkeypatch):
    """Networks are traced as to be compiled, and then computed as torch does, without a compiler of C++."""
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    compiled.prepare(torch.device("cpu"))
    yield
    torch._dynamo.reset()


@pytest.fixture
def by_inductor():
    """Networks are compiled by what compiles them for users."""
    compiled.prepare(torch.device("cpu"))
    yield
    torch._dynamo.reset()


def graphs() -> int:
    """How many graphs torch has compiled so far."""
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def alike(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """Compare what two trainings leave, name by name."""
    assert list(one) == list(other)
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, **rounding.NEAR)


@pytest.mark.parametrize(
    "method", [pytest.param(each, marks=() if each in DAILY else pytest.mark.soak) for each in BY_BLOCKS]
)
def test_each_method_learns_the_same(method, tmp_path, float64, traced):
    losses, left = trained(tmp_path / "plain", learner(method), method)
    before = graphs()
    again, left_again = trained(tmp_path / "compiled", learner(method), method, world=COMPILED)
    assert graphs() > before
    np.testing.assert_allclose(again, losses, **rounding.NEAR)
    alike(left, left_again)


@pytest.mark.parametrize("name", ["residual", "twice"])
def test_batchnorm_and_blocks_that_are_computed_twice_stay_the_same(name, tmp_path, float64, traced):
    method, network, changes = compiled_made.TRAININGS[name]
    losses, left = trained(tmp_path / "plain", learner(method, **network), method, **changes)
    before = graphs()
    again, left_again = trained(
        tmp_path / "compiled", learner(method, **network), method, world=COMPILED, ema=0.5, **changes
    )
    assert graphs() > before
    np.testing.assert_allclose(again, losses, **rounding.NEAR)
    assert len(set(losses)) == STEPS and list(left) == list(left_again)


def dropping() -> nn.Module:
    """DINO of a transformer whose layers of dropout drop something."""
    module = learner("dino", backbone="timm/test_vit")
    dropouts = [layer for layer in module.student.modules() if isinstance(layer, nn.Dropout)]
    for layer in dropouts:
        layer.p = 0.2
    assert dropouts
    return module


@needs_compiler
@pytest.mark.slow
def test_torchs_own_compiler_makes_a_training_that_goes_on_exactly(tmp_path, float64, by_inductor):
    _, plain = trained(tmp_path / "plain", dropping(), "dino")
    _, whole = trained(tmp_path / "whole", dropping(), "dino", world=COMPILED)
    # dropout too is as it was
    alike(plain, whole)
    stopped = dropping()
    after = stopped.after_step

    def stopping(*, step, steps):
        after(step=step, steps=steps)
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    stopped.after_step = stopping
    torch._dynamo.reset()
    with pytest.raises(SystemExit):
        trained(tmp_path / "stopped", stopped, "dino", world=COMPILED)
    torch._dynamo.reset()
    _, resumed = trained(tmp_path / "stopped", dropping(), "dino", world=COMPILED)
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


@pytest.mark.parametrize("network", ["tiny/unet", "timm/test_resnet"])
def test_maps_of_features_and_decoders_are_compiled_too(network, tmp_path, float64, traced):
    with tiny_networks_made.there(tmp_path):
        size = (8, 8, 6) if network.startswith("tiny") else 32
        encoder = backbones.build(network, size=size, mean=(0.0,), std=(1.0,), seed=0)
        seen = torch.rand(2, encoder.colours, *encoder.space)
        encoder.eval()

        def told() -> list[torch.Tensor]:
            levels = encoder.levels(seen)
            return [*levels, *(encoder.decoded(levels) if encoder.outlines else [])]

        plain = told()
        encoder.compile_passes()
        before = graphs()
        for one, other in zip(plain, told(), strict=True):
            torch.testing.assert_close(one, other, **rounding.NEAR)
        assert graphs() == before + 1 + bool(encoder.outlines)


def test_scores_are_those_of_the_plain_network_to_the_bit(traced):
    encoder = learner("mae").encoder
    scored = {"images": images("mae").numpy(), "rows": np.arange(5), "batch": 2}
    plain = scoring.score(encoder, world=training_made.ALONE, **scored)
    encoder.compile_passes()
    before = graphs()
    assert torch.equal(scoring.score(encoder, world=COMPILED, **scored), plain)
    assert graphs() == before


def test_a_method_that_would_run_nothing_compiled_is_refused(tmp_path, traced):
    with pytest.raises(UserError, match="spark goes through the encoder layer by layer"):
        trained(tmp_path / "spark", learner("spark"), "spark", world=COMPILED)


def test_a_machine_without_a_compiler_is_told_so_before_it_trains(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    with (
        torch._inductor.config.patch({"cpp.cxx": (None, "/no/such/compiler"), "force_disable_caches": True}),
        pytest.raises(UserError, match="torch cannot compile") as refused,
        ddp.world(threads=1, device="cpu", compile=True),
    ):
        pass
    assert "\n" not in str(refused.value) and "compute.compile: false" in str(refused.value)


@pytest.mark.slow
def test_two_ranks_learn_what_one_learns(tmp_path, float64):
    compiled_made.all_trained(tmp_path, training_made.ALONE, names=("masked", "residual", "twice without BatchNorm"))
    paths = [Path(headwater.__file__).parents[1], *Path(__file__).parents[:3]]
    line = [warm.python(), "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", rounding.__file__]
    done = subprocess.run(
        [*line, compiled_made.__file__, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    for name in ("masked", "residual", "twice without BatchNorm"):
        one, two = (training_made.losses(folder / name) for folder in (tmp_path, tmp_path / "0"))
        np.testing.assert_allclose(two, one, **rounding.NEAR)
