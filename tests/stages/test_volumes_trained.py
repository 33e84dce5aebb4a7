"""Volumes from prepared files to predictions: structures are outlined and cases told on the sources' own grids."""

import os
import signal
from urllib.parse import unquote

import nibabel
import numpy as np
import pytest
import torch

import tiny_networks_made
import volumes_made
from headwater.core import files as core_files
from headwater.core.errors import UserError
from headwater.data import prepared
from headwater.data.store import CASES
from headwater.evaluation.predictions import PREDICTIONS, with_evidence
from headwater.models import backbones, weight_files
from headwater.models.task_network import TaskNetwork
from headwater.models.task_set import TaskSet
from headwater.models.tasks import Task
from headwater.stages.finetune import finetune
from headwater.stages.predict import predict
from headwater.study.grid import Run
from headwater.study.intensity import Intensity
from headwater.study.source import Source
from headwater.study.target import evidence
from headwater.training import fitting, loop, scoring
from headwater.training.ddp import World
from headwater.training.reading.volumes import Asked

PATCH = [8, 8, 6]
SEEN = Intensity(zscore=True)
ALONE = World(rank=0, size=1, device=torch.device("cpu"))
OUTLINE = Task(name="segmentation", labels=("back", "front"), form="exclusive")


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory):
    with tiny_networks_made.there(tmp_path_factory.mktemp("tiny")):
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Twenty volumes of about 10 x 12 x 8 voxels, with two structures each."""
    return volumes_made.archive(tmp_path_factory.mktemp("made"), cases=20, sides=(10, 12, 8))


def a_run(*, network="net", task="segmentation", labels=("back", "front"), training=None, targets=None, **recipe):
    length = {"steps": 8, "batch": 4, "lr": 0.02, "validations": 2, **(training or {})}
    asked = {"targets": targets} if targets else {"task": task, "labels": labels}
    return Run(
        dataset={"name": "made", "archive": "made", "seen": SEEN, **asked},
        source=Source(name="random", backbone=f"tiny/{network}", mean=(0.0,), std=(1.0,)),
        recipe={
            "name": "full", "training": length, "select": "dice", "views": {"flip": 0.5, "rotation": 10}, **recipe,
        },
        seed=0,
    )  # fmt: skip


def fitted(folder, run, made, *, patch=PATCH):
    """(tensors of the model, fit.json) of a run."""
    products = {"model": folder / "model.safetensors", "fit": folder / "fit.json", "progress": folder / "progress.pt"}
    finetune(run=run, cases=made.cases, images=made.images, patch=patch, **products)
    return weight_files.load_weights(products["model"])[0], core_files.read_json(products["fit"])


def predicted(folder, run, made, *, patch=PATCH, **options):
    tables = {name: [folder / f"{name}.parquet"] for name in ("predictions", "validation")}
    model = [folder / "model.safetensors"]
    predict(runs=[run], cases=made.cases, images=made.images, models=model, patch=patch, **tables, **options)
    return with_evidence(PREDICTIONS, evidence(run.dataset.tasks)).read(folder / "predictions.parquet")


def volumes(made):
    return prepared.read(made.cases, images=made.images, seen=SEEN, patch=PATCH)


def test_structures_are_learned_and_measured_on_the_grid_of_the_source(tmp_path, made):
    run = a_run(training={"steps": 40}, foreground=0.5)
    _, fit = fitted(tmp_path, run, made)
    assert fit["selected_by"] == "dice" and fit["score"] > 0.4
    table = predicted(tmp_path, run, made, write_outlines=True)
    data = volumes(made)
    rows = data.rows("test")
    assert table["label"].tolist() == ["back", "front"] * len(rows)
    assert not np.isnan(table["hausdorff95"]).any() and table["surface_dice"].between(0, 1).all()
    for row in rows:
        case = data.cases["case"][row]
        image = nibabel.load(tmp_path / "outlines" / f"{case}.nii.gz")
        assert np.array_equal(np.diag([-1, -1, 1, 1]) @ image.affine, data.images.affine(row))
        drawn, reference = np.asarray(image.dataobj), data.images.reference(row)
        for number, label in ((1, "back"), (2, "front")):
            told = table[(table["case"] == case) & (table["label"] == label)].iloc[0]
            here, real = drawn == number, reference == volumes_made.STRUCTURES.index(label) + 1
            counts = ((here & real).sum(), (here & ~real).sum(), (~here & real).sum())
            assert tuple(told[["true_positive", "false_positive", "false_negative"]]) == counts
            assert told["predicted_ml"] == pytest.approx(here.sum() / 1000)
    assert not {unquote(path.name) for path in (tmp_path / "outlines").iterdir()} - {
        f"{case}.nii.gz" for case in data.cases["case"][rows]
    }


@pytest.mark.parametrize(("network", "decoder"), [("net", "head.decoder"), ("unet", "head.last")])
def test_a_probe_learns_a_decoder_of_its_own_and_leaves_the_encoder_alone(tmp_path, made, network, decoder):
    drawn = backbones.build(f"tiny/{network}", size=tuple(PATCH), mean=(0.0,), std=(1.0,), seed=0)
    seeds = {"": 0}
    whole = TaskNetwork(drawn, tasks=TaskSet.of(OUTLINE), seeds=seeds).state_dict()
    assert any(key.startswith(decoder) for key in whole)
    run = a_run(network=network, kind="linear_probe", training={"steps": 2, "validations": 1})
    start, _ = fitted(tmp_path / "still", run.model_copy(update={"recipe": run.recipe.model_copy(update={
        "training": run.recipe.training.model_copy(update={"lr": 1e-30, "weight_decay": 0.0})})}), made)  # fmt: skip
    after, _ = fitted(tmp_path, run, made)
    moved = {key for key in start if not torch.equal(start[key], after[key])}
    assert any(key.startswith("head.decoder") for key in moved)
    assert not any(key.startswith("encoder") for key in moved)
    predicted(tmp_path, run, made)


def test_deep_supervision_changes_what_is_learned_and_not_what_is_predicted_from(tmp_path, made):
    models = {}
    for name, asked in (("deep", {"deep_supervision": True}), ("plain", {})):
        run = a_run(training={"steps": 2, "validations": 1}, **asked)
        source = Source(name="random", backbone="vit3d/test_patch8", mean=(0.0,), std=(1.0,))
        run = run.model_copy(update={"source": source})
        models[name], _ = fitted(tmp_path / name, run, made, patch=[8, 8, 8])
        if asked:
            assert predicted(tmp_path / name, run, made, patch=[8, 8, 8])["true_positive"].notna().all()
    assert models["deep"].keys() - models["plain"].keys() == {"head.lower.0.weight", "head.lower.0.bias"}
    assert not torch.equal(models["deep"]["head.last.weight"], models["plain"]["head.last.weight"])


def test_a_training_killed_between_two_saves_ends_with_the_same_bytes(tmp_path, made, monkeypatch):
    monkeypatch.setattr(loop, "LOG_EVERY", 2)
    run = a_run(training={"save_minutes": 0, "steps": 6})
    whole, _ = fitted(tmp_path / "whole", run, made)
    with monkeypatch.context() as patch:
        patch.setattr(fitting.Fitting, "after_step", lambda self, *, step, steps: 1 / (step - 4))
        with pytest.raises(ZeroDivisionError):
            fitted(tmp_path, run, made)
    with monkeypatch.context() as patch:
        patch.setattr(fitting.Fitting, "after_step", lambda self, *, step, steps: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit):
            fitted(tmp_path, run, made)
    fitted(tmp_path, run, made)
    for name in ("model.safetensors", "metrics.csv"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert whole.keys() == weight_files.load_weights(tmp_path / "model.safetensors")[0].keys()


def test_a_training_that_was_stopped_does_not_go_on_with_another_patch(tmp_path, made, monkeypatch):
    run = a_run(training={"save_minutes": 0, "steps": 4})
    fitted(tmp_path / "whole", run, made)
    with monkeypatch.context() as patch:
        patch.setattr(fitting.Fitting, "after_step", lambda self, *, step, steps: 1 / (step - 2))
        with pytest.raises(ZeroDivisionError):
            fitted(tmp_path, run, made, patch=[6, 8, 6])
    fitted(tmp_path, run, made)
    assert (tmp_path / "metrics.csv").read_bytes() == (tmp_path / "whole" / "metrics.csv").read_bytes()


def test_outlines_and_labels_of_cases_are_told_side_by_side(tmp_path, made):
    cases = CASES.read(made.cases)
    chance = np.random.default_rng(0)
    labelled = cases.assign(**{"target:old": chance.integers(0, 2, len(cases)).astype(float)})
    both = volumes_made.Made(tmp_path / "cases.parquet", made.images, made.masks, made.references)
    CASES.write(labelled, both.cases, origin={"structures": '["front", "back"]'})
    targets = {
        "outline": {"task": "segmentation", "labels": ("front",)},
        "age": {"task": "classification", "labels": ("old",)},
    }
    run = a_run(targets=targets, select="loss", training={"steps": 3, "validations": 1})
    fitted(tmp_path, run, both)
    table = predicted(tmp_path, run, both, write_outlines=True)
    assert table[table["label"] == "old"]["score"].notna().all()
    assert table[table["label"] == "front"]["true_positive"].notna().all()
    assert table[table["label"] == "front"]["score"].isna().all()
    assert len(list((tmp_path / "outlines" / "outline").iterdir())) == table["case"].nunique()


def a_network(*tasks, network="net"):
    encoder = backbones.build(f"tiny/{network}", size=tuple(PATCH), mean=(0.0,), std=(1.0,), seed=3)
    chosen = TaskSet(tasks=dict(tasks)) if len(tasks) > 1 else TaskSet.of(tasks[0][1])
    return TaskNetwork(encoder, tasks=chosen, seeds=dict.fromkeys(chosen.tasks, 1)), chosen


def test_what_is_said_of_a_case_does_not_move_with_its_neighbours_or_the_ranks(made):
    data = volumes(made)
    network, tasks = a_network(("", OUTLINE))
    asked = {"images": data.images, "batch": 3, "asked": Asked(tasks=tasks)}
    together = scoring.score(network, rows=np.arange(6), world=ALONE, **asked)
    alone = scoring.score(network, rows=np.array([4]), world=ALONE, **asked)
    assert together.dtype == torch.float64 and torch.equal(together[4:5], alone)
    # the encoder alone gives features, of which the mean over windows that cover the volume is told
    features = scoring.score(network.encoder, images=data.images, rows=np.arange(6), batch=2, world=ALONE)
    assert torch.equal(features[4:5], scoring.score(
        network.encoder, images=data.images, rows=np.array([4]), batch=2, world=ALONE))  # fmt: skip


def test_a_volume_of_one_patch_is_told_by_one_window(made):
    data = volumes(made)
    row = 0
    sides = tuple(int(side) for side in data.images.sides(row))
    whole = prepared.read(made.cases, images=made.images, seen=SEEN, patch=sides)
    network, _ = a_network(("", OUTLINE))
    score = scoring.score(network.encoder, images=whole.images, rows=np.array([row]), batch=1, world=ALONE)
    with torch.no_grad():
        expected = network.encoder.eval()(torch.from_numpy(whole.images.image(row))[None])
    torch.testing.assert_close(score, expected)


def test_an_oracle_scores_one_and_a_silent_network_nothing(made, monkeypatch):
    """In place of a network, what the masks themselves say."""
    data = volumes(made)
    plugin = OUTLINE.plugin
    row = int(data.rows("test")[0])
    mask = np.array([0, 2, 1], np.uint8)[data.images.mask(row)]
    settings = {"volumes": data.images, "row": row, "values": [2, 1], "tolerance": 1.0, "surfaces": True}
    right = torch.nn.functional.one_hot(torch.from_numpy(mask).long(), 3).movedim(-1, 0).float()
    measured, drawn = plugin.measured(20 * right, **settings)
    assert np.array_equal(drawn, mask)
    told = dict(zip(plugin.MEASURES, measured.T, strict=True))
    assert (told["false_positive"] == 0).all() and (told["false_negative"] == 0).all()
    assert (told["hausdorff95"] == 0).all() and (told["surface_dice"] == 1).all() and (told["loss"] < 0.01).all()
    silent, _ = plugin.measured(20 * torch.eye(3)[0][:, None, None, None].expand(3, *mask.shape), **settings)
    missed = dict(zip(plugin.MEASURES, silent.T, strict=True))
    assert (missed["true_positive"] == 0).all() and (missed["surface_dice"] == 0).all()
    assert (missed["hausdorff95"] == np.linalg.norm(mask.shape)).all()


def test_scores_that_are_no_numbers_are_refused(tmp_path, made):
    run = a_run(training={"steps": 1, "validations": 1})
    fitted(tmp_path, run, made)
    tensors, metadata = weight_files.load_weights(tmp_path / "model.safetensors")
    tensors["head.last.bias"][0] = torch.nan
    weight_files.save_weights(tensors, tmp_path / "model.safetensors", metadata)
    with pytest.raises(UserError, match="NaN or infinite"):
        predicted(tmp_path, run, made)


def test_a_patch_that_is_none_is_refused(made):
    with pytest.raises(UserError, match="shows no volume"):
        prepared.read(made.cases, images=made.images, seen=SEEN, patch=[8, 8])
