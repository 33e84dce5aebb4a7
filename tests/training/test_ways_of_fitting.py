"""Each way to fine-tune changes what is learned, resumes exactly, and does not depend on the number of ranks."""

import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import fitted_made
import headwater
import rounding
import warm
from fitted_made import STEPS, WAYS, fit, learner, of_way, pictures
from headwater.models.tasks import classification
from headwater.training.views.pictures import as_float
from training_made import losses, products


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """The folder in which two ranks left a training of each way."""
    folder = tmp_path_factory.mktemp("two_ranks")
    library = os.pathsep.join(str(Path(path).parent) for path in (Path(headwater.__file__).parent, rounding.__file__))
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    line = [warm.python(), *torchrun, fitted_made.__file__, str(folder)]
    environment = {**os.environ, "PYTHONPATH": library}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_two_ranks_learn_what_one_does(two_ranks, tmp_path, way):
    with rounding.in_float64():
        fit(tmp_path, of_way(way))
    one, two = losses(tmp_path), losses(two_ranks / way)
    assert len(one) == len(two) == STEPS == len(set(one))
    np.testing.assert_allclose(two, one, **rounding.NEAR)


@pytest.mark.parametrize("way", WAYS)
def test_a_way_changes_what_is_learned(tmp_path, way):
    fit(tmp_path / "so", of_way(way))
    fit(tmp_path / "plain", learner(WAYS[way][0]))
    assert (losses(tmp_path / "so") != losses(tmp_path / "plain")).any()


@pytest.mark.parametrize("way", WAYS)
def test_killed_and_resumed_it_ends_in_the_same_bytes(tmp_path, way, monkeypatch):
    fit(tmp_path / "alone", of_way(way))
    killed = of_way(way)

    def after_step(*, step, steps):
        if step == STEPS // 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(killed, "after_step", after_step)
    with pytest.raises(SystemExit):
        fit(tmp_path / "killed", killed)
    fit(tmp_path / "killed", of_way(way))
    assert products(tmp_path / "killed") == products(tmp_path / "alone")


@pytest.mark.parametrize("way", WAYS)
def test_it_learns_better_than_nothing(tmp_path, way):
    made = of_way(way, steps=60, lr=3e-3, optimiser="adamw", ema=None, batch=16)
    fit(tmp_path, made)
    # 28 cases: that of chance has a standard deviation of 0.11 for a label, and of 0.065 for the mean of three
    assert _auroc(made) > 0.5 + 4 * 0.065 > _auroc(of_way(way))


def _auroc(made) -> float:
    """The macro AUROC of the training pictures."""
    images, targets = pictures()
    made.mode(False)
    with torch.no_grad():
        answers = made.network(as_float(torch.from_numpy(images[1:29])))
    evidence = classification.evidence(answers, targets[1:29], form="multilabel")
    return classification.validation_score(evidence)
