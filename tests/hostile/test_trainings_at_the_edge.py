"""Trainings at the edge: a batch without variance, a validation split that knows nothing, and Ctrl-C."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import prepared_made
from headwater.core.errors import INTERRUPTED, UserError
from headwater.data.store import CASES
from test_stopped import ended
from test_training_verbs import a_run, fitted, random_source
from training_made import STEPS, Doomed, Small, products, recipe, train

SCRIPTS = Path(__file__).parents[2] / "scripts"


def test_a_batch_without_variance_is_refused_in_the_first_step(tmp_path):
    learner = Small()
    learner.network.insert(9, nn.BatchNorm1d(8))
    with pytest.raises(
        UserError, match=r"a batch of 1 leaves a BatchNorm layer .*; raise batch to 2 or more"
    ) as refusal:
        train(tmp_path, learner, training=recipe(batch=1))
    assert "\n" not in str(refusal.value)
    # with more than one value a channel a batch of one is no mistake
    assert train(tmp_path / "wide", Small(), training=recipe(batch=1)).steps == STEPS


def test_another_error_of_a_value_is_not_mistaken_for_it(tmp_path):
    class Wrong(Small):
        def forward(self, views, targets):
            raise ValueError("something else")

    with pytest.raises(ValueError, match="something else"):
        train(tmp_path, Wrong())


@pytest.mark.parametrize("unknown", [["stripes"], list(prepared_made.LABELS)])
def test_a_loss_that_no_validation_case_defines_picks_no_step(tmp_path, capsys, unknown):
    made = prepared_made.archive(tmp_path / "made")
    cases = CASES.read(made.cases)
    cases.loc[cases["split"] == "validation", [f"target:{label}" for label in unknown]] = np.nan
    CASES.write(cases, made.cases)
    run = a_run(random_source(), select="loss", training={"steps": 2})
    if len(unknown) < len(prepared_made.LABELS):
        fitted(tmp_path, run, made)
        assert "no validation case tells of stripes: no part in picking the kept step" in capsys.readouterr().out
        return
    with pytest.raises(
        UserError, match="no label is known of any case in the validation split, so no loss can"
    ) as said:
        fitted(tmp_path, run, made)
    assert str(made.cases) in str(said.value) and not (tmp_path / "progress").exists()


def test_ctrl_c_saves_says_one_line_and_goes_on_to_the_same_end(tmp_path, capsys):
    train(tmp_path / "whole", Small())
    # twice, as a terminal and Snakemake may both send it
    deed = lambda: [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)]  # noqa: E731
    with pytest.raises(SystemExit) as stopped:
        train(tmp_path / "stopped", Doomed(at=13, deed=deed))
    assert stopped.value.code == INTERRUPTED
    said = [line for line in capsys.readouterr().err.splitlines() if "stopped" in line]
    assert said == [f"training: stopped at step 13 of {STEPS}, and saved; the same command goes on from there"]
    train(tmp_path / "stopped", Small())
    assert products(tmp_path / "stopped") == products(tmp_path / "whole")
    # outside of a training Ctrl-C is what it was
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
def test_ctrl_c_ends_a_training_in_its_own_process(tmp_path):
    assert ended(tmp_path, signal.SIGINT, after_row=8) == INTERRUPTED
    assert torch.load(tmp_path / "progress.pt", weights_only=False)
