"""A training that was stopped anywhere ends as if it had been left alone."""

import os
import re
import signal
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import rounding
import training_made
from headwater.core.errors import UserError
from headwater.study.recipe import Training
from headwater.training import checkpoint, ddp, loop, machine_load, memory, schedule
from headwater.training.batches import training_batches
from training_made import ALONE, STEPS, Doomed, Paired, Small, losses, paired, products, recipe, train


class Crash(Exception):
    pass


def crash():
    raise Crash


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("left_alone")
    fitted = train(folder, Small(dropout=0.2))
    return folder, fitted


FEW = (1, 5, 12, 24)
"""The first step, the end of the warm-up, a step with a validation, the last step."""
OTHERS = [pytest.param(step, marks=pytest.mark.slow) for step in range(1, STEPS + 1) if step not in FEW]


@pytest.mark.parametrize("at", [*FEW, *OTHERS])
def test_stopped_by_a_signal_at_any_step_and_resumed_it_ends_in_the_same_bytes(tmp_path, left_alone, at):
    with pytest.raises(SystemExit) as stopped:
        train(tmp_path, Doomed(at=at, deed=terminate, dropout=0.2))
    assert stopped.value.code == 143
    saved = checkpoint.load(tmp_path / "progress.pt", identity="this one")
    assert saved["step"] == at
    assert train(tmp_path, Small(dropout=0.2)) == left_alone[1]
    assert products(tmp_path) == products(left_alone[0])


@pytest.mark.parametrize("at", [3, 11, 24])
def test_crashed_between_two_saves_it_goes_back_and_ends_in_the_same_bytes(tmp_path, left_alone, at):
    with pytest.raises(Crash):
        train(tmp_path, Doomed(at=at, deed=crash, dropout=0.2))
    assert train(tmp_path, Small(dropout=0.2)) == left_alone[1]
    assert products(tmp_path) == products(left_alone[0])


def test_killed_while_it_saves_it_takes_back_the_metrics_that_are_ahead(tmp_path, left_alone, monkeypatch):
    save = checkpoint.save

    def full(contents, progress, *, identity):
        if contents["step"] == 16:
            raise Crash
        save(contents, progress, identity=identity)

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(Crash):
        train(tmp_path, Small(dropout=0.2))
    monkeypatch.undo()
    assert checkpoint.load(tmp_path / "progress.pt", identity="this one")["step"] == 12
    assert len(losses(tmp_path)) == 16
    assert train(tmp_path, Small(dropout=0.2)) == left_alone[1]
    assert products(tmp_path) == products(left_alone[0])


def test_stopped_again_and_again_with_every_optimiser_it_ends_in_the_same_bytes(tmp_path):
    for optimiser in ("adamw", "adam", "sgd", "lars", "lamb"):
        training = recipe(optimiser=optimiser, steps=8, validations=2)
        alone, often = tmp_path / optimiser / "alone", tmp_path / optimiser / "often"
        train(alone, Small(), training=training)
        for at in (3, 4):
            with pytest.raises(SystemExit):
                train(often, Doomed(at=at, deed=terminate), training=training)
        train(often, Small(), training=training)
        assert products(often) == products(alone), optimiser


def test_the_signal_handlers_are_given_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1)
    train(tmp_path, Small(), training=recipe(steps=2, warmup_steps=0))
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1)) == before


def test_a_finished_training_is_taken_up_at_its_end(tmp_path, left_alone):
    train(tmp_path, Small(dropout=0.2))
    (tmp_path / "weights.safetensors").unlink()
    learner = Doomed(at=STEPS, deed=crash, dropout=0.2)
    assert train(tmp_path, learner) == left_alone[1]
    assert products(tmp_path) == products(left_alone[0])


def test_the_progress_of_another_training_is_left_aside(tmp_path, left_alone, capsys):
    train(tmp_path, Small(), training=recipe(steps=10), identity="another")
    assert train(tmp_path, Small(dropout=0.2)) == left_alone[1]
    assert products(tmp_path) == products(left_alone[0])
    assert "belongs to another training" in capsys.readouterr().err


def test_it_learns_and_the_learning_rate_rises_and_falls(left_alone):
    folder, _ = left_alone
    rates = [
        float(line.rpartition(",")[2]) for line in (folder / "metrics.csv").read_text().splitlines() if "/lr," in line
    ]
    rise = [0.02 * step / 6 for step in range(1, 6)]
    fall = [0.01 * (1 + np.cos(np.pi * step / 19)) for step in range(19)]
    assert rates == pytest.approx(rise + fall)
    trace = losses(folder)
    assert len(trace) == STEPS
    assert trace[-5:].mean() < trace[:5].mean()


def selected(folder, learner, values, *, direction="max", **changes):
    """Fit with these validation scores, one after another; (how it went, the weights that each validation saw)."""
    scores, seen = iter(values), []

    def judge(learner):
        assert not learner.training
        seen.append({key: tensor.clone() for key, tensor in learner.state_dict().items()})
        return {"validation/score": next(scores)}

    return train(folder, learner, validate=judge, select=("validation/score", direction), **changes), seen


def same(one, other):
    return all(torch.equal(tensor, other[key]) for key, tensor in one.items())


@pytest.mark.parametrize(("direction", "best"), [("max", 2), ("min", 0)])
def test_the_kept_weights_are_those_of_the_best_validation_and_nan_never_wins(tmp_path, direction, best):
    values = [0.5, float("nan"), 0.9, 0.7, float("nan"), 0.8]
    learner = Small()
    fitted, seen = selected(tmp_path, learner, values, direction=direction)
    assert fitted == loop.Fitted(steps=STEPS, kept_step=4 * (best + 1), score=values[best], stopped_early=False)
    assert same(learner.state_dict(), seen[best])
    assert not same(learner.state_dict(), seen[3])


def test_where_every_validation_is_nan_the_last_weights_are_kept(tmp_path):
    learner = Small()
    fitted, seen = selected(tmp_path, learner, [float("nan")] * 6)
    assert (fitted.kept_step, fitted.score) == (STEPS, None)
    assert same(learner.state_dict(), seen[-1])


def test_patience_ends_a_training_and_a_restart_knows_it(tmp_path):
    values = [0.5, 0.6, 0.6, float("nan"), 1.0, 1.0]
    fitted, _ = selected(tmp_path, Small(), values, training=recipe(patience=2))
    assert fitted == loop.Fitted(steps=16, kept_step=8, score=0.6, stopped_early=True)
    before = products(tmp_path)
    again, seen = selected(tmp_path, Doomed(at=17, deed=crash), [], training=recipe(patience=2))
    assert again == fitted and not seen
    assert products(tmp_path) == before


@rounding.in_float64()
def test_the_moving_average_is_what_is_validated_and_kept(tmp_path):
    training = recipe(ema=0.8, steps=8, validations=1, warmup_steps=0, clip=None)
    plain, averaged = Small(), Small()
    trace = []
    plain.after_step = lambda **_: trace.append({key: value.clone() for key, value in plain.state_dict().items()})
    train(tmp_path / "plain", plain, training=training.model_copy(update={"ema": None}), validate=None)
    train(tmp_path / "averaged", averaged, training=training, validate=None)
    expected = trace[0]["network.10.weight"]
    for done, now in enumerate(trace[1:], start=2):
        decay = min(0.8, 1 - done ** (-2 / 3))
        expected = expected + (1 - decay) * (now["network.10.weight"] - expected)
    torch.testing.assert_close(averaged.state_dict()["network.10.weight"], expected, **rounding.NEAR)
    assert losses(tmp_path / "plain").tolist() == losses(tmp_path / "averaged").tolist()


def test_gradients_are_clipped(tmp_path):
    clipped, free = Small(), Small()
    start = free.network[10].weight.detach().clone()
    for learner, clip in ((clipped, 1e-3), (free, None)):
        training = recipe(steps=1, warmup_steps=0, optimiser="sgd", weight_decay=0, lr=1, ema=None, clip=clip)
        train(tmp_path / str(clip), learner, training=training, validate=None)
    assert (clipped.network[10].weight - start).norm() < 3e-3 < (free.network[10].weight - start).norm()


def test_a_loss_that_is_no_number_stops_the_training_and_leaves_the_progress_whole(tmp_path):
    class Poisoned(Small):
        poison = 1.0

        def forward(self, views, targets):
            return super().forward(views, targets) * self.poison

        def after_step(self, *, step, steps):
            self.poison = float("nan") if step == 12 else 1.0

    with pytest.raises(UserError, match=r"loss became nan at step 14 with learning rate 0\.0\d+; lower lr"):
        train(tmp_path, Poisoned())
    saved = checkpoint.load(tmp_path / "progress.pt", identity="this one")
    assert saved["step"] == 12
    assert all(tensor.isfinite().all() for tensor in saved["learner"].values())


def test_what_cannot_be_trained_is_refused(tmp_path):
    with pytest.raises(UserError, match="no image to train on"):
        train(tmp_path, Small(), rows=np.arange(0))
    with pytest.raises(UserError, match="layer_decay"):
        train(tmp_path, Small(), training=recipe(layer_decay=0.7))
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        train(tmp_path, Small(), training=recipe(precision="fp16"))
    with pytest.raises(UserError, match="tf32 needs a GPU"):
        train(tmp_path, Small(), training=recipe(precision="tf32"))


def test_bf16_trains_and_resumes_exactly(tmp_path):
    training = recipe(precision="bf16", steps=12, validations=2)
    train(tmp_path / "alone", Small(), training=training)
    with pytest.raises(SystemExit):
        train(tmp_path / "stopped", Doomed(at=7, deed=terminate), training=training)
    train(tmp_path / "stopped", Small(), training=training)
    assert products(tmp_path / "stopped") == products(tmp_path / "alone")


def test_only_where_it_is_asked_for_is_float32_rounded_to_tf32():
    places = (torch.backends.cuda.matmul, torch.backends.cudnn)
    with ddp.world(threads=1):
        for precision, rounded in (("fp32", False), ("tf32", True), ("auto", False)):
            with ddp.tensor_float(precision):
                assert [place.allow_tf32 for place in places] == [rounded] * 2
        assert not any(place.allow_tf32 for place in places)


def test_a_training_that_began_on_a_gpu_goes_on_on_a_cpu(tmp_path):
    train(tmp_path / "alone", Small())
    with pytest.raises(SystemExit):
        train(tmp_path / "moved", Doomed(at=7, deed=terminate))
    progress = tmp_path / "moved" / "progress.pt"
    saved = checkpoint.load(progress, identity="this one")
    for group in saved["optimiser"]["param_groups"]:
        group["fused"] = True
    for held in saved["optimiser"]["state"].values():
        for name, value in held.items():
            held[name] = value.to(memory_format=torch.channels_last) if value.ndim == 4 else value
    checkpoint.save(saved, progress, identity="this one")
    train(tmp_path / "moved", Small())
    assert products(tmp_path / "moved") == products(tmp_path / "alone")


def test_by_default_norms_and_biases_do_not_decay():
    training = Training(steps=1, weight_decay=0.3)
    groups = {group["weight_decay"]: len(group["params"]) for group in Small().parameter_groups(training)}
    assert groups == {0.0: 5, 0.3: 3}


class TestBatchesInParts:
    @pytest.mark.parametrize("parts", [2, 4, 8])
    def test_where_no_image_depends_on_others_the_losses_are_those_of_whole_batches(self, tmp_path, float64, parts):
        train(tmp_path / "whole", Small("layer"))
        train(tmp_path / "parts", Small("layer"), training=recipe(accumulate=parts))
        whole, in_parts = losses(tmp_path / "whole"), losses(tmp_path / "parts")
        np.testing.assert_allclose(in_parts, whole, **rounding.NEAR)
        assert len(set(whole)) == STEPS

    def test_batch_norm_has_the_statistics_of_each_part(self, tmp_path, float64):
        train(tmp_path / "whole", Small())
        train(tmp_path / "parts", Small(), training=recipe(accumulate=2))
        assert abs(losses(tmp_path / "parts")[0] - losses(tmp_path / "whole")[0]) > 1e-4

    def test_stopped_it_ends_in_the_same_bytes(self, tmp_path):
        training = recipe(accumulate=4, steps=8, validations=2)
        train(tmp_path / "alone", Small("layer"), training=training)
        with pytest.raises(SystemExit):
            train(tmp_path / "often", Doomed(at=3, deed=terminate, norm="layer"), training=training)
        train(tmp_path / "often", Small("layer"), training=training)
        assert products(tmp_path / "often") == products(tmp_path / "alone")

    def test_parts_that_are_not_equal_are_refused(self, tmp_path):
        with pytest.raises(UserError, match="3 equal parts cannot be made of the 8 images of a batch"):
            train(tmp_path, Small(), training=recipe(accumulate=3))


def room(learner, *, parts):
    """A device with just as much memory as a step takes in so many parts, which is all that is counted on."""
    images, targets = training_made.pictures()
    held = {"images": images, "rows": np.arange(1, 29), "targets": targets[1:29], "seed": 3}
    [whole] = training_batches(range(1), **held, batch=8, world=training_made.ALONE)
    whole = whole.to(training_made.ALONE.device)
    batches = whole.cut(slice(1)), whole.cut(slice(2))
    if isinstance(learner.network[1], torch.nn.BatchNorm2d):
        batches = whole.cut(slice(2)), whole.cut(slice(4))
    step = memory.measured(learner, batches, training=recipe(), steps=STEPS, format=None, seed=3)
    assert step.needed(8, parts=parts) < 0.9 * step.needed(8, parts=max(1, parts // 2)) or parts == 1
    return replace(training_made.ALONE, memory=1 + int(step.needed(8, parts=parts) / 0.9))


class TestPartsByTheMemoryAtHand:
    @pytest.mark.parametrize("parts", [1, 2, 4, 8])
    def test_the_fewest_are_taken_that_fit(self, tmp_path, capsys, parts):
        learner = Small("layer", dropout=0.2)
        fitted = train(tmp_path / "auto", learner, training=recipe(accumulate="auto"), world=room(learner, parts=parts))
        assert fitted.parts == parts
        said = f"training: accumulate is {parts}: {8 // parts} image"
        assert sum(line.startswith(said) for line in capsys.readouterr().err.splitlines()) == 1
        train(tmp_path / "asked", Small("layer", dropout=0.2), training=recipe(accumulate=parts))
        assert products(tmp_path / "auto") == products(tmp_path / "asked")

    @pytest.mark.parametrize("elsewhere", [1, 8])
    def test_stopped_it_keeps_them_on_a_larger_and_on_a_smaller_gpu(self, tmp_path, elsewhere):
        auto, learner = recipe(accumulate="auto"), Small("layer", dropout=0.2)
        here, there = (room(learner, parts=parts) for parts in (4, elsewhere))
        fitted = train(tmp_path / "alone", Small("layer", dropout=0.2), training=auto, world=here)
        with pytest.raises(SystemExit):
            doomed = Doomed(at=7, deed=terminate, norm="layer", dropout=0.2)
            train(tmp_path / "moved", doomed, training=auto, world=here)
        assert train(tmp_path / "moved", learner, training=auto, world=there) == fitted and fitted.parts == 4
        assert products(tmp_path / "moved") == products(tmp_path / "alone")

    def test_where_batch_norm_would_depend_on_the_gpu_it_is_refused(self, tmp_path):
        auto = recipe(accumulate="auto")
        words = r"auto would take batches in 4 parts here, and BatchNorm would.*; set training.accumulate to 4, "
        with pytest.raises(UserError, match=words):
            train(tmp_path / "several", Small(), training=auto, world=room(Small(), parts=4))
        assert train(tmp_path / "one", Small(), training=auto, world=room(Small(), parts=1)).parts == 1

    def test_where_not_even_one_image_fits_it_is_refused(self, tmp_path):
        with pytest.raises(UserError, match=r"even 1 image at a time take more memory than the 0\.0 GB to count"):
            world = replace(training_made.ALONE, memory=1000)
            train(tmp_path, Small("layer"), training=recipe(accumulate="auto"), world=world)

    def test_a_gpu_that_is_full_while_it_is_measured_is_told(self, tmp_path, monkeypatch):
        def full(*given, **named):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

        monkeypatch.setattr(memory, "measured", full)
        with pytest.raises(UserError, match=r"even one image at a time takes more .*; take a smaller network"):
            train(tmp_path, Small("layer"), training=recipe(accumulate="auto"))

    def test_images_that_belong_together_stay_so(self, tmp_path):
        learner = Small("layer")
        learner.together = 2
        world = replace(room(learner, parts=4), memory=room(learner, parts=8).memory)
        with pytest.raises(UserError, match="even 2 images at a time take more memory"):
            train(tmp_path / "pairs", learner, training=recipe(accumulate="auto"), world=world)
        world = room(learner, parts=4)
        assert train(tmp_path / "four", learner, training=recipe(accumulate="auto"), world=world).parts == 4

    def test_it_may_be_halved_once_more(self, tmp_path):
        class Full(Small):
            apart = True

            def forward(self, views, targets):
                if self.training and len(views[0]) > 2:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
                return super().forward(views, targets)

        failing = Full("layer", dropout=0.2)
        fitted = train(tmp_path / "auto", failing, training=recipe(accumulate="auto"), world=room(failing, parts=2))
        assert fitted.parts == 4
        train(tmp_path / "asked", Small("layer", dropout=0.2), training=recipe(accumulate=4))
        assert products(tmp_path / "auto") == products(tmp_path / "asked")

    def test_without_a_word_of_the_config_the_device_says_what_it_has(self, monkeypatch):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
        alone = memory.available(torch.device("cpu"))
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
        assert alone > 3 * memory.available(torch.device("cpu")) > 0
        with ddp.world(threads=1, gpu_memory=24) as world:
            assert world.memory == 24_000_000_000


class TestTooLittleMemory:
    """A GPU whose memory is full in one forward pass, or in all that have more than one image."""

    @staticmethod
    def failing(at, *, norm, apart=True, stop=0):
        class Failing(Doomed):
            passes = 0

            def forward(self, views, targets):
                loss = super().forward(views, targets)
                self.passes += self.training
                if self.training and self.passes in at:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
                return loss

        learner = Failing(at=stop, deed=terminate, norm=norm, dropout=0.2)
        learner.apart = apart
        return learner

    def test_from_the_first_step_all_is_as_if_half_the_parts_had_been_asked_for(self, tmp_path, capsys):
        # the second part fails: the first one has left gradients, statistics and draws
        train(tmp_path / "failed", self.failing({2}, norm="batch"), training=recipe(accumulate=2))
        said = [line for line in capsys.readouterr().err.splitlines() if "more memory" in line]
        train(tmp_path / "asked", Small(dropout=0.2), training=recipe(accumulate=4))
        assert products(tmp_path / "failed") == products(tmp_path / "asked")
        assert said == [
            "training: 4 images at a time take more memory than the GPU has; from step 1 on each batch is taken in 4"
            " parts, as training.accumulate: 4 does"
        ]

    @pytest.mark.parametrize("norm", ["batch", "layer"])
    def test_stopped_later_it_goes_on_with_the_parts_that_it_took(self, tmp_path, capsys, norm):
        alone = train(tmp_path / "alone", self.failing({1}, norm=norm))
        with pytest.raises(SystemExit):
            train(tmp_path / "often", self.failing({1}, norm=norm, stop=13))
        capsys.readouterr()
        # a GPU in which whole batches fit
        roomy = Small(norm, dropout=0.2)
        roomy.apart = True
        assert train(tmp_path / "often", roomy) == alone and alone.parts == 2
        assert products(tmp_path / "often") == products(tmp_path / "alone")
        assert "resuming from step 13 of 24, with each batch in 2 parts" in capsys.readouterr().err

    def test_stopped_or_not_it_takes_more_parts_once(self, tmp_path):
        with pytest.raises(SystemExit):
            train(tmp_path, self.failing({1}, norm="layer", stop=13))
        with pytest.raises(UserError, match=r"4 images at a time .* set training.accumulate to 4, "):
            train(tmp_path, self.failing({1}, norm="layer"))

    def test_parts_that_its_ranks_cannot_make_are_refused(self, tmp_path):
        with pytest.raises(SystemExit):
            train(tmp_path, self.failing({1}, norm="layer", stop=13))
        saved = checkpoint.load(tmp_path / "progress.pt", identity="this one")
        checkpoint.save(saved | {"parts": 16}, tmp_path / "progress.pt", identity="this one")
        with pytest.raises(UserError, match=r"in 16 parts, which cannot be made of the 8 images that each of 1 ranks"):
            train(tmp_path, Small("layer"))

    def test_a_checkpoint_of_an_earlier_version_goes_on_in_the_parts_of_the_config(self, tmp_path):
        training = recipe(accumulate=2)
        train(tmp_path / "alone", Small(dropout=0.2), training=training)
        with pytest.raises(SystemExit):
            train(tmp_path / "often", Doomed(at=7, deed=terminate, dropout=0.2), training=training)
        saved = checkpoint.load(tmp_path / "often" / "progress.pt", identity="this one")
        del saved["parts"], saved["halved"]
        checkpoint.save(saved, tmp_path / "often" / "progress.pt", identity="this one")
        assert train(tmp_path / "often", Small(dropout=0.2), training=training).parts == 2
        assert products(tmp_path / "often") == products(tmp_path / "alone")

    def test_a_later_step_goes_on_with_the_same_batch(self, tmp_path, float64):
        learner = self.failing({6}, norm="layer")
        learner.network[-2].p = 0.0
        assert learner.in_parts
        train(tmp_path / "failed", learner, training=recipe())
        train(tmp_path / "whole", Small("layer"), training=recipe())
        np.testing.assert_allclose(losses(tmp_path / "failed"), losses(tmp_path / "whole"), **rounding.NEAR)

    def test_a_second_time_and_where_images_are_told_apart_it_ends(self, tmp_path):
        with pytest.raises(UserError, match=r"4 images at a time .* set training.accumulate to 4, "):
            train(tmp_path / "twice", self.failing({1, 2}, norm="layer"))
        with pytest.raises(UserError, match=r"8 images at a time .*; lower batch, or raise compute.ranks"):
            train(tmp_path / "whole", self.failing({1}, norm="layer", apart=False))

    def test_images_that_are_compared_are_taken_in_parts_too(self, tmp_path, float64):
        class Failing(Paired):
            calls = 0

            def features(self, views):
                self.calls += 1
                if self.calls == 2:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
                return super().features(views)

        failing = Failing("layer")
        failing.encoder = failing.network
        train(tmp_path / "failed", failing)
        train(tmp_path / "whole", paired())
        np.testing.assert_allclose(losses(tmp_path / "failed"), losses(tmp_path / "whole"), **rounding.NEAR)


def test_gradients_are_clipped_tensor_by_tensor(tmp_path):
    learner, given = Small(), {}
    for number, parameter in enumerate(learner.parameters()):
        kept = partial(given.__setitem__, number)
        parameter.register_post_accumulate_grad_hook(lambda each, kept=kept: kept(each.grad.clone()))
    before = [parameter.detach().clone() for parameter in learner.parameters()]
    sgd = {"optimiser": "sgd", "momentum": 0, "weight_decay": 0, "schedule": "constant", "lr": 1, "ema": None}
    training = recipe(steps=1, warmup_steps=0, clip=0.02, clip_by="tensor", **sgd)
    train(tmp_path, learner, training=training, validate=None)
    longer = 0
    for number, (parameter, first) in enumerate(zip(learner.parameters(), before, strict=True)):
        # `utils.clip_gradients` of DINO's code
        share = 0.02 / (given[number].norm() + 1e-6)
        longer += bool(share < 1)
        torch.testing.assert_close(first - parameter.detach(), given[number] * min(share, 1), atol=1e-7, rtol=1e-4)
    assert 0 < longer < len(before)


def decays(folder, **changes):
    """The weight decay of each step, of weights and of biases."""
    seen = []

    class Watched(Small):
        def after_step(self, *, step, steps):
            seen.append([group["weight_decay"] for group in groups])

    groups = []
    made = schedule.optimiser

    def kept(*given):
        optimiser = made(*given)
        groups.extend(optimiser.param_groups)
        return optimiser

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "optimiser", kept)
        train(folder, Watched(), training=recipe(**changes))
    return np.array(seen).T


def test_weight_decay_moves_along_a_cosine_and_spares_biases(tmp_path):
    spared, decayed = decays(tmp_path / "moving", weight_decay=0.04, final_weight_decay=0.4)
    assert not spared.any() and decayed[0] == pytest.approx(0.04) and (np.diff(decayed) > 0).all()
    assert decayed[STEPS // 2] == pytest.approx(0.22) and 0.39 < decayed[-1] < 0.4
    assert set(decays(tmp_path / "still", weight_decay=0.04)[1]) == {0.04}


def test_its_last_line_says_how_it_stands(tmp_path, capsys):
    train(tmp_path, Small())
    [line] = [line for line in capsys.readouterr().err.splitlines() if "24 of 24" in line]
    mean = np.mean(losses(tmp_path)[20:])
    assert re.fullmatch(
        r"training: 24 of 24 in 0:\d\d:\d\d; loss (\S+), validation loss (\S+), \d+ % of the time waiting for images",
        line,
    )
    assert f"; loss {mean:.3g}, " in line


def test_a_gpu_that_is_too_small_is_told_with_a_remedy(tmp_path):
    class Large(Small):
        def forward(self, views, targets):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nSee the documentation")

    words = r"2 images at a time take more memory than the GPU has \(CUDA out of memory.*; lower batch, or raise "
    with pytest.raises(UserError, match=words) as refusal:
        train(tmp_path, Large("layer"), training=recipe(accumulate=4))
    assert "\n" not in str(refusal.value)


def test_the_share_of_waiting_is_that_of_the_whole_training_in_the_end(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(machine_load.time, "monotonic", lambda: now[0])

    def slow(seconds):
        for wait in seconds:
            now[0] += wait
            yield wait

    load = machine_load.MachineLoad(batch=4, world=ALONE)
    assert load.share_of_all is None
    # the first batch is begun with, not waited for; each step takes a second, and the load is read after each two
    for number, _ in enumerate(load.waiting(slow([9.0, 1.0, 3.0, 5.0]))):
        load.step_begins()
        now[0] += 1
        load.step_ends()
        if number % 2:
            load.read()
    # the reading pauses the clock, so that what is loaded after it is not waited for
    assert load.share == 5 / 7 and load.share_of_all == (1 + 5) / (3 + 7)
