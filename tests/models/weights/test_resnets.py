"""Self-supervised ResNet-50s load whole from the spelling of each of their publishers, or are refused by name."""

import json

import pytest
import torch
import torchvision

import rounding
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.models import weight_files
from headwater.models.encoder import restore
from headwater.planning import preflight
from headwater.stages.adopt import adopt
from headwater.study import config
from headwater.study.source import Source

pytestmark = pytest.mark.usefixtures("float64")

HEADS = {
    "torchvision": {"fc.weight": (1000, 2048), "fc.bias": (1000,)},
    "less_is_more_swav": {"model.projection_head.0.weight": (8, 4), "model.prototypes.weight": (5, 4)},
    "less_is_more_moco": {"encoder_q.fc.0.weight": (4, 4), "encoder_q.fc.2.bias": (4,), "queue": (4, 9)},
    "less_is_more_byol": {
        "online_network.projector.model.0.weight": (4, 4),
        "online_network.predictor.model.0.weight": (4, 4),
        "target_network.projector.model.0.weight": (4, 4),
    },
    "less_is_more_spark": {"model.dense_decoder.0.weight": (4, 4), "model.fc.weight": (3, 4)},
    "swav": {"module.projection_head.0.weight": (8, 4), "module.prototypes.weight": (5, 4)},
    "moco": {"module.encoder_q.fc.0.weight": (4, 4), "module.encoder_q.fc.2.weight": (4, 4), "module.queue": (4, 9)},
}  # fmt: skip
"""What the file holds besides the network."""

PREFIXES = {
    "torchvision": ("",),
    "less_is_more_swav": ("model.",),
    "less_is_more_moco": ("encoder_q.", "encoder_k."),
    "less_is_more_byol": ("online_network.encoder.", "target_network.encoder."),
    "less_is_more_spark": ("model.",),
    "swav": ("module.",),
    "moco": ("module.encoder_q.", "module.encoder_k."),
}
"""What the network's own keys begin with, and those of its slow copy."""

WRAPPER = {"torchvision": "", "swav": "", "less_is_more_spark": "module"}
SPELLINGS = list(PREFIXES)


@pytest.fixture(scope="module")
def network():
    """torchvision's ResNet-18, spelt as its ResNet-50, with running statistics that differ from zero and one."""
    torch.manual_seed(4)
    network = torchvision.models.resnet18(weights=None)
    network(torch.randn(8, 3, 32, 32))
    return network.eval()


def saved(folder, network, spelling):
    """A checkpoint of the network in a publisher's spelling."""
    tensors = {key: torch.zeros(shape) for key, shape in HEADS[spelling].items()}
    first, *copies = PREFIXES[spelling]
    bare = {key: tensor for key, tensor in network.state_dict().items() if not key.startswith("fc.")}
    tensors |= {first + key: tensor for key, tensor in bare.items()}
    tensors |= {prefix + key: torch.zeros_like(tensor) for prefix in copies for key, tensor in bare.items()}
    wrapper = WRAPPER.get(spelling, "state_dict")
    torch.save({wrapper: tensors, "epoch": 3} if wrapper else tensors, folder / "x.pth.tar")
    return folder / "x.pth.tar"


def adopted(folder, path, layout, **options):
    """(encoder, report) that adopt writes."""
    weights = {"layout": {"name": layout, **options}, "path": str(path)}
    source = Source(name="published", backbone="timm/resnet18", weights=weights)
    adopt(source=source, size=64, encoder=folder / "e.safetensors", coverage=folder / "c.json")
    tensors, metadata = weight_files.load_weights(folder / "e.safetensors")
    encoder, _ = restore(tensors, metadata, name="timm/resnet18", size=64, file="e")
    return encoder.eval(), json.loads((folder / "c.json").read_text())


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_each_spelling_loads_whole_and_computes_the_same(tmp_path, network, spelling):
    encoder, report = adopted(tmp_path, saved(tmp_path, network, spelling), spelling)
    assert report["share"] == 1 and not report["missing"] and not report["unexpected"]
    assert all(len(report["dropped"][key]) > 10 for key in HEADS[spelling])
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        normalised = (images - encoder.mean.view(3, 1, 1)) / encoder.std.view(3, 1, 1)
        theirs = torch.nn.Sequential(*list(network.children())[:-1])(normalised)[..., 0, 0]
        assert theirs.std() > 0.01 and (encoder(images) - theirs).abs().max() < rounding.NEAR["atol"]


def test_slices_of_ct_are_normalised_as_in_the_studys_pretraining():
    said = {name: registry.load("weights", name).normalisation("", {}) for name in SPELLINGS}
    assert all(said[f"less_is_more_{method}"] == ((0.1806,) * 3, (0.1907,) * 3) for method in ("swav", "moco", "byol"))
    assert said["less_is_more_spark"] == said["swav"] == said["moco"] == said["torchvision"]


@pytest.mark.parametrize("spelling", [name for name in SPELLINGS if name != "torchvision"])
def test_a_wrong_layout_fills_nothing_and_names_keys_and_the_one_that_fits(tmp_path, network, spelling):
    path = saved(tmp_path, network, spelling)
    with pytest.raises(UserError) as refused:
        adopted(tmp_path, path, "torchvision")
    told = str(refused.value)
    assert "coverage 0 % (0 of 100 tensors) is below 100 %: the file has " in told
    assert next(iter(HEADS[spelling])) in told and "the network expects conv1.weight" in told
    assert told.endswith(f"did you mean layout: {spelling}?") and len(told.splitlines()) == 1
    assert json.loads((tmp_path / "c.refused.json").read_text())["tensors"]["loaded"] == 0


def test_a_file_without_signs_is_told_its_prefix(tmp_path, network):
    bare = {f"model.{key}": tensor for key, tensor in network.state_dict().items()}
    torch.save({"state_dict": bare}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"; set prefix: model\.$"):
        adopted(tmp_path, tmp_path / "x.pth", "torchvision")


def study(layout, path="x.pth"):
    """A config whose one pre-trained source has these weights."""
    adopted = {"weights": {"layout": layout, "path": str(path)}}
    return {
        "seeds": [0],
        "archives": {"natural_photographs": {}},
        "sources": {"random": {}, "theirs": adopted},
        "datasets": {"natural_photographs": {}},
        "recipes": {"finetune": {"training": {"steps": 1}}},
    }


def test_a_misspelt_layout_is_told_when_the_config_is_read():
    with pytest.raises(UserError, match="there is no 'less_is_more_swaw'; did you mean 'less_is_more_swav'"):
        config.load(study("less_is_more_swaw"))


def test_networks_for_volumes_are_refused_for_slices_before_anything_runs():
    with pytest.raises(
        UserError, match=r"sources\.theirs.*suprem holds networks for volumes, but timm/resnet50 takes slices"
    ):
        config.load(study("suprem"))


def test_a_network_for_volumes_is_refused_where_datasets_are_of_slices():
    for weights in ({}, {"weights": {"layout": "suprem", "path": "x.pth"}}):
        content = study("suprem") | {"sources": {"random": {}, "theirs": {"backbone": "monai/segresnet", **weights}}}
        with pytest.raises(UserError, match=r"theirs\.backbone: monai/segresnet takes volumes, .*scripts/adopt\.py"):
            config.load(content)


def test_a_checkpoint_that_is_not_there_is_told_before_the_first_job(tmp_path):
    plan = config.load(study("swav", tmp_path / "swav_800ep_pretrain.pth.tar"))
    assert any("swav_800ep_pretrain.pth.tar: there is no such file" in line for line in preflight.mistakes(plan))
