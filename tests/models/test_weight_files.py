"""Weights that headwater wrote are read back as they were written, or not at all."""

from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from safetensors.torch import save_file

from headwater.core.errors import UserError
from headwater.models.weight_files import load_weights, save_weights

METADATA = {"labels": '["Pneumothorax"]', "source": "random"}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    tensors = {"a.weight": torch.arange(12.0).reshape(3, 4), "b.bias": torch.ones(5, dtype=torch.float16)}
    save_weights(tensors, tmp_path / "x.safetensors", METADATA)
    return tmp_path / "x.safetensors"


def test_what_was_written_is_read(written: Path):
    tensors, metadata = load_weights(written)
    assert metadata == METADATA
    assert torch.equal(tensors["a.weight"], torch.arange(12.0).reshape(3, 4))
    assert tensors["b.bias"].dtype == torch.float16


def test_equal_contents_are_equal_bytes_whatever_their_order(tmp_path: Path, written: Path):
    tensors, metadata = load_weights(written)
    backwards = dict(reversed(tensors.items()))
    save_weights(backwards, tmp_path / "y.safetensors", dict(reversed(metadata.items())))
    assert (tmp_path / "y.safetensors").read_bytes() == written.read_bytes()


def test_other_libraries_read_it(written: Path):
    with safetensors.safe_open(written, framework="np") as file:
        assert sorted(file.keys()) == ["a.weight", "b.bias"]


def test_every_changed_bit_is_noticed(written: Path):
    whole = written.read_bytes()
    for at in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[at // 8] ^= 1 << at % 8
        written.write_bytes(changed)
        try:
            tensors, metadata = load_weights(written)
        except UserError as refusal:
            assert str(written) in str(refusal) and "\n" not in str(refusal)
            continue
        # left are the name of the digest, and spaces behind the header: nothing that was written has changed
        assert metadata.items() >= METADATA.items()
        assert np.array_equal(tensors["a.weight"].numpy().ravel(), np.arange(12)) and tensors["b.bias"].eq(1).all()


@pytest.mark.parametrize("kept", [0, 3, 8, 100, -1])
def test_a_torn_file_is_refused(written: Path, kept: int):
    written.write_bytes(written.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"x\.safetensors: weights file is missing, corrupt or truncated"):
        load_weights(written)


@pytest.mark.parametrize("header", [b'{"__metadata__":null}   ', b"{" * 100_000, b"[1]     ", b'{"a":7}  '])
def test_odd_headers_are_read_or_refused(tmp_path: Path, header: bytes):
    (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    try:
        assert load_weights(tmp_path / "x.safetensors") == ({}, {})
    except UserError as refusal:
        assert "corrupt or truncated" in str(refusal)


def test_a_file_without_a_digest_is_read(tmp_path: Path):
    save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors", metadata={"mean": "[1]"})
    assert load_weights(tmp_path / "x.safetensors")[1] == {"mean": "[1]"}
