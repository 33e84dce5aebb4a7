"""Files that are no weights, or damaged ones: each is refused in one line that names it, and nothing of it is used."""

import errno
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from headwater.core.errors import UserError
from headwater.models import checkpoint_files, nearest_layout
from headwater.models.weights import timm as timm_layout
from headwater.stages.adopt import adopt
from headwater.study.source import Source

Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def network() -> Tensors:
    torch.manual_seed(1)
    return timm.create_model("test_resnet", num_classes=0).state_dict()


def _adopt(path: Path, folder: Path, **options: str) -> None:
    weights = {"layout": {"name": "timm", **options}, "path": str(path)}
    source = Source(name="published", backbone="timm/test_resnet", weights=weights)
    adopt(source=source, size=32, encoder=folder / "encoder.safetensors", coverage=folder / "coverage.json")


def _refused(path: Path, folder: Path, *, because: str) -> str:
    """The one line with which the file is refused, before anything is written."""
    with pytest.raises(UserError) as refusal:
        _adopt(path, folder)
    message = str(refusal.value)
    assert str(path) in message and "\n" not in message, message
    assert because in message, message
    assert not (folder / "encoder.safetensors").exists()
    return message


# values that no network was trained to


def _with(change: Callable[[Tensor], Tensor], key: str = "conv1.0.weight") -> Callable[[Tensors], tuple[Tensors, str]]:
    return lambda tensors: ({**tensors, key: change(tensors[key])}, key)


VALUES = {
    "int64": (_with(lambda values: values.round().long()), "int64 numbers, not float"),
    "uint8": (_with(lambda values: values.abs().to(torch.uint8)), "uint8 numbers, not float"),
    "bool": (_with(lambda values: values > 0), "bool numbers, not float"),
    "complex": (_with(lambda values: values.to(torch.complex64)), "complex64 numbers, not float"),
    "NaN": (_with(lambda values: torch.where(values > values.median(), values, torch.nan)), "NaN or infinite"),
    "a single NaN": (_with(lambda values: values.index_fill(0, torch.tensor([0]), torch.nan)), "NaN or infinite"),
    "infinite": (_with(lambda values: values / 0), "NaN or infinite"),
    "infinite in float32": (_with(lambda values: values.double() * 1e300), "NaN or infinite in float32"),
    "negative variance": (_with(lambda values: -values, "bn1.running_var"), "running variance"),
    "variance of zeros": (_with(torch.zeros_like, "bn1.running_var"), "running variance and holds zeros only"),
    "NaN in a running mean": (_with(lambda values: values * torch.nan, "bn1.running_mean"), "NaN or infinite"),
    "sparse": (_with(lambda values: values.to_sparse()), "sparse"),
}


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize("kind", VALUES)
def test_values_that_cannot_be_weights_are_refused_by_the_tensors_name(tmp_path: Path, network: Tensors, kind: str):
    change, because = VALUES[kind]
    tensors, key = change(network)
    torch.save({"state_dict": tensors}, tmp_path / "x.pth")
    assert f"tensor {key} " in _refused(tmp_path / "x.pth", tmp_path, because=because)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_formats_are_adopted(tmp_path: Path, network: Tensors, kind: torch.dtype):
    floats = {key: values.to(kind) if values.is_floating_point() else values for key, values in network.items()}
    torch.save(floats, tmp_path / "x.pth")
    _adopt(tmp_path / "x.pth", tmp_path)
    assert json.loads((tmp_path / "coverage.json").read_text())["share"] == 1


def test_a_damaged_tensor_that_the_network_does_not_use_is_no_obstacle(tmp_path: Path, network: Tensors):
    torch.save({**network, "fc.weight": torch.full((5, 3), torch.nan)}, tmp_path / "x.pth")
    _adopt(tmp_path / "x.pth", tmp_path)


def test_two_tensors_for_one_place_are_refused(tmp_path: Path, network: Tensors):
    twice = {f"module.{key}": torch.zeros_like(values) for key, values in network.items()} | network
    torch.save(twice, tmp_path / "x.pth")
    weights = {"layout": {"name": "swav"}, "path": str(tmp_path / "x.pth"), "coverage": 0.1}
    source = Source(name="published", backbone="timm/test_resnet", weights=weights)
    with pytest.raises(UserError, match=r"x\.pth: tensors module\.\S+ and \S+ are both \S+ of the network; set prefix"):
        adopt(source=source, size=32, encoder=tmp_path / "e.safetensors", coverage=tmp_path / "c.json")
    assert not (tmp_path / "e.safetensors").exists()


def test_shapes_without_values_are_refused(tmp_path: Path, network: Tensors):
    torch.save({key: values.to("meta") for key, values in network.items()}, tmp_path / "x.pth")
    _refused(tmp_path / "x.pth", tmp_path, because="has a shape and no values")


WRITERS = {
    "torch": lambda tensors, path: torch.save(tensors, path),
    "safetensors": save_file,
    "npz": lambda tensors, path: path.write_bytes(_npz(tensors)),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_weights_that_are_mostly_zero_are_refused_and_single_ones_are_not(tmp_path: Path, network: Tensors, kind: str):
    weights = [key for key, values in network.items() if values.ndim > 1]
    half = len(weights) // 2

    def write(zeroed: list[str]) -> Path:
        changed = {key: torch.zeros_like(values) if key in zeroed else values for key, values in network.items()}
        WRITERS[kind](changed, tmp_path / "x")
        return tmp_path / "x"

    told = f"{len(weights)} of {len(weights)} tensors of weights hold zeros only; download it again"
    _refused(write(list(network)), tmp_path, because=told)
    _refused(write(weights[: half + 1]), tmp_path, because="hold zeros only; download it again")
    _adopt(write(weights[:half]), tmp_path)


def test_a_file_whose_end_was_never_downloaded_is_refused(tmp_path: Path):
    sizes = {"a.weight": 64, "b.weight": 80, "c.bias": 40}
    tensors = {name: torch.rand(size, size) + 1 for name, size in sizes.items()}
    whole = _safetensors(tensors, tmp_path)
    begin = len(whole) - sum(4 * values.numel() for values in tensors.values())
    for at in (begin + 5, len(whole) - 4 * 40**2 - 4 * 80**2 + 4, len(whole) - 4096):
        (tmp_path / "x").write_bytes(whole[:at] + bytes(len(whole) - at))
        _refused(tmp_path / "x", tmp_path, because="holds only zeros from the middle of tensor ")
    # a last layer may be zero as a whole, and a few last weights by chance
    for zeroed in (torch.zeros(40, 40), torch.cat([torch.ones(1600 - 1023), torch.zeros(1023)])):
        _safetensors({**tensors, "c.bias": zeroed}, tmp_path)
        assert torch.equal(checkpoint_files.read(tmp_path / "whole.safetensors")[0]["c.bias"], zeroed)


# two tensors of one name, or two networks


def _with_two(kind: str, tensors: Tensors, path: Path) -> None:
    """A file in which a name stands twice, the second time with other numbers, as libraries read it."""
    if kind == "safetensors":
        save_file(tensors, path)
        whole = path.read_bytes()
        (length,) = struct.unpack("<Q", whole[:8])
        header = whole[8 : 8 + length].decode().rstrip()
        first, second = (json.dumps(json.loads(header)[name]) for name in ("a.weight", "b.weight"))
        twice = f'{header[:-1]}, "b.weight": {first}, "a.weight": {second}}}'.encode()
        path.write_bytes(struct.pack("<Q", len(twice)) + twice + whole[8 + length :])
        return
    WRITERS[kind](tensors, path)
    with zipfile.ZipFile(path, "a") as archive:
        name = next(name for name in archive.namelist() if name.endswith(("data/1", "b.weight.npy")))
        archive.writestr(name, archive.read(name)[:-4] + bytes(4))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("kind", "name"), [("torch", "x/data/1"), ("safetensors", "a.weight"), ("npz", "b.weight.npy")]
)
def test_two_tensors_of_one_name_are_refused_by_it(tmp_path: Path, kind: str, name: str):
    _with_two(kind, {"a.weight": torch.rand(3, 3), "b.weight": torch.rand(3, 3)}, tmp_path / "x")
    _refused(tmp_path / "x", tmp_path, because=f"holds {name} twice")


def test_a_network_beside_another_is_refused_until_one_is_chosen(tmp_path: Path, network: Tensors):
    torch.save({**network, "state_dict": network}, tmp_path / "x.pth")
    _refused(tmp_path / "x.pth", tmp_path, because="holds several networks: state_dict, and conv1.0.weight")
    _adopt(tmp_path / "x.pth", tmp_path, wrapper="state_dict")
    # what a training keeps beside its network is none
    torch.save({"state_dict": network, "queue": torch.rand(4, 9), "steps": torch.tensor(3)}, tmp_path / "x.pth")
    _adopt(tmp_path / "x.pth", tmp_path)


def _moments() -> dict:
    return {"optimizer": {"state": {0: {"exp_avg": torch.zeros(4)}}}, "epoch": 3}


@pytest.mark.parametrize(
    ("content", "wrapper", "said"),
    [
        ({}, "", "holds nothing; ask its publisher for a file with the weights of the network"),
        (_moments(), "", "holds no tensors by name, but optimizer, epoch; ask its publisher"),
        ({"model": {}}, "", "holds no tensors by name, but model; ask its publisher"),
        (
            {"a.weight": torch.ones(3)},
            "model",
            "has no entry 'model'; leave wrapper out, as its tensors lie at the top",
        ),
        (_moments() | {"mine": {"a.weight": torch.ones(3)}}, "", "but optimizer, epoch, mine; set wrapper: mine"),
        (
            _moments() | {"mine": {"a.weight": torch.ones(3)}},
            "mime",
            "no entry 'mime'; set wrapper: did you mean 'mine'",
        ),
    ],
)
def test_where_no_tensors_lie_it_is_told_where_they_do(tmp_path: Path, content: dict, wrapper: str, said: str):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(UserError) as refusal:
        checkpoint_files.read(tmp_path / "x.pth", wrapper=wrapper)
    assert said in str(refusal.value)


def test_a_folder_and_a_file_without_tensors_are_called_so(tmp_path: Path):
    _refused(tmp_path, tmp_path, because="is a folder; set weights.path to the file of weights in it")
    save_file({}, tmp_path / "x.safetensors")
    _refused(tmp_path / "x.safetensors", tmp_path, because="x.safetensors: holds no tensors; download it again")


def test_nothing_loaded_is_not_called_less_than_nothing(tmp_path: Path):
    torch.save({"x": torch.ones(3)}, tmp_path / "x.pth")
    weights = {"layout": "timm", "path": str(tmp_path / "x.pth"), "coverage": 0}
    source = Source(name="published", backbone="timm/test_resnet", weights=weights)
    with pytest.raises(UserError, match=r"tensors\) loads nothing: the file has x"):
        adopt(source=source, size=32, encoder=tmp_path / "e.safetensors", coverage=tmp_path / "c.json")


# files that are something else

TORCH = io.BytesIO()
torch.save({"a.weight": torch.arange(3.0)}, TORCH)


def _zip(members: dict[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


def _tar() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        member = tarfile.TarInfo("model.pth")
        member.size = len(TORCH.getvalue())
        archive.addfile(member, io.BytesIO(TORCH.getvalue()))
    return content.getvalue()


def _encrypted() -> bytes:
    """A torch archive whose members say that they are encrypted (bit 0 of the flags, PKWARE's APPNOTE 4.4.4)."""
    content = bytearray(TORCH.getvalue())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        while at >= 0:
            content[at + offset] |= 1
            at = content.find(signature, at + 4)
    return bytes(content)


def _npy(values: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, values)
    return content.getvalue()


OTHERS = {
    "nothing": (b"", "empty"),
    "zeros": (bytes(4096), "zeros"),
    "an HTML page": (b"<!DOCTYPE html><html><body>Please log in</body></html>", "HTML page"),
    "an HTML page after a blank line": (b"\n  <HTML><body>404</body></HTML>", "HTML page"),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
    "gzip": (b"\x1f\x8b\x08" + bytes(100), "gzip"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "Keras"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "a picture"),
    "a PDF": (b"%PDF-1.7" + bytes(100), "a PDF"),
    "JSON": (json.dumps({"weight_map": {}}).encode(), "JSON"),
    "text": (b"weights go here\n" * 20, "neither a PyTorch"),
    "tar": (_tar(), "tar archive"),
    "a zip of the checkpoint": (_zip({"weights/model.pth": TORCH.getvalue()}), "zip archive of weights/model.pth"),
    "an empty zip": (b"PK\x05\x06" + bytes(18), "neither a PyTorch"),
    "a plain pickle": (pickle.dumps({"a": 1}), "a pickle that PyTorch did not write"),
    "a pickle of protocol 5": (pickle.dumps({"a": Namespace()}, protocol=5), "a pickle that PyTorch did not write"),
    "one NumPy array": (_npy(np.zeros(3)), "a single NumPy array"),
    "TorchScript": (_zip({"m/data.pkl": b"\x80\x02}.", "m/code/__torch__.py": b"pass"}), "TorchScript"),
    "encrypted": (_encrypted(), "encrypted"),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".npz"])
@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_that_is_no_checkpoint_is_called_what_it_is(tmp_path: Path, kind: str, suffix: str):
    content, because = OTHERS[kind]
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    # only for PyTorch's own files may it be said how to open them all the same
    assert "weights_only" not in _refused(path, tmp_path, because=because)


@pytest.mark.parametrize("suffix", [".pth", ".bin", ".ckpt", ""])
def test_the_content_decides_and_not_the_name(tmp_path: Path, network: Tensors, suffix: str):
    floats = {key: values for key, values in network.items() if values.is_floating_point()}
    save_file(floats, tmp_path / f"x{suffix}")
    _adopt(tmp_path / f"x{suffix}", tmp_path)


# damaged, cut off, or made to fill the memory


def _legacy(tensors: Tensors) -> bytes:
    content = io.BytesIO()
    torch.save(tensors, content, _use_new_zipfile_serialization=False)
    return content.getvalue()


def _safetensors(tensors: Tensors, folder: Path) -> bytes:
    save_file(tensors, folder / "whole.safetensors")
    return (folder / "whole.safetensors").read_bytes()


def _npz(tensors: Tensors) -> bytes:
    content = io.BytesIO()
    np.savez(content, **{key: values.numpy() for key, values in tensors.items()})
    return content.getvalue()


def _wholes(folder: Path) -> dict[str, bytes]:
    tensors = {"a.weight": torch.arange(1000.0), "b.weight": torch.ones(7, 3)}
    return {
        "torch": TORCH.getvalue(),
        "legacy": _legacy(tensors),
        "safetensors": _safetensors(tensors, folder),
        "npz": _npz(tensors),
    }


@pytest.mark.parametrize("kind", ["torch", "legacy", "safetensors", "npz"])
def test_a_file_that_was_cut_off_anywhere_is_refused(tmp_path: Path, kind: str):
    whole = _wholes(tmp_path)[kind]
    for length in sorted({*range(1, 40), *range(40, len(whole), max(1, len(whole) // 60))}):
        (tmp_path / "x").write_bytes(whole[:length])
        _refused(tmp_path / "x", tmp_path, because="")


def test_every_changed_bit_of_the_numbers_is_noticed_in_a_torch_archive(tmp_path: Path):
    tensors = {"a.weight": torch.rand(2, 3)}
    torch.save(tensors, tmp_path / "x.pth")
    whole, numbers = (tmp_path / "x.pth").read_bytes(), tensors["a.weight"].numpy().tobytes()
    assert whole.count(numbers) == 1
    for bit in range(8 * len(numbers)):
        changed = bytearray(whole)
        changed[whole.index(numbers) + bit // 8] ^= 1 << bit % 8
        (tmp_path / "x.pth").write_bytes(changed)
        with pytest.raises(UserError, match=r"x\.pth: is corrupt or truncated: x/data/0 does not have its checksum"):
            checkpoint_files.read(tmp_path / "x.pth")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["f4", "f8", "f2"])
def test_arrays_of_either_byte_order_are_read(tmp_path: Path, kind: str, order: str):
    np.savez(tmp_path / "x.npz", a=np.arange(3).astype(order + kind))
    assert checkpoint_files.read(tmp_path / "x.npz")[0]["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (np.array([None, 1]), "Python objects"),
        (np.array(["a"]), "<U1 values"),
        (np.zeros(2, dtype=[("a", "<f4")]), "[('a', '<f4')] values"),
        (np.array(["2020-01-01"], dtype="M8[D]"), "datetime64[D] values"),
    ],
    ids=["objects", "text", "records", "dates"],
)
def test_arrays_that_are_no_numbers_are_called_what_they_are(tmp_path: Path, values: np.ndarray, what: str):
    np.savez(tmp_path / "x.npz", a=values)
    said = _refused(tmp_path / "x.npz", tmp_path, because=f"array a.npy holds {what}, not numbers that PyTorch has")
    assert "download" not in said


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", ["torch", "legacy", "safetensors", "npz"])
def test_changed_bytes_give_tensors_or_one_line(tmp_path: Path, kind: str):
    whole = _wholes(tmp_path)[kind]
    random = np.random.default_rng(0)
    for _ in range(150):
        changed = bytearray(whole)
        for at in random.integers(0, len(whole), size=3):
            changed[at] = random.integers(256)
        (tmp_path / "x").write_bytes(changed)
        try:
            checkpoint_files.read(tmp_path / "x")
        except UserError as refusal:
            assert "\n" not in str(refusal)


def test_an_archive_that_would_fill_the_memory_is_refused(tmp_path: Path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**33,)})
    swollen = _zip({"a.npy": header.getvalue() + bytes(50 * 2**20)}, compression=zipfile.ZIP_DEFLATED)
    (tmp_path / "x.npz").write_bytes(swollen)
    _refused(tmp_path / "x.npz", tmp_path, because="would unpack to")
    (tmp_path / "y.npz").write_bytes(_zip({"a.npy": header.getvalue() + bytes(64)}))
    _refused(tmp_path / "y.npz", tmp_path, because="claims")


@pytest.mark.parametrize("kind", ["torch", "legacy"])
def test_a_storage_that_claims_more_than_the_file_holds_is_refused(tmp_path: Path, kind: str):
    whole = TORCH.getvalue() if kind == "torch" else _legacy({"a.weight": torch.arange(3.0)})
    # the count in the reference to the storage, K 3, becomes J and four bytes; in a zip archive the member is made anew
    if kind == "legacy":
        assert whole.count(b"K\x03") >= 1
        at = whole.index(b"cpu")
        at = whole.index(b"K\x03", at)
        changed = whole[:at] + b"J" + struct.pack("<i", 2**31 - 1) + whole[at + 2 :]
    else:
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = next(name for name in members if name.endswith("data.pkl"))
        at = members[name].index(b"K\x03", members[name].index(b"cpu"))
        members[name] = members[name][:at] + b"J" + struct.pack("<i", 2**31 - 1) + members[name][at + 2 :]
        changed = _zip(members)
    (tmp_path / "x.pth").write_bytes(changed)
    _refused(tmp_path / "x.pth", tmp_path, because="a tensor claims 2,147,483,647 numbers")


def test_a_tensor_that_repeats_few_numbers_without_end_is_refused(tmp_path: Path):
    torch.save({"a.weight": torch.ones(1).expand(2**32)}, tmp_path / "x.pth")
    _refused(tmp_path / "x.pth", tmp_path, because="tensor a.weight claims 17,179,869,184 bytes")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_what_the_disk_refuses_is_not_called_a_damaged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
):
    (tmp_path / "x.pth").write_bytes(TORCH.getvalue())

    def refuse(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(checkpoint_files.checkpoint_kind, "of", refuse)
    message = _refused(tmp_path / "x.pth", tmp_path, because=f"cannot be read: {os.strerror(number)}; check its")
    assert "corrupt" not in message and "download" not in message


def test_code_in_a_checkpoint_of_torch_is_named_with_what_to_do(tmp_path: Path):
    torch.save({"state_dict": {}, "args": Namespace(lr=1)}, tmp_path / "x.pth")
    _refused(tmp_path / "x.pth", tmp_path, because="if you trust it")


def test_very_many_keys_end_in_an_answer_without_a_search(tmp_path: Path, network: Tensors, monkeypatch):
    monkeypatch.setattr(nearest_layout, "MOST_KEYS", 1000)
    monkeypatch.setattr(nearest_layout, "prefix", lambda *_, **__: pytest.fail("searched for a prefix"))
    many = {f"model.layers.{index}.weight": torch.zeros(1) for index in range(1001)}
    assert (
        nearest_layout.layout(
            many,
            chosen="timm",
            backbone="timm/test_resnet",
            dimensions=2,
            expected=network,
            match=lambda *_: timm_layout,
        )
        is None
    )
