"""Grades in order: probabilities by one number and thresholds on it."""

import numpy as np
import pytest
import torch

import rounding
from headwater.core.errors import UserError
from headwater.models.tasks import classification, ordinal

GRADES = 5


class Encoder:
    width = 6


def graded(seed=3):
    return ordinal.head(Encoder(), labels=GRADES, seed=seed)


def one_hot(grades) -> np.ndarray:
    return np.eye(GRADES, dtype=np.float32)[np.asarray(grades)]


def test_probabilities_are_those_of_proportional_odds(float64):
    head = graded().double()
    with torch.no_grad():
        head.number.weight.mul_(50)
    features = torch.randn(40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logs = head(features)
    number = head.number(features)
    below = torch.sigmoid(head.thresholds - number)
    cumulated = torch.cat([torch.zeros(40, 1), below, torch.ones(40, 1)], dim=1)
    torch.testing.assert_close(logs.exp(), cumulated.diff(dim=1), **rounding.NEAR)
    torch.testing.assert_close(logs.exp().sum(dim=1), torch.ones(40), **rounding.NEAR)


def test_at_first_all_grades_are_as_likely_and_thresholds_ascend(float64):
    head = graded().double()
    with torch.no_grad():
        head.number.weight.zero_()
    torch.testing.assert_close(head(torch.ones(1, 6)).exp(), torch.full((1, GRADES), 1 / GRADES), rtol=1e-3, atol=0)
    with torch.no_grad():
        head.steps.fill_(-1e3)
    assert (head.thresholds.diff() > 0).all()


def test_numbers_far_out_have_finite_losses_and_scores():
    head = graded()
    with torch.no_grad():
        head.number.weight.fill_(1e3)
        outputs = head(torch.tensor([[100.0] * 6, [-100.0] * 6]))
    assert outputs.isfinite().all()
    scores = ordinal.evidence(outputs, one_hot([4, 0]), form="ordered")["score"]
    assert np.isfinite(scores).all() and scores[0].argmax() == 4 and scores[1].argmax() == 0


def test_a_grade_next_to_the_right_one_is_less_wrong():
    head = graded()
    numbers = torch.linspace(-6, 6, 50)[:, None]
    with torch.no_grad():
        head.number = torch.nn.Identity()
        losses = [
            ordinal.loss(head(numbers), torch.from_numpy(one_hot([0] * 50)), weights=torch.ones(5), form="ordered")
        ]
        each = -head(numbers)[:, 0]
    assert losses[0] == pytest.approx(float(each.mean()), rel=1e-5)
    assert (each.diff() > 0).all()


def test_the_loss_of_a_batch_is_the_mean_over_its_shares_and_unknown_cases_add_nothing():
    outputs = torch.log_softmax(torch.randn(8, GRADES, generator=torch.Generator().manual_seed(1)), dim=1)
    targets = one_hot([0, 1, 2, 3, 4, 4, 3, 2])
    targets[5] = np.nan
    whole = ordinal.loss(outputs, torch.from_numpy(targets), weights=torch.ones(GRADES), form="ordered")
    shares = [
        ordinal.loss(outputs[at], torch.from_numpy(targets[at]), weights=torch.ones(GRADES), form="ordered")
        for at in (slice(0, 4), slice(4, 8))
    ]
    assert float(whole) == pytest.approx(float(sum(shares) / 2), rel=1e-6)
    known = [row for row in range(8) if row != 5]
    wanted = -sum(float(outputs[row, targets[row].argmax()]) for row in known) / 8
    assert float(whole) == pytest.approx(wanted, rel=1e-6)


def test_grades_that_are_none_are_refused():
    with pytest.raises(UserError, match="2 grades have no order to learn; use the task classification"):
        ordinal.form(one_hot([0, 1])[:, :2])
    with pytest.raises(UserError, match="only some of the grades are asked for; list all grades"):
        ordinal.form(one_hot([0, 1, 2]), partial=True)
    several = one_hot([0, 1, 2])
    several[0, 3] = 1
    with pytest.raises(UserError, match="1 cases have no grade or several; list all grades"):
        ordinal.form(several)
    several[0, 3] = np.nan
    assert ordinal.form(several) == "ordered"


def test_it_learns_grades_of_few_cases_better_than_classes_do(float64):
    """Of five grades along one direction, two thresholds' worth of cases are seen: the order tells the rest."""
    draw = torch.Generator().manual_seed(5)
    direction = torch.randn(6, generator=draw)

    def drawn(count):
        features = torch.randn(count, 6, generator=draw)
        number = features @ direction + 0.3 * torch.randn(count, generator=draw)
        edges = torch.tensor([-2.0, -0.7, 0.7, 2.0])
        return features, torch.from_numpy(one_hot(torch.bucketize(number, edges).numpy())).double()

    seen, held = drawn(24), drawn(400)
    scores = {}
    for name, plugin, head, form in (
        ("ordinal", ordinal, graded().double(), "ordered"),
        ("classes", classification, classification.head(Encoder(), labels=GRADES, seed=3).double(), "multiclass"),
    ):
        optimiser = torch.optim.Adam(head.parameters(), lr=0.05)
        for _ in range(200):
            optimiser.zero_grad()
            plugin.loss(head(seen[0]), seen[1], weights=torch.ones(GRADES), form=form).backward()
            optimiser.step()
        with torch.no_grad():
            evidence = plugin.evidence(head(held[0]), held[1].numpy(), form=form)
        grade = evidence["score"].argmax(axis=1)
        scores[name] = np.abs(grade - held[1].numpy().argmax(axis=1)).mean()
    assert scores["ordinal"] < scores["classes"] < 1.0
