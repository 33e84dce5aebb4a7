"""The batches of a loss that is no number are kept, and a replay of its step names where it comes from."""

import json
import re

import numpy as np
import pytest
import torch

from headwater.core.errors import UserError
from headwater.study.replaying import REPLAYED
from headwater.training.batches import of_step
from headwater.training.loop import Learner
from headwater.training.views import draws
from training_made import Paired, Small, paired, pictures, products, recipe, train

AT = 14
"""The step, counted from 1, whose loss is no number."""


class Seeing(Small):
    """Notes the pictures of each step, and multiplies the outputs of a module by infinity at one."""

    def __init__(self, *, module: str = "network.4"):
        super().__init__()
        self.seen: list[np.ndarray] = []
        self.module, self.step = module, 0

    def before_step(self, *, step):
        self.step = step

    def views(self, images, keys):
        self.seen.append(images.numpy().copy())
        return super().views(images, keys)

    def forward(self, views, targets):
        if self.step != AT - 1:
            return super().forward(views, targets)
        broken = self.get_submodule(self.module)
        hook = broken.register_forward_hook(lambda _module, _inputs, outputs: outputs * float("inf"), prepend=True)
        try:
            return super().forward(views, targets)
        finally:
            hook.remove()


class Steep(Small):
    """The loss of a step is finite, and its gradient is not."""

    def __init__(self):
        super().__init__()
        self.step = 0

    def before_step(self, *, step):
        self.step = step

    def forward(self, views, targets):
        loss = super().forward(views, targets)
        return loss + torch.sqrt((loss - loss) ** 2).sum() if self.step == AT - 2 else loss


class Compared(Paired):
    """Compares pictures by features of which those of one part become infinite at a step, or its loss alone."""

    def __init__(self, *, of_features: bool):
        super().__init__("layer")
        self.encoder = self.network
        self.of_features, self.step, self.calls = of_features, 0, 0

    def before_step(self, *, step):
        self.step, self.calls = step, 0

    def features(self, views):
        self.calls += 1
        # of the third of four parts
        if not self.of_features or self.step != AT - 1 or self.calls % 4 != 3:
            return super().features(views)
        broken = self.network[4]
        hook = broken.register_forward_hook(lambda _module, _inputs, outputs: outputs * float("inf"), prepend=True)
        try:
            return super().features(views)
        finally:
            hook.remove()

    def loss(self, features, momentum):
        loss = super().loss(features, momentum)
        return loss if self.of_features or self.step != AT - 1 else loss * float("nan")


def failed(folder, learner: Learner, *, parts: int = 1) -> dict:
    """What is kept of a training that fails."""
    with pytest.raises(UserError, match=f"the loss became nan at step {AT} with learning rate .*--replay` shows where"):
        train(folder, learner, training=recipe(ema=None, accumulate=parts))
    return json.loads((folder / "bad_loss.json").read_text())


def test_the_batch_and_the_one_before_are_kept_by_their_rows(tmp_path):
    learner = Seeing()
    kept = failed(tmp_path, learner)
    images, _ = pictures()
    assert kept["step"] == AT and kept["seed"] == 3 and [one["step"] for one in kept["batches"]] == [AT - 1, AT]
    for one in kept["batches"]:
        np.testing.assert_array_equal(images[one["rows"]], learner.seen[one["step"] - 1])
        # 28 training images, in batches of 8
        places = np.arange(8) + 8 * (one["step"] - 1)
        assert one["epochs"] == (places // 28).tolist() and set(one["rows"]) <= set(range(1, 29))
    before, bad = (one["loss"] for one in kept["batches"])
    assert bad == "nan" and 0 < before < 2
    # a training that goes well has none, even after one that went wrong
    train(tmp_path, Small(), training=recipe(ema=None))
    assert not (tmp_path / "bad_loss.json").exists()


@pytest.mark.parametrize(("module", "kind"), [("network.4", "Conv2d"), ("network.1", "BatchNorm2d")])
def test_a_replay_prints_the_losses_and_names_the_first_module(tmp_path, monkeypatch, capsys, module, kind):
    # whose checkpoint is an earlier one
    failed(tmp_path, Seeing(module=module))
    capsys.readouterr()
    monkeypatch.setenv(REPLAYED, str(AT))
    failed(tmp_path, Seeing(module=module))
    told = capsys.readouterr().err
    assert re.search(rf"^step {AT - 1}: loss 0\.\d+$", told, re.M) and re.search(rf"^step {AT}: loss nan$", told, re.M)
    assert f"step {AT - 1}: all outputs are finite" in told
    assert f"step {AT}: the first module with an output that is not finite: {module} ({kind})" in told
    assert told.count("the first module") == 1


@pytest.mark.parametrize("made", [Seeing, lambda: Compared(of_features=True), lambda: Compared(of_features=False)])
def test_of_a_batch_in_parts_the_whole_is_kept_and_a_step_is_told_once(tmp_path, monkeypatch, capsys, made):
    in_parts = failed(tmp_path, made(), parts=4)
    assert [len(one["rows"]) for one in in_parts["batches"]] == [8, 8]
    capsys.readouterr()
    monkeypatch.setenv(REPLAYED, str(AT))
    learner = made()
    assert failed(tmp_path, learner, parts=4)["batches"] == in_parts["batches"]
    told = capsys.readouterr().err
    assert told.count(f"step {AT - 1}: all outputs are finite") == 1 and f"step {AT}: loss nan" in told
    where = "network.4 (Conv2d)" if getattr(learner, "of_features", True) else "the loss (Compared)"
    assert told.count(f"step {AT}: the first module with an output that is not finite: {where}") == 1
    assert told.count("the first module") == 1


def test_in_a_replay_the_pictures_and_weights_of_a_batch_in_parts_are_looked_at(tmp_path, monkeypatch, capsys):
    class Blank(Compared):
        def views(self, images, keys):
            views = super().views(images, keys)
            # one picture of the last part
            blank = self.step == AT - 1 and (keys == self.last).any()
            return [view * float("nan") for view in views] if blank else views

    learner = Blank(of_features=False)
    epochs, rows = of_step(AT - 1, rows=np.arange(1, 29), batch=8, seed=3, reading_order="shuffled")
    numbers = {"epochs": torch.from_numpy(epochs[-1:]), "cases": torch.from_numpy(rows[-1:])}
    learner.last = draws.keys(seed=3, **numbers)
    monkeypatch.setenv(REPLAYED, str(AT))
    failed(tmp_path, learner, parts=4)
    told = capsys.readouterr().err
    assert f"step {AT}: not finite before the forward pass: the views of the images" in told
    assert f"step {AT - 1}: not finite" not in told


def test_a_replay_names_a_gradient_and_what_it_spoils(tmp_path, monkeypatch, capsys):
    failed(tmp_path, Steep())
    monkeypatch.setenv(REPLAYED, str(AT))
    with pytest.raises(UserError, match=f"the gradients became nan at step {AT - 1}"):
        train(tmp_path, Steep(), training=recipe(ema=None))
    assert f"step {AT - 1}: the first NaN of the backward pass: Function 'PowBackward0'" in capsys.readouterr().err


def test_a_replay_without_a_bad_loss_ends_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv(REPLAYED, "5")
    with pytest.raises(UserError, match=r"the loss of step 5 is a number here \(0\.\d+\); replay it on a machine"):
        train(tmp_path, Small())


def test_looking_changes_no_step(tmp_path, monkeypatch):
    train(tmp_path / "alone", Small(), training=recipe(steps=4, warmup_steps=2))
    # the step before is looked at as closely
    monkeypatch.setenv(REPLAYED, "5")
    train(tmp_path / "looked_at", Small(), training=recipe(steps=4, warmup_steps=2))
    assert products(tmp_path / "alone") == products(tmp_path / "looked_at")


def test_looking_changes_no_step_of_parts_that_are_compared(tmp_path, monkeypatch):
    short = recipe(steps=4, warmup_steps=2, accumulate=2)
    train(tmp_path / "alone", paired(dropout=0.2), training=short)
    monkeypatch.setenv(REPLAYED, "5")
    train(tmp_path / "looked_at", paired(dropout=0.2), training=short)
    assert products(tmp_path / "alone") == products(tmp_path / "looked_at")
