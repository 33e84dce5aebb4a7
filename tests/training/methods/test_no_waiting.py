"""In a step the CPU never waits for the GPU: it has the next step's work ready when the GPU has done this one's."""

import numpy as np
import pytest
import torch

import gpu_imagined
import tiny_networks_made
from gpu_imagined import GPU
from headwater.models import backbones
from headwater.models.task_network import TaskNetwork
from headwater.models.task_set import TaskSet
from headwater.models.tasks import Task
from headwater.study.recipe import Training, Views
from headwater.training import ddp, fitting, optimiser_step, state
from headwater.training.batches import Batch
from headwater.training.views import draws
from headwater.training.views.volumes import Patches
from test_methods import SIDE, TAKEN, learner
from test_volume_methods import SMALL as SMALL_OF_VOLUMES
from test_volume_methods import learner as learner_of_volumes
from test_volume_methods import size as size_of_patch

CASES = 8
OF_BOTH = {
    "crop": 0.6, "flip": 0.5, "rotation": 10, "brightness": 0.2, "contrast": 0.2, "jitter": 0.8, "blur": 0.5,
    "noise": 0.05,
}  # fmt: skip
OF_PICTURES = Views(**OF_BOTH, saturation=0.2, hue=0.1, grey=0.2, solarise=0.2)
OF_VOLUMES = Views(**OF_BOTH, flip_axes=("x", "z"), scaling=0.2, low_resolution=0.5)


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory):
    with tiny_networks_made.there(tmp_path_factory.mktemp("tiny")):
        yield


def step(made, images, targets, *, number=0, optimiser="adamw"):
    """All of a step but the backward pass, which torch does not imagine; gradients are as if it had been."""
    training = Training(steps=10, batch=CASES, clip=1.0, optimiser=optimiser)
    updates = state.schedule.optimiser(made.parameter_groups(training), training)
    made.mode(True)
    made.before_step(step=number)
    cases = torch.empty(CASES, dtype=torch.int64, device=GPU)
    with torch.no_grad():
        keys = draws.keys(seed=1, epochs=cases, cases=cases)
        inputs, aims = made.views(images, keys), made.aims(targets, keys)
    loss = made(inputs, aims)
    assert loss.numel() == 1 and loss.device == GPU and loss.requires_grad
    trained = [parameter for group in updates.param_groups for parameter in group["params"]]
    for parameter in trained:
        parameter.grad = torch.empty_like(parameter)
    torch.nn.utils.clip_grad_norm_(trained, training.clip)
    updates.step()
    made.after_step(step=number, steps=training.steps)


def on_gpu(*shape, dtype=torch.float32):
    return torch.empty(CASES, *shape, dtype=dtype, device=GPU)


@pytest.mark.parametrize(("method", "backbone"), TAKEN)
def test_a_step_on_pictures(method, backbone):
    made, side = learner(method, backbone=backbone), SIDE.get(method, 32)
    made.changes = OF_PICTURES
    with gpu_imagined.imagined():
        gpu_imagined.moved(made)
        # at the last of these a queue is in use
        for number in (0, 8):
            step(made, on_gpu(3, side, side, dtype=torch.uint8), on_gpu(3), number=number)


@pytest.mark.parametrize("method", SMALL_OF_VOLUMES)
def test_a_step_on_volumes(method):
    made = learner_of_volumes(method)
    made.changes = OF_VOLUMES
    with gpu_imagined.imagined():
        gpu_imagined.moved(made)
        step(made, Patches(on_gpu(1, *size_of_patch(method)), on_gpu(3)), on_gpu(2))


@pytest.mark.parametrize("optimiser", ["adam", "sgd", "lars", "lamb"])
def test_a_step_by_another_optimiser(optimiser):
    made = learner("simclr")
    with gpu_imagined.imagined():
        gpu_imagined.moved(made)
        step(made, on_gpu(1, 32, 32, dtype=torch.uint8), on_gpu(3), optimiser=optimiser)


def test_a_step_of_fine_tuning_that_outlines_and_grades():
    tasks = TaskSet(
        tasks={
            "parts": Task(name="segmentation", labels=("a", "b"), form="exclusive"),
            "grade": Task(name="ordinal", labels=("0", "1", "2"), form=""),
            "age": Task(name="regression", labels=("age",), form='{"mean": [60], "sd": [10]}'),
        }
    )
    encoder = backbones.build("tiny/unet", size=(8, 8, 6), mean=(0.0,), std=(1.0,), seed=0)
    weights = {name: torch.ones(len(task.labels)) for name, task in tasks.tasks.items()}
    network = TaskNetwork(encoder, tasks=tasks, seeds=dict.fromkeys(tasks.tasks, 0))
    made = fitting.Fitting(network, views=OF_VOLUMES, label_weights=weights)
    with gpu_imagined.imagined():
        gpu_imagined.moved(made)
        spacing = on_gpu(3)
        maps = Patches(on_gpu(8, 8, 6, dtype=torch.uint8), spacing)
        step(made, Patches(on_gpu(1, 8, 8, 6), spacing), {"parts": maps, "grade": on_gpu(3), "age": on_gpu(1)})


@pytest.mark.parametrize(
    "waits",
    [
        lambda there: there.sum().item(),
        lambda there: there[there > 0],
        lambda there: there.cpu(),
        lambda there: there + torch.ones(4).to(GPU),
        lambda there: there[torch.tensor([0, 1])],
        lambda there: torch.where(there > 0, there, torch.tensor(0.0)),
    ],
)
def test_what_waits_is_told(waits):
    with gpu_imagined.imagined(), pytest.raises((gpu_imagined.Waits, RuntimeError)):
        waits(torch.empty(4, device=GPU))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("method", "backbone"), TAKEN)
def test_a_whole_step_on_a_real_gpu(method, backbone):
    made, side = learner(method, backbone=backbone), SIDE.get(method, 32)
    made.changes = OF_PICTURES
    chance = np.random.default_rng(0)
    images = torch.from_numpy(chance.integers(0, 255, (CASES, 3, side, side), dtype=np.uint8))
    numbers = torch.arange(CASES)
    with ddp.world(threads=1) as world:
        going = state.State(made, training=Training(steps=10, batch=CASES, clip=1.0), steps=10, world=world)
        targets = torch.eye(3)[numbers % 3]
        whole = Batch(images=images.pin_memory(), targets=targets.pin_memory(), epochs=numbers, cases=numbers)
        there = whole.to(world.device)
        # the first step allocates, and sets up the libraries
        for way in ("default", "error", "error"):
            torch.cuda.set_sync_debug_mode(way)
            try:
                optimiser_step.learn(going, there, seed=0)
            finally:
                torch.cuda.set_sync_debug_mode("default")
