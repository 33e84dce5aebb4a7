"""What leaves headwater says outside of it what it said inside: in timm, torch, ONNX and the hub's layout."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import headwater
from headwater import cli
from headwater.core.errors import UserError
from headwater.core.files import write_text
from headwater.core.fingerprints import sha256
from headwater.models import export, loading, sharing
from headwater.models.encoder import Encoder, draw
from headwater.models.task_network import TaskNetwork
from headwater.models.task_set import TaskSet
from headwater.models.tasks import Task
from headwater.models.timm_library import timm
from headwater.models.weight_files import save_weights
from headwater.study.archive import Dataset
from headwater.study.grid import Run
from headwater.study.paths import Paths
from headwater.study.recipe import Recipe
from headwater.study.source import Source

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
LABELS = ("effusion", "nodule", "mass")
NETWORKS = ("test_resnet", "test_vit", "test_convnext")
CLOSE = 1e-4
"""The largest difference that an export may have."""


def encoder_of(name: str) -> Encoder:
    return draw(f"timm/{name}", size=32, mean=MEAN, std=STD, seed=1).eval()


def encoder_file(folder: Path, name: str) -> Path:
    """An encoder as `pretrain` and `adopt` write it."""
    encoder = encoder_of(name)
    save_weights(encoder.tensors(), folder / "encoder.safetensors", encoder.metadata())
    return folder / "encoder.safetensors"


def run_folder(folder: Path, name: str) -> Path:
    """A run's folder with its model, as `finetune` writes it, and weights that cannot be mistaken for a start."""
    source = Source(name="dino", backbone=f"timm/{name}", weights={"layout": "timm", "path": "somewhere_private/w.pth"})
    recipe = Recipe(name="finetune", training={"steps": 1, "batch": 2})
    run = Run(dataset=Dataset(name="chests", archive="chests"), source=source, recipe=recipe, seed=2)
    tasks = TaskSet.of(Task(name="classification", labels=LABELS, form="multilabel"))
    network = TaskNetwork(encoder_of(name), tasks=tasks, seeds={"": 0})
    torch.nn.init.normal_(network.head.bias, generator=torch.Generator().manual_seed(3))
    metadata = {**network.encoder.metadata(), "run": run.as_json(), **tasks.metadata(), "preparation": "{}"}
    save_weights(network.state_dict(), folder / "model.safetensors", metadata)
    return folder


def normalised(images: torch.Tensor) -> torch.Tensor:
    return (images - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_an_encoder_loads_in_plain_timm(tmp_path, images, name):
    file = encoder_file(tmp_path, name)
    size = {"img_size": 32} if "vit" in name else {}
    network = timm.create_model(name, checkpoint_path=file, num_classes=0, **size).eval()
    features = headwater.load(file)(images)
    torch.testing.assert_close(network(normalised(images)), features, rtol=0, atol=CLOSE)
    # a new head on the same features
    network.reset_classifier(5)
    assert network(normalised(images)).shape == (4, 5)
    torch.testing.assert_close(
        network.forward_head(network.forward_features(normalised(images)), pre_logits=True),
        features,
        rtol=0,
        atol=CLOSE,
    )
    # the same in one call, as timm changes heads
    overlay = {"file": str(file), "num_classes": 0}
    network = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=5, **size).eval()
    torch.testing.assert_close(
        network.forward_head(network.forward_features(normalised(images)), pre_logits=True),
        features,
        rtol=0,
        atol=CLOSE,
    )


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_safetensors_are_timms(tmp_path, images, name):
    run = run_folder(tmp_path / "run", name)
    export.export(run, to="safetensors", out=tmp_path / "out")
    network = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    torch.testing.assert_close(network(normalised(images)), headwater.load(run)(images), rtol=0, atol=CLOSE)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["label_names"] == list(LABELS)
    assert config["pretrained_cfg"]["mean"] == list(MEAN) and config["pretrained_cfg"]["std"] == list(STD)
    other = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True, num_classes=7)
    assert other(images).shape == (4, 7)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
@pytest.mark.parametrize("to", ["torchscript", "torch-export", "onnx"])
@torch.no_grad()
def test_other_formats_are_read_by_their_own_programs(tmp_path, images, name, to):
    if to == "onnx" and not importlib.util.find_spec("onnxruntime"):
        pytest.skip("ONNX is not installed: pip install -e '.[export]'")
    run = run_folder(tmp_path / "run", name)
    export.export(run, to=to, out=tmp_path / "out")
    expected = headwater.load(run)(images)
    [file] = [file for file in (tmp_path / "out").iterdir() if file.suffix != ".json"]
    if to == "torchscript":
        (said,) = torch.jit.load(str(file))(images)
    elif to == "torch-export":
        (said,) = torch.export.load(file).module()(images)
    else:
        import onnxruntime

        [said] = onnxruntime.InferenceSession(file).run(["logits"], {"images": images.numpy()})
        said = torch.from_numpy(said)
    torch.testing.assert_close(said, expected, rtol=0, atol=CLOSE)
    assert json.loads((tmp_path / "out" / export.DESCRIPTION).read_text())["labels"] == list(LABELS)


def test_what_differs_is_not_kept(tmp_path, monkeypatch):
    def off(loaded: loading.Loaded, folder: Path) -> export.Answers:
        (folder / "model.bin").write_text("x")
        return lambda images: [output + 2 * CLOSE for output in export.outputs(loaded.network, images)]

    monkeypatch.setitem(export.WRITERS, "onnx", off)
    with pytest.raises(UserError, match=re.escape("as onnx gives outputs that differ by 0.0002, more than 0.0001")):
        export.export(run_folder(tmp_path / "run", "test_resnet"), to="onnx", out=tmp_path / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["run"]


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    run = run_folder(tmp_path / "run", "test_resnet")
    with pytest.raises(UserError, match="is there already; name a new folder"):
        export.export(run, to="torchscript", out=run)


@torch.no_grad()
def test_a_pushed_folder_has_the_hubs_layout_and_no_path(tmp_path, images, capsys):
    run = run_folder(tmp_path / "run", "test_resnet")
    cli.main(["push", str(run), str(tmp_path / "hub")])
    assert "Nothing was uploaded" in capsys.readouterr().out
    files = {file.name: file.read_bytes() for file in (tmp_path / "hub").iterdir()}
    assert files.keys() == {"README.md", "config.json", "model.safetensors", export.DESCRIPTION}
    assert not [
        name for name, content in files.items() if b"somewhere_private" in content or str(tmp_path).encode() in content
    ]
    card = files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: timm\n") and all(label in card for label in LABELS)
    network = timm.create_model(f"local-dir:{tmp_path / 'hub'}", pretrained=True).eval()
    torch.testing.assert_close(network(normalised(images)), headwater.load(run)(images), rtol=0, atol=CLOSE)


TESTED = "## Test results\n\n| macro | 0.839 [0.765, 0.893] |\n"
CARD = f"# Model card\n\n## Networks\n\n{{sha256}}\n\n{TESTED}\n## Limits\n\nmany\n"


def pushed_card(network: Path, hub: Path) -> str:
    sharing.push(network, hub)
    return (hub / "README.md").read_text()


def test_a_pushed_model_takes_its_test_results_along(tmp_path):
    paths = Paths(tmp_path / "results")
    run = Path(paths.run("chests/dino/finetune/seed2"))
    run.mkdir(parents=True)
    run_folder(run, "test_resnet")
    assert "Test results" not in pushed_card(run, tmp_path / "without")
    for sha, told in ((sha256(run / "model.safetensors"), True), ("0" * 64, False)):
        write_text(CARD.format(sha256=sha), Path(paths.model_card("chests", "dino", "finetune")))
        card = pushed_card(run, tmp_path / sha)
        assert (TESTED in card) == told and "many" not in card
    # out of its study, nothing tells what it is of
    moved = run.rename(tmp_path / "moved")
    assert "Test results" not in pushed_card(moved, tmp_path / "elsewhere")


def test_a_pushed_encoder_takes_the_results_of_its_networks_along(tmp_path):
    paths = Paths(tmp_path / "results")
    Path(paths.encoders()).mkdir(parents=True)
    file = encoder_file(Path(paths.encoders()), "test_resnet").rename(paths.encoder("dino"))
    write_text(CARD.format(sha256=sha256(file)), Path(paths.encoder_card("dino")))
    assert TESTED in pushed_card(file, tmp_path / "hub")


@torch.no_grad()
def test_what_timm_has_no_network_for_is_pushed_as_it_is(tmp_path, images, monkeypatch):
    run = run_folder(tmp_path / "run", "test_resnet")

    def no_network(loaded: loading.Loaded) -> torch.nn.Module:
        raise UserError("is no network of timm")

    monkeypatch.setattr(export, "timm_network", no_network)
    sharing.push(run, tmp_path / "hub")
    content = (tmp_path / "hub" / "model.safetensors").read_bytes()
    assert (
        b"somewhere_private" not in content
        and b"library_name: headwater" in (tmp_path / "hub" / "README.md").read_bytes()
    )
    assert torch.equal(headwater.load(tmp_path / "hub")(images), headwater.load(run)(images))


def test_what_is_no_network_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is no such file or folder"):
        headwater.load(tmp_path / "absent")
    with pytest.raises(UserError, match="there is no model here"):
        headwater.load(tmp_path)
    save_weights({"x": torch.zeros(1)}, tmp_path / "other.safetensors", {})
    with pytest.raises(UserError, match="is neither a model nor an encoder"):
        headwater.load(tmp_path / "other.safetensors")


def test_importing_headwater_loads_no_library():
    program = "import sys, headwater; sys.exit(any(name in sys.modules for name in ('torch', 'pandas', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        headwater.nothing  # noqa: B018


def test_odd_places_are_made_or_refused_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "x", tmp_path / ("x" * 250)):
        with pytest.raises(UserError, match="cannot be made"), export.new_folder(place):
            pass
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    with export.new_folder(tmp_path / "link") as place:
        (place / "written").touch()
    assert (tmp_path / "empty" / "written").is_file() and (tmp_path / "link").is_symlink()
