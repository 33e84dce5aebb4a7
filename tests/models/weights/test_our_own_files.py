"""Files by headwater itself are adopted as they were written, or refused in one line that says what to do."""

import json
from pathlib import Path

import pytest
import torch

from headwater.core.errors import UserError
from headwater.models import backbones
from headwater.models.encoder import Encoder, restore
from headwater.models.weight_files import load_weights, save_weights
from headwater.stages.adopt import adopt
from headwater.study.source import Source

BACKBONE = "timm/test_resnet"


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return backbones.build(BACKBONE, size=32, mean=(0.1, 0.2, 0.3), std=(0.4,), seed=5)


def _adopt(path: Path, *, backbone: str = BACKBONE, **options: object) -> None:
    weights = {"layout": {"name": "headwater", **options}, "path": str(path)}
    source = Source(name="ours", backbone=backbone, weights=weights)
    adopt(source=source, size=32, encoder=path.with_name("e.safetensors"), coverage=path.with_name("c.json"))


def _refused(path: Path, **how: object) -> str:
    with pytest.raises(UserError) as refusal:
        _adopt(path, **how)
    assert not path.with_name("e.safetensors").exists()
    told = str(refusal.value)
    assert told.startswith(f"{path}: ") and "\n" not in told and "its rule" not in told, told
    return told.removeprefix(f"{path}: ")


def _written(encoder: Encoder, path: Path, **changed: str | None) -> Path:
    metadata = {name: told for name, told in {**encoder.metadata(), **changed}.items() if told is not None}
    save_weights(encoder.tensors(), path, metadata)
    return path


def test_a_changed_bit_of_any_tensor_is_noticed(tmp_path: Path, encoder: Encoder):
    whole = _written(encoder, tmp_path / "x.safetensors").read_bytes()
    begin = 8 + int.from_bytes(whole[:8], "little")
    for at in range(begin, len(whole), (len(whole) - begin) // 9):
        changed = bytearray(whole)
        changed[at] ^= 1
        (tmp_path / "x.safetensors").write_bytes(changed)
        assert _refused(tmp_path / "x.safetensors").startswith("has changed since headwater wrote it; copy it again")


@pytest.mark.parametrize("entry", ["mean", "std"])
@pytest.mark.parametrize(
    "told", [None, "", "[1, 2", "NaN", "[NaN, NaN, NaN]", "[Infinity]", '["a"]', "{}", "[]", '"12"', "3"]
)
def test_a_normalisation_that_is_none_is_refused(tmp_path: Path, encoder: Encoder, entry: str, told: str | None):
    path = _written(encoder, tmp_path / "x.safetensors", **{entry: told})
    said = _refused(path)
    assert said.startswith("has no mean and std") and said.endswith(
        "; set mean and std of the layout as in its training"
    )


def test_a_normalisation_of_the_layout_goes_before_that_of_the_file(tmp_path: Path, encoder: Encoder):
    _adopt(_written(encoder, tmp_path / "x.safetensors", mean=None), mean=[0.5], std=[0.25])
    assert json.loads(load_weights(tmp_path / "e.safetensors")[1]["mean"]) == [0.5]


@pytest.mark.parametrize("told", ["[0, 0, 0]", "[0.1, 0.2, 0]", "[-1]"])
def test_a_std_that_is_not_above_zero_is_refused(tmp_path: Path, encoder: Encoder, told: str):
    assert "std above 0" in _refused(_written(encoder, tmp_path / "x.safetensors", std=told))


@pytest.mark.parametrize("told", ["XYZ", "", "RAR", "RASA", "RA", "ras"])
def test_an_orientation_that_is_none_is_refused(tmp_path: Path, encoder: Encoder, told: str):
    path = _written(encoder, tmp_path / "x.safetensors", orientation=told)
    assert _refused(path).startswith(f"names no orientation of three axes, but {told!r}; copy it again")
    tensors, metadata = load_weights(path)
    with pytest.raises(UserError, match=r"e: names no orientation of three axes.*; delete it and run its rule again"):
        restore(tensors, metadata, name=BACKBONE, size=32, file="e")


def test_the_weights_of_another_network_are_refused_by_its_name(tmp_path: Path, encoder: Encoder):
    path = _written(encoder, tmp_path / "x.safetensors", backbone="timm/resnet18")
    assert _refused(path) == "holds a timm/resnet18, not a timm/test_resnet; set backbone: timm/resnet18"
    # a tag says which weights timm has of a network, not which network it is
    _adopt(_written(encoder, path, backbone=f"{BACKBONE}.r160_in1k"))


def test_a_file_that_other_tools_wrote_anew_is_adopted_by_what_its_layout_says(tmp_path: Path, encoder: Encoder):
    torch.save(encoder.tensors(), tmp_path / "x.pth")
    _refused(tmp_path / "x.pth")
    _adopt(tmp_path / "x.pth", mean=[0.5], std=[0.25])
