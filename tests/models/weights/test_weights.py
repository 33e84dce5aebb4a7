import pickle
import re
from argparse import Namespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import rounding
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.models import backbones, checkpoint_files, nearest_layout, weight_coverage

LAYOUTS = registry.names("weights")


def encoder(name, *, size=32, seed=0):
    return backbones.build(name, size=size, mean=(0.5,), std=(0.5,), seed=seed).eval()


def matched(found, network, layout, *, prefix=""):
    return weight_coverage.match(
        found,
        expected=network.expected(),
        layout=registry.load("weights", layout),
        prefix=prefix,
        resample=network.resample,
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_keeps_the_contract(layout):
    module = registry.load("weights", layout)
    assert module.CARD.title and module.CARD.licence and module.CARD.where
    assert all(re.compile(pattern) and isinstance(new, str) for pattern, new in module.RULES)
    assert all(re.compile(pattern) and len(reason) > 10 for pattern, reason in module.DROPPED.items())
    arranged = getattr(module, "ARRANGED", {})
    assert bool(arranged) == hasattr(module, "arrange")
    assert all(re.compile(pattern) and len(what) > 10 for pattern, what in arranged.items())
    told = {"mean": "[0.1, 0.2, 0.3]", "std": "[1, 1, 1]"}
    mean, std = module.normalisation("timm/test_resnet", told)
    colours = 3 if 2 in getattr(module, "DIMENSIONS", (2,)) else 1
    assert len(mean) == len(std) == colours
    assert set(registry.options("weights", layout).model_fields) >= {"prefix", "wrapper", "mean", "std", "patch"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_takes_a_whole_network_of_its_own_spelling(layout):
    network = encoder("timm/test_vit" if layout == "dinov2" else "timm/test_resnet")
    covered = matched(network.tensors(), network, layout)
    assert covered.share == 1
    assert not covered.missing and not covered.unexpected and not covered.renamed


def test_timm_tells_the_normalisation_of_a_tag():
    told = registry.load("weights", "timm").normalisation
    assert told("timm/vit_base_patch16_224.augreg_in21k", {}) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert told("timm/resnet50.a1_in1k", {})[0] == (0.485, 0.456, 0.406)


@rounding.in_float64()
def test_registers_take_the_position_of_the_class_token_along():
    # as published: a position for the class token too, and other names for registers
    network = encoder("timm/vit_small_patch14_reg4_dinov2", size=28)
    found = network.tensors()
    position = torch.randn(1, 1, network.width)
    found["cls_token"] = found["cls_token"] - position
    found["pos_embed"] = torch.cat([position, found["pos_embed"]], dim=1)
    found["register_tokens"] = found.pop("reg_token")
    found["mask_token"] = torch.zeros(1, network.width)
    covered = matched(found, network, "dinov2")
    assert covered.share == 1
    assert covered.renamed == {"register_tokens": "reg_token"}
    assert list(covered.dropped) == ["mask_token"]
    for key, tensor in network.tensors().items():
        torch.testing.assert_close(covered.tensors[key], tensor, **rounding.NEAR, msg=key)


def test_every_tensor_is_accounted_for_once():
    network = encoder("timm/test_resnet")
    found = network.tensors()
    found["fc.weight"] = torch.zeros(10, network.width)
    found["something.else"] = torch.zeros(1)
    found["conv1.0.weight"] = torch.zeros(1, 1)
    del found["bn1.weight"], found["bn1.num_batches_tracked"]
    covered = matched(found, network, "timm")
    assert covered.missing == ["bn1.weight"]
    assert list(covered.mismatched) == ["conv1.0.weight"]
    assert covered.unexpected == ["something.else"]
    assert "fresh head" in covered.dropped["fc.weight"]
    lost = network.expected()["bn1.weight"].numel() + network.expected()["conv1.0.weight"].numel()
    assert covered.parameters == covered.parameters_expected - lost
    assert len(covered.tensors) + 2 == len(network.expected())


def test_a_share_is_never_rounded_up():
    whole = {"a": torch.zeros(99_999), "b": torch.zeros(1)}
    assert weight_coverage.Coverage(tensors={"a": whole["a"]}, expected=whole).summary() == "99.9 % (1 of 2 tensors)"


@pytest.mark.parametrize("prefix", ["", "model.", "online.encoder.", "opt/target/"])
def test_the_nearest_prefix_is_found(prefix):
    network = encoder("timm/test_resnet")
    found = {f"{prefix}{key}": tensor for key, tensor in network.tensors().items()}
    found |= {f"head.{key}": tensor for key, tensor in list(network.tensors().items())[:5]}
    layout = registry.load("weights", "timm")
    assert nearest_layout.prefix(found, expected=network.expected(), layout=layout) == prefix


def test_other_networks_in_the_file_stay_outside_the_prefix():
    network = encoder("timm/test_resnet")
    tensors = network.tensors()
    found = {f"online.{key}": tensor for key, tensor in tensors.items()}
    found |= {f"target.{key}": tensor for key, tensor in tensors.items()}
    covered = matched(found, network, "timm", prefix="online.")
    assert covered.share == 1
    assert covered.dropped.keys() == {f"target.{key}" for key in tensors}


TENSORS = {"a.weight": torch.arange(3.0)}


@pytest.mark.parametrize(
    "content",
    [
        TENSORS,
        {"state_dict": TENSORS, "epoch": 3},
        {"epoch": 3, "model": {"state_dict": TENSORS, "name": "x"}},
        {"module": TENSORS, "optimizer": {"state": {}}},
    ],
)
def test_wrappers_are_unwrapped(tmp_path, content):
    torch.save(content, tmp_path / "x.pth")
    tensors, _ = checkpoint_files.read(tmp_path / "x.pth")
    assert list(tensors) == ["a.weight"]
    assert torch.equal(tensors["a.weight"], TENSORS["a.weight"])


def test_a_named_wrapper_decides(tmp_path):
    other = {"a.weight": torch.ones(3)}
    torch.save({"student": TENSORS, "teacher": other}, tmp_path / "x.pt")
    with pytest.raises(UserError, match="wrapper: teacher"):
        checkpoint_files.read(tmp_path / "x.pt")
    tensors, _ = checkpoint_files.read(tmp_path / "x.pt", wrapper="teacher")
    assert torch.equal(tensors["a.weight"], other["a.weight"])
    with pytest.raises(UserError, match="did you mean 'teacher'"):
        checkpoint_files.read(tmp_path / "x.pt", wrapper="teachers")


def test_safetensors_and_npz_are_read(tmp_path):
    save_file(TENSORS, tmp_path / "x.safetensors", metadata={"mean": "[1]"})
    np.savez(tmp_path / "x.npz", **{"a.weight": TENSORS["a.weight"].numpy()})
    tensors, metadata = checkpoint_files.read(tmp_path / "x.safetensors")
    assert metadata == {"mean": "[1]"}
    assert torch.equal(tensors["a.weight"], TENSORS["a.weight"])
    assert torch.equal(checkpoint_files.read(tmp_path / "x.npz")[0]["a.weight"], TENSORS["a.weight"])


class Reach:
    """What a hostile checkpoint would run when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_no_code_in_a_checkpoint_is_run(tmp_path):
    torch.save({"state_dict": TENSORS, "bad": Reach(str(tmp_path / "ran"))}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="holds more than tensors"):
        checkpoint_files.read(tmp_path / "x.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors", "x.npz"])
def test_broken_files_are_refused(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(UserError, match="no such file"):
        checkpoint_files.read(path)
    path.write_bytes(b"PK\x03\x04 truncated")
    with pytest.raises(UserError, match=name):
        checkpoint_files.read(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"epoch": 3}, "no tensors"),
        ([torch.zeros(1)], "holds a list"),
        ({"args": Namespace(lr=1)}, "more than tensors"),
    ],
)
def test_files_without_tensors_are_refused(tmp_path, content, said):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(UserError, match=said):
        checkpoint_files.read(tmp_path / "x.pth")


def test_a_plain_pickle_is_refused(tmp_path):
    (tmp_path / "x.pth").write_bytes(pickle.dumps({"a": Namespace()}))
    with pytest.raises(UserError, match=r"x\.pth"):
        checkpoint_files.read(tmp_path / "x.pth")
