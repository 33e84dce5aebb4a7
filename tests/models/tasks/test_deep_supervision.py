"""Deep supervision: outlines at lower resolutions are learned beside those that predictions are made of."""

import pytest
import torch

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.models import backbones, decoder
from headwater.models.task_network import TaskNetwork
from headwater.models.task_set import TaskSet
from headwater.models.tasks import Task
from headwater.study.source import Source

OUTLINE = Task(name="segmentation", labels=("a", "b"), form="exclusive")


def network(backbone, *, size, **more):
    encoder = backbones.build(backbone, size=size, mean=(0.0,), std=(1.0,), seed=0)
    return TaskNetwork(encoder, tasks=TaskSet.of(OUTLINE), seeds={"": 3}, **more)


def images(of):
    return torch.rand(1, of.encoder.colours, *of.encoder.space, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("backbone", "size", "strides", "more"),
    [
        ("monai/segresnet", (16, 8, 8), (1, 2), {}),
        ("vit3d/test_patch8", (16, 8, 8), (1, 2), {}),
        ("monai/unet_small", (16, 8, 8), (1, 2), {"probe": True}),
        ("timm/test_resnet", (1, 64, 48), (1, 2, 4, 8), {}),
    ],
)
def test_lower_outputs_are_given_in_training_only_and_change_no_other(backbone, size, strides, more):
    deep, plain = (network(backbone, size=size, deep=asked, **more) for asked in (True, False))
    given = images(deep)
    with torch.no_grad():
        assert torch.equal(deep.eval()(given), plain.eval()(given))
    outputs = deep.train()(given)
    expected = [(1, 3, *(side if side == 1 else side // stride for side in size)) for stride in strides]
    assert [tuple(output.shape) for output in outputs] == expected
    sum(output.square().sum() for output in outputs).backward()
    assert all(parameter.grad is not None for parameter in deep.head.parameters())
    further = deep.state_dict().keys() - plain.state_dict().keys()
    assert {name.rpartition(".")[0] for name in further} == {f"head.lower.{at}" for at in range(len(strides) - 1)}
    # what published weights are counted against is the backbone, which has no head
    assert deep.encoder.expected().keys() == plain.encoder.expected().keys()


def test_a_decoder_without_an_output_between_is_refused():
    with pytest.raises(
        UserError, match=r"the decoder of monai/dynunet_small has no output between .*; remove deep_sup"
    ):
        network("monai/dynunet_small", size=(8, 8, 8), deep=True)
    network("monai/dynunet_small", size=(8, 8, 8))


SHALLOW = {
    f"{library}/{model}"
    for library in ("monai", "nnunet", "stu_net", "genesis", "vit3d")
    for model in backbones.models(library)
    if Source(name="any", backbone=f"{library}/{model}").shallow
}


def test_the_plan_knows_which_decoders_have_none():
    small = {f"monai/{name}_small" for name in ("segresnet", "segresnet_ds", "unet", "dynunet")}
    assert small | {"nnunet/resenc_test"} == SHALLOW
    names = ["monai/segresnet", "monai/unet", "genesis/unet", "monai/resnet_small", "vit3d/tiny_patch16", *SHALLOW]
    for name in names:
        library, _, model = name.partition("/")
        with torch.device("meta"):  # shapes without numbers
            made, _ = registry.load("backbones", library).create(model, size=32)
        outputs = getattr(made, "outlines", None) or decoder.outlines([stride for _, stride in made.pyramid])
        assert (len(outputs) < 3) == (name in SHALLOW), name
    assert decoder.outlines([14])[1:] == ((224, 7),)
    assert Source(name="any", backbone="timm/vit_small_patch14_dinov2").shallow
    assert not Source(name="any", backbone="timm/resnet50").shallow
