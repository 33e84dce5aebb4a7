"""Drop path: blocks are left out as in timm, by the encoder that learns alone, and in training alone."""

import pytest
import torch

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.models import backbones, stochastic_depth
from headwater.models.timm_library import timm
from test_every_option import learner
from test_methods import FIRST, METHODS
from test_recomputed import trained

OF_EACH_FAMILY = (
    *("beit_base_patch16_224", "convnext_atto", "convnextv2_atto", "deit3_small_patch16_224", "regnety_002"),
    *("eva02_tiny_patch14_224", "resnet18", "resnet50", "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256"),
    *("test_convnext", "test_resnet", "test_vit", "vit_tiny_patch16_224"),
)
DROPPING = [method for method in METHODS if registry.constant("methods", method, "BY_BLOCKS", default=True)]


def rates(network: torch.nn.Module) -> list[float]:
    return [module.drop_prob for module in network.modules() if isinstance(module, timm.layers.DropPath)]


def test_each_family_that_leaves_out_blocks_is_tried():
    families = registry.constant("backbones", "timm", "DROPPED", default=())
    assert {backbones.family(f"timm/{model}") for model in OF_EACH_FAMILY} == set(families)


@pytest.mark.parametrize("model", OF_EACH_FAMILY)
def test_rates_of_blocks_are_timms(model: str):
    with torch.device("meta"):
        theirs = timm.create_model(model, num_classes=0, drop_path_rate=0.3)
        ours = timm.create_model(model, num_classes=0)
    named = list(ours.state_dict())
    stochastic_depth.add(ours, rate=0.3, name=model)
    assert rates(ours) == pytest.approx(rates(theirs)) and list(ours.state_dict()) == named
    assert [name for name, module in ours.named_modules() if isinstance(module, timm.layers.DropPath)] == [
        name for name, module in theirs.named_modules() if isinstance(module, timm.layers.DropPath)
    ]


def test_networks_without_branches_are_refused():
    network = timm.create_model("densenet121", num_classes=0)
    with pytest.raises(UserError, match=r"densenet121 has no branches to leave out; remove training\.drop_path"):
        stochastic_depth.add(network, rate=0.1, name="timm/densenet121")


@pytest.mark.parametrize("method", DROPPING)
def test_it_changes_a_training_and_neither_a_teacher_nor_what_is_scored(method: str, tmp_path):
    module = learner(method)
    before = module.encoder.eval()(images := torch.rand(2, 3, module.encoder.size, module.encoder.size))
    usual, _ = trained(tmp_path / "usual", learner(method), method)
    dropping, left = trained(tmp_path / "dropping", module, method, drop_path=0.5)
    assert dropping.tolist() != usual.tolist()
    # whatever else there is, such as a teacher, is whole
    assert rates(module) == rates(module.encoder) and max(rates(module)) == 0.5
    assert list(left) == list(learner(method).state_dict())
    again = learner(method)
    stochastic_depth.add(again.encoder.backbone, rate=0.5, name=FIRST[method])
    torch.testing.assert_close(again.encoder.eval()(images), before, rtol=0, atol=0)


@pytest.mark.parametrize("method", ["dino", "mae"])
def test_computed_twice_the_same_blocks_are_left_out(method: str, tmp_path):
    once, twice = (
        trained(tmp_path / str(twice), learner(method), method, drop_path=0.5, checkpointing=twice)[0]
        for twice in (False, True)
    )
    assert once.tolist() == twice.tolist()
