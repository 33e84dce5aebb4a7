"""Networks for pictures on slices of volumes: trained and asked slice by slice, measured as whole volumes."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import volumes_made
from headwater.core import files as core_files
from headwater.core.errors import UserError
from headwater.data import prepared
from headwater.evaluation.predictions import PREDICTIONS, with_evidence
from headwater.models import backbones
from headwater.models.encoder import restore, size_in
from headwater.models.slices import as_pictures, as_volumes
from headwater.models.task_network import TaskNetwork
from headwater.models.task_set import TaskSet
from headwater.models.tasks import Task
from headwater.models.weight_files import load_weights
from headwater.stages.adopt import adopt
from headwater.stages.finetune import finetune
from headwater.stages.predict import predict
from headwater.study.ct_windows import Window
from headwater.study.grid import Run
from headwater.study.intensity import Intensity
from headwater.study.source import Source
from headwater.study.target import evidence
from headwater.training import fitting, loop, scoring
from headwater.training.ddp import World
from headwater.training.reading.volumes import Asked

SEEN = Intensity(zscore=True)
ALONE = World(rank=0, size=1, device=torch.device("cpu"))
OUTLINE = Task(name="segmentation", labels=("back", "front"), form="exclusive")
PATCHES = {"axial": (9, 11, 1), "coronal": (9, 1, 7), "sagittal": (1, 11, 7)}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Twenty volumes of about 10 x 12 x 8 voxels, with two structures each."""
    return volumes_made.archive(tmp_path_factory.mktemp("made"), cases=20, sides=(10, 12, 8))


def a_run(*, plane="sagittal", task="segmentation", training=None, **recipe):
    length = {"steps": 6, "batch": 8, "lr": 0.01, "validations": 2, **(training or {})}
    source = {"backbone": "timm/test_resnet", "slices": plane, "mean": (0.0,), "std": (1.0,)}
    return Run(
        dataset={"name": "made", "archive": "made", "seen": SEEN, "task": task, "labels": ("back", "front")},
        source=Source(name="random", initialisation="full_residual", **source),
        recipe={"name": "full", "training": length, "select": "dice", "views": {"rotation": 10}, **recipe},
        seed=0,
    )


def fitted(folder, run, made):
    """The record of the fitting of a run."""
    products = {"model": folder / "model.safetensors", "fit": folder / "fit.json", "progress": folder / "progress.pt"}
    finetune(run=run, cases=made.cases, images=made.images, patch=list(PATCHES[run.source.slices]), **products)
    return core_files.read_json(products["fit"])


def predicted(folder, run, made):
    tables = {name: [folder / f"{name}.parquet"] for name in ("predictions", "validation")}
    model, patch = [folder / "model.safetensors"], list(PATCHES[run.source.slices])
    predict(runs=[run], cases=made.cases, images=made.images, models=model, patch=patch, **tables)
    return with_evidence(PREDICTIONS, evidence(run.dataset.tasks)).read(folder / "predictions.parquet")


def dice(table):
    shared = 2 * table["true_positive"]
    return shared / (shared + table["false_positive"] + table["false_negative"])


@pytest.mark.parametrize("plane", PATCHES)
def test_slices_lie_as_radiologists_look_at_them(plane):
    patch = PATCHES[plane]
    volumes = torch.arange(2 * 99).float()[:, None, None, None].expand(-1, *patch) + torch.rand(1, *patch)
    pictures = as_pictures(volumes, depth=patch.index(1) - 3)
    columns, rows = (side for side in patch if side != 1)
    assert pictures.shape[1:] == (rows, columns)
    # the first row is the patient's front or head, the first column the patient's right or front
    assert torch.equal(pictures[:, 0, 0], volumes[:, -1, -1, -1]) and torch.equal(pictures[:, -1, 0], volumes[
        (slice(None), *(-1 if axis == (0 if plane != "sagittal" else 1) else 0 for axis in range(3)))
    ])  # fmt: skip
    assert torch.equal(as_volumes(pictures, depth=patch.index(1) - 3), volumes)


class Oracle(torch.nn.Module):
    """In place of a decoder and its last layer: what the brightness of each pixel says."""

    def forward(self, levels, *, space):
        assert tuple(levels[0].shape[2:]) == space
        return levels[:1]


@pytest.mark.parametrize("plane", PATCHES)
def test_an_oracle_of_each_slice_is_right_about_the_whole_volume(tmp_path, plane):
    random = np.random.default_rng(0)
    masks = [volumes_made.outlines((10 + at, 13, 8), random) for at in range(2)]
    flat = volumes_made.written(tmp_path, images=[(60 * mask).astype(np.int16) for mask in masks], masks=masks)
    data = prepared.read(flat.cases, images=flat.images, seen=Window(centre=60, width=120), patch=PATCHES[plane])
    encoder = backbones.build("timm/test_resnet", size=PATCHES[plane], mean=(0.0,), std=(1.0,), seed=0)

    def levels(images):
        bright = encoder.normalised(images)[:, 0]
        # the values of structures 1 and 2 are half and all of the range; the network's classes are back and front
        return [20.0 * torch.stack([bright < 0.25, bright > 0.75, (bright - 0.5).abs() <= 0.25], dim=1).float()]

    encoder.levels = levels
    network = TaskNetwork(encoder, tasks=TaskSet.of(OUTLINE), seeds={"": 0})
    network.head.decoder, network.head.last = Oracle(), torch.nn.Identity()
    scored = scoring.score(
        network, images=data.images, rows=np.arange(2), batch=4, world=ALONE, asked=Asked(tasks=network.tasks)
    )
    targets = OUTLINE.plugin.targets(data, np.arange(2), labels=list(OUTLINE.labels))
    given = OUTLINE.plugin.evidence(scored, targets, form="exclusive")
    assert (given["true_positive"] > 0).all() and OUTLINE.plugin.validation_score(given) == 1
    assert (given["false_positive"] == 0).all() and (given["hausdorff95"] == 0).all()


def test_structures_are_learned_from_slices_and_measured_as_volumes(tmp_path, made):
    run = a_run(training={"steps": 40, "validations": 1}, foreground=0.5)
    fit = fitted(tmp_path, run, made)
    assert fit["selected_by"] == "dice" and fit["score"] > 0.4
    table = predicted(tmp_path, run, made)
    data = prepared.read(made.cases, images=made.images, seen=SEEN, patch=PATCHES["sagittal"])
    rows = data.rows("test")
    # one row per volume and structure, as for networks of volumes, on the grid of the source
    assert table["case"].tolist() == np.repeat(data.cases["case"].to_numpy()[rows], 2).tolist()
    assert not np.isnan(table["hausdorff95"]).any() and dice(table).mean() > 0.3
    real = [(data.images.reference(row) == value).sum() for row in rows for value in (2, 1)]
    assert (table["true_positive"] + table["false_negative"]).tolist() == real


def test_a_training_killed_between_two_saves_ends_with_the_same_bytes(tmp_path, made, monkeypatch):
    monkeypatch.setattr(loop, "LOG_EVERY", 2)
    run = a_run(plane="axial", training={"save_minutes": 0})
    fitted(tmp_path / "whole", run, made)
    with monkeypatch.context() as patch:
        patch.setattr(fitting.Fitting, "after_step", lambda self, *, step, steps: 1 / (step - 4))
        with pytest.raises(ZeroDivisionError):
            fitted(tmp_path, run, made)
    fitted(tmp_path, run, made)
    for name in ("model.safetensors", "metrics.csv"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_cases_are_told_by_the_mean_over_their_slices(tmp_path, made):
    data = prepared.read(made.cases, images=made.images, seen=SEEN, patch=(16, 16, 1))
    encoder = backbones.build("timm/test_resnet", size=(16, 16, 1), mean=(0.0,), std=(1.0,), seed=0).eval()
    score = scoring.score(encoder, images=data.images, rows=np.array([3]), batch=3, world=ALONE)
    values = torch.from_numpy(data.images.image(3))
    lacking = [16 - side for side in values.shape[1:3]]
    ends = [end for each in reversed(lacking) for end in (each // 2, each - each // 2)]
    padded = torch.nn.functional.pad(values, (0, 0, *ends), value=float(values.min()))
    with torch.no_grad():
        # each slice by itself, from above as a picture: three equal channels, the front in the first row
        pictures = [padded[0, :, :, at].T.flip(0, 1).expand(1, 3, -1, -1) for at in range(padded.shape[-1])]
        expected = torch.cat([encoder.backbone(picture) for picture in pictures]).mean(dim=0, keepdim=True)
    torch.testing.assert_close(score, expected)


def test_published_weights_of_pictures_keep_their_normalisation_and_fit_slices_that_are_no_squares(tmp_path):
    given = backbones.build("timm/test_vit", size=160, mean=(0.5,), std=(0.5,), seed=1)
    save_file(given.tensors(), tmp_path / "published.safetensors")
    source = Source(
        name="web", backbone="timm/test_vit", slices="sagittal",
        weights={"layout": "timm", "path": str(tmp_path / "published.safetensors")},
    )  # fmt: skip
    adopt(source=source, size=[1, 32, 48], encoder=tmp_path / "web.safetensors", coverage=tmp_path / "coverage.json")
    tensors, metadata = load_weights(tmp_path / "web.safetensors")
    size = size_in(metadata)
    assert size == (1, 32, 48) and len(json.loads(metadata["mean"])) == 3
    encoder, _ = restore(tensors, metadata, name="timm/test_vit", size=size, file="web")
    # the sides along y and z are columns and rows: 3 x 2 patches
    assert encoder.frame == (48, 32) and encoder.backbone.patch_embed.grid_size == (3, 2)
    values = torch.rand(2, 1, 1, 32, 48)
    mean, std = (torch.tensor(json.loads(metadata[name]))[:, None, None] for name in ("mean", "std"))
    picture = (values[:, 0, 0].mT.flip(1, 2)[:, None] - mean) / std
    torch.testing.assert_close(encoder.eval()(values), encoder.backbone(picture))


def test_volumes_whole_are_refused_by_networks_for_pictures():
    with pytest.raises(UserError, match=r"networks for pictures see slices, and \[8, 8, 8\] voxels are none"):
        backbones.build("timm/test_resnet", size=(8, 8, 8), mean=(0.0,), std=(1.0,), seed=0)
