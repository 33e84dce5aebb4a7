"""Several tasks on one encoder: what belongs to each stays apart, and nothing that one lacks disturbs another."""

import numpy as np
import pytest
import torch

from headwater.models import backbones, task_set
from headwater.models.task_network import TaskNetwork
from headwater.models.task_set import TaskSet, mapped
from headwater.models.tasks import Task
from headwater.study.recipe import Training, Views
from headwater.training import ddp, scoring
from headwater.training.batches import training_batches
from headwater.training.fitting import Fitting, mean

pytestmark = pytest.mark.usefixtures("float64")

A = Task(name="classification", labels=("one", "two"), form="multilabel")
B = Task(name="classification", labels=("three", "four", "five"), form="multiclass")
BOTH = TaskSet(tasks={"a": A, "b": B})
SEEDS = {"a": 3, "b": 4}
CASES = 4


def network(tasks=BOTH, seeds=SEEDS):
    encoder = backbones.build("timm/test_vit", size=32, mean=(0.5,), std=(0.5,), seed=0)
    return TaskNetwork(encoder, tasks=tasks, seeds=seeds)


def fitting(tasks=BOTH, weights=None):
    ones = tasks.together(tasks.each(lambda task: torch.ones(len(task.labels))))
    return Fitting(network(tasks, dict.fromkeys(tasks.tasks, 3)), views=Views(), label_weights=weights or ones)


def images():
    return torch.rand(CASES, 3, 32, 32)


def known_targets():
    return {"a": torch.tensor([[0.0, 1], [1, 1], [1, 0], [0, 0]]), "b": torch.eye(3)[[0, 2, 1, 0]]}


def test_what_travels_is_a_dict_only_where_targets_have_names():
    alone = TaskSet.of(A)
    assert (alone.named, BOTH.named) == (False, True)
    assert alone.together({"": 1}) == 1 and alone.apart(1) == {"": 1}
    assert BOTH.together({"a": 1, "b": 2}) == BOTH.apart({"a": 1, "b": 2}) == {"a": 1, "b": 2}
    assert BOTH.each(lambda task, value: (task.labels[0], value), {"a": 1, "b": 2}) == {
        "a": ("one", 1),
        "b": ("three", 2),
    }
    assert mapped(lambda x, y: x + y, {"a": 1}, {"a": 2}) == {"a": 3} and mapped(lambda x, y: x + y, 1, 2) == 3
    assert BOTH.labels == ("one", "two", "three", "four", "five")


@pytest.mark.parametrize("tasks", [TaskSet.of(A), BOTH, TaskSet(tasks={"b": B})])
def test_a_model_file_gives_the_tasks_back(tasks):
    assert task_set.read(tasks.metadata(), unnamed="classification") == tasks


def test_the_file_of_a_single_task_is_what_it_was():
    assert TaskSet.of(A).metadata() == {"labels": '["one", "two"]', "task": "multilabel"}


def test_a_single_head_keeps_its_keys_and_several_have_the_names_of_their_targets():
    keys = {key for key in network(TaskSet.of(A), {"": 3}).state_dict() if not key.startswith("encoder.")}
    assert keys == {"head.weight", "head.bias"}
    # names that torch's modules have taken
    taken = TaskSet(tasks={"type": A, "forward": B})
    keys = {key for key in network(taken, {"type": 0, "forward": 0}).state_dict() if not key.startswith("encoder.")}
    assert keys == {f"head.target:{name}.{part}" for name in ("type", "forward") for part in ("weight", "bias")}


def test_a_head_is_the_same_whatever_stands_beside_it():
    alone = network(TaskSet(tasks={"b": B}), {"b": 4})
    outputs, only = network()(images := torch.rand(2, 3, 32, 32)), alone(images)
    assert torch.equal(outputs["b"], only["b"])
    assert outputs["a"].shape == (2, 2) and outputs["b"].shape == (2, 3)


def test_the_loss_is_the_mean_over_the_targets():
    learner, seen, targets = fitting(), images(), known_targets()
    losses = learner.losses(learner.network(seen), targets)
    for name, task in BOTH.tasks.items():
        alone = task.plugin.loss(
            learner.network(seen)[name], targets[name], weights=torch.ones(len(task.labels)), form=task.form
        )
        assert torch.equal(losses[name], alone)
    assert torch.equal(learner([seen], targets), (losses["a"] + losses["b"]) / 2)
    single = torch.tensor(0.1)
    assert torch.equal(mean({"": single}), single)


def test_weights_are_those_of_their_own_target():
    heavy = {"a": torch.tensor([5.0, 1.0]), "b": torch.ones(3)}
    learner, plain = fitting(weights=heavy), fitting()
    outputs, targets = plain.network(images()), known_targets()
    assert learner.losses(outputs, targets)["a"] > plain.losses(outputs, targets)["a"]
    assert torch.equal(learner.losses(outputs, targets)["b"], plain.losses(outputs, targets)["b"])
    assert torch.equal(learner.label_weights["a"], heavy["a"])


def gradients(learner, seen, targets, *, of=None):
    """The gradient of each parameter, of the loss or of one target's share in it."""
    learner.zero_grad()
    losses = learner.losses(learner.network(seen), targets)
    loss = mean(losses) if of is None else losses[of] / len(losses)
    loss.backward()
    return {name: 0.0 if p.grad is None else p.grad.clone() for name, p in learner.named_parameters()}


def test_a_case_that_is_unknown_in_one_target_teaches_the_other_as_before():
    learner, seen, targets = fitting(), images(), known_targets()
    unknown = targets | {"a": torch.where(torch.arange(CASES)[:, None] == 1, torch.nan, targets["a"])}
    whole, part = gradients(learner, seen, targets), gradients(learner, seen, unknown)
    from_b = gradients(learner, seen, targets, of="b")
    from_a = gradients(learner, seen, unknown, of="a")
    # head of b: bit by bit what it was; encoder: what b gives, and what the known cases of a give
    for name in ("network.head.target:b.weight", "network.head.target:b.bias"):
        assert torch.equal(part[name], whole[name]) and part[name].abs().sum() > 0
    for name in part:
        torch.testing.assert_close(part[name], from_a[name] + from_b[name], rtol=1e-9, atol=1e-12)
    nothing = targets | {"a": torch.full_like(targets["a"], torch.nan)}
    only_b = gradients(learner, seen, nothing)
    for name in only_b:
        if "target:a" not in name:
            torch.testing.assert_close(only_b[name], from_b[name], rtol=0, atol=0)
    assert not only_b["network.head.target:a.weight"].any()


def test_every_parameter_has_a_rate_by_layer_decay():
    learner = fitting()
    groups = learner.parameter_groups(Training(steps=1, layer_decay=0.5, weight_decay=0.1))
    placed = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(placed) == sorted(map(id, learner.parameters()))


def test_targets_travel_through_batches_and_scores():
    world = ddp.World(rank=0, size=1, device=torch.device("cpu"))
    pixels = np.random.default_rng(0).integers(0, 255, (6, 1, 32, 32), dtype=np.uint8)
    masks = np.arange(6 * 4, dtype=np.float32).reshape(6, 1, 2, 2)
    targets = {"a": np.arange(6, dtype=np.float32)[:, None], "b": masks}
    batches = training_batches(
        range(2), images=pixels, rows=np.arange(6), targets=targets, batch=3, seed=0, world=world
    )
    for batch in (batch.to(world.device) for batch in batches):
        assert batch.targets["a"][:, 0].tolist() == batch.cases.tolist()
        assert torch.equal(batch.targets["b"], torch.from_numpy(masks[batch.cases]))
    shapes = mapped(lambda output: output.shape, scoring.score(
        network(), images=pixels, rows=np.array([4, 1, 5]), batch=2, world=world
    ))  # fmt: skip
    assert shapes == {"a": (3, 2), "b": (3, 3)}
