"""Controls: the same source once more, and a source fitted to shuffled labels, beside the sources that are compared."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import prepared_made
from headwater.core import files as core_files
from headwater.core.errors import UserError
from headwater.data import store, tables
from headwater.data.store import CASES
from headwater.evaluation.predictions import PREDICTIONS
from headwater.models import weight_files
from headwater.stages.finetune import finetune
from headwater.stages.predict import predict
from headwater.stages.pretrain import pretrain
from headwater.study import config as study_config
from headwater.study.grid import Run
from headwater.study.json_schema import schema
from headwater.study.source import Source
from headwater.training import loop
from headwater.training.fine_tuning import material_of, shuffled
from workflow_made import planned, small_config, snakemake

SEEDS = st.integers(0, 2**31)
RANDOM = Source(name="random", backbone="timm/test_resnet")
MADE = Source(
    name="made", backbone="timm/test_resnet", method="supervised", corpus="made", training={"steps": 2, "batch": 16}
)


def small(**controls) -> dict:
    """The small grid with these controls."""
    return {**small_config(), "controls": controls}


def a_run(source: Source, *, seed: int = 0, **recipe) -> Run:
    """A short run; recipes may differ."""
    training = {"steps": 6, "batch": 16, "lr": 1e-3, "validations": 2}
    return Run(
        dataset={"name": "made", "archive": "made"},
        source=source,
        recipe={"name": "full", "training": training, **recipe},
        seed=seed,
    )


# the plan


def test_controls_are_further_sources_at_the_end():
    grid = study_config.load(small(again=["random", "photographs"], shuffled=["photographs"])).grid()
    names = [source.name for source in grid.sources]
    assert names == ["random", "photographs", "random_again", "photographs_again", "photographs_shuffled"]
    assert [source.control for source in grid.sources] == [None, None, "again", "again", "shuffled"]
    for source in grid.sources:
        assert source.original == grid.source(source.of or source.name)
        assert source.kind == source.original.kind
    assert len(list(grid.runs("chestxray14"))) == 5 * 2


def test_controls_take_part_in_no_declared_test():
    with_controls = study_config.load(small(again=["random", "photographs"], shuffled=["random"])).grid()
    comparison = with_controls.comparison("chestxray14")
    assert comparison.again == {"random_again": "random", "photographs_again": "photographs"}
    assert comparison.shuffled == ("random_shuffled",)
    assert comparison.pairs == study_config.load(small_config()).grid().comparison("chestxray14").pairs
    assert set(comparison.sources) >= {"random_again", "photographs_again", "random_shuffled"}


def test_without_controls_nothing_has_changed():
    # finished jobs are found by these
    assert (MADE.digest, a_run(MADE, seed=1).digest) == ("fa67e653", "4ba1b938")
    grid = study_config.load(small_config()).grid()
    with_controls = study_config.load(small(again=["photographs"], shuffled=["photographs"])).grid()
    for run in grid.runs("chestxray14"):
        same = with_controls.run(run.dataset.name, run.source.name, run.recipe.name, run.seed)
        assert same.as_json() == run.as_json()


@given(SEEDS)
def test_seeds_are_shared_by_all_but_the_same_source_again(seed: int):
    assert a_run(RANDOM, seed=seed).stream == a_run(MADE, seed=seed).stream == seed
    assert a_run(MADE.as_control("shuffled"), seed=seed).stream == seed
    again = a_run(MADE.as_control("again"), seed=seed)
    assert again.stream != seed and 0 <= again.stream < 2**63
    assert again.stream == Run.from_json(again.as_json()).stream
    assert again.stream != a_run(MADE.as_control("again"), seed=seed + 1).stream


@pytest.mark.parametrize("control", ["again", "shuffled"])
def test_a_control_comes_back_from_its_line(control: str):
    run = a_run(MADE.as_control(control))
    read = Run.from_json(run.as_json())
    assert read == run and read.source.original == MADE and read.source.original.digest == MADE.digest
    assert run.path == f"made/made_{control}/full/seed0"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"controls": {"again": ["radnom"]}}, "controls.again: there is no 'radnom'; did you mean 'random'?"),
        ({"controls": {"shuffled": ["random", "random"]}}, "controls.shuffled: a source is listed twice"),
        ({"controls": {"shufled": ["random"]}}, "controls.shufled: unknown key; did you mean 'shuffled'?"),
        ({"controls": {"again": "random"}}, "controls.again: must be a list (got 'random'); write [random]"),
        (
            {"controls": {"again": ["random"]}, "sources": {"random": {}, "random_again": {}}},
            "controls.again: the name random_again is taken by a source; rename that source",
        ),
        (
            {"controls": {"again": ["random"]}, "comparison": {"reference": "random_again"}},
            "comparison.reference: random_again is a control; name random",
        ),
        (
            {"controls": {"again": ["random"], "shuffled": ["random_again"]}},
            "controls.shuffled: there is no 'random_again'",
        ),
        (
            {"sources": {"random": {}, "other": {"control": "again", "of": "random"}}},
            "sources.other.control: cannot be set here; list the source under controls",
        ),
        (
            {"sources": {"random": {}, "other": {"of": None}}},
            "sources.other.of: cannot be set here; list the source under controls",
        ),
        (
            {"controls": {"again": ["random"]}, "sources": {"random": {}}, "comparison": {}},
            "sources: a comparison needs at least two sources",
        ),
    ],
)
def test_what_makes_no_control_is_told(change: dict, said: str):
    with pytest.raises(UserError) as refusal:
        study_config.load({**copy.deepcopy(small_config()), **change})
    assert said in str(refusal.value)


@pytest.mark.parametrize("key", ["name", "control", "of"])
def test_an_editor_is_offered_no_key_that_is_filled_in(key: str):
    forms = schema()["$defs"]
    assert key not in forms["Source"]["properties"]
    assert set(forms["Controls"]["properties"]) == {"again", "shuffled"}


def test_controls_are_planned_without_a_second_pretraining(tmp_path):
    plain = planned(tmp_path, config=small_config())
    config = small(again=["random", "photographs"], shuffled=["photographs"])
    assert planned(tmp_path, config=config) == {**plain, "finetune": 10, "predict": 5}


@pytest.mark.slow
def test_controls_start_from_the_encoder_of_their_source(tmp_path):
    config = small(again=["random", "photographs"], shuffled=["photographs"])
    printed = snakemake(tmp_path, "-n", "-p", config=config).stdout
    commands = [line for line in printed.splitlines() if "finetune.py" in line]
    assert len(commands) == 10
    for line in commands:
        assert ("--encoder results/encoders/photographs.safetensors" in line) == ("/photographs" in line)
        assert line.count("encoders/") <= 1
    refused = snakemake(tmp_path, "-n", "results/encoders/photographs_again.safetensors", check=False)
    assert refused.returncode and "MissingRuleException" in refused.stdout + refused.stderr


# the fitting


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return prepared_made.archive(tmp_path_factory.mktemp("made"), unknown=0.1)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory, made):
    """The encoder of the pre-trained source."""
    folder = tmp_path_factory.mktemp("encoder")
    path = folder / "made.safetensors"
    pretrain(
        source=MADE,
        size=32,
        cases=made.cases,
        images=made.images,
        rows=made.rows,
        encoder=path,
        history=folder,
        progress=folder / "e.pt",
    )
    return path


def fitted(folder, run, made, encoder=None):
    """(tensors of the model, fit.json, predictions, metrics of each step) of a run."""
    folder.mkdir(exist_ok=True)
    files = {"cases": made.cases, "images": made.images, "model": folder / "model.safetensors"}
    learnt = {"fit": folder / "fit.json", "progress": folder / "x.pt"}
    finetune(run=run, encoder=encoder, **files, **learnt)
    scores = {"predictions": [folder / "predictions.parquet"], "validation": [folder / "validation.parquet"]}
    predict(runs=[run], models=[files["model"]], cases=made.cases, images=made.images, **scores)
    return (
        weight_files.load_weights(files["model"])[0],
        core_files.read_json(learnt["fit"]),
        PREDICTIONS.read(folder / "predictions.parquet"),
        (folder / "metrics.csv").read_text(),
    )


def still(run: Run) -> Run:
    """The run with a rate too small to move a weight."""
    training = run.recipe.training.model_copy(update={"lr": 1e-30, "weight_decay": 0.0})
    return run.model_copy(update={"recipe": run.recipe.model_copy(update={"training": training})})


def test_the_same_source_again_has_the_same_weights_and_other_chance(tmp_path, made, encoder):
    again = MADE.as_control("again")
    first, _, _, _ = fitted(tmp_path / "first", still(a_run(MADE)), made, encoder)
    start, fit, _, _ = fitted(tmp_path / "start", still(a_run(again)), made, encoder)
    key = next(key for key, tensor in first.items() if key.startswith("encoder") and tensor.ndim > 1)
    assert torch.equal(first[key], start[key])
    assert not torch.equal(first["head.weight"], start["head.weight"])
    assert fit["encoder"]["file"] == str(encoder) and not fit["labels_shuffled"]

    _, _, scores, steps = fitted(tmp_path / "again", a_run(again), made, encoder)
    _, _, same, same_steps = fitted(tmp_path / "same", a_run(again), made, encoder)
    _, _, other, other_steps = fitted(tmp_path / "other", a_run(MADE), made, encoder)
    assert scores.equals(same) and steps == same_steps
    assert not np.allclose(scores["score"], other["score"]) and steps != other_steps
    assert scores["target"].equals(other["target"])
    assert set(scores["source"]) == {"made_again"} and set(scores["seed"]) == {0}


def test_all_that_is_drawn_in_the_fitting_is_drawn_anew(tmp_path, made, encoder, monkeypatch):
    seeds = []
    fit = loop.fit
    monkeypatch.setattr(
        loop, "fit", lambda *given, seed, **others: seeds.append(seed) or fit(*given, seed=seed, **others)
    )
    runs = [a_run(MADE), a_run(MADE.as_control("shuffled")), a_run(MADE.as_control("again"))]
    for run in runs:
        fitted(tmp_path / run.source.name, run, made, encoder)
    assert seeds == [0, 0, runs[2].stream]
    data = store.read(made.cases, images=made.images)
    shares = [material_of(a_run(run.source, fraction=0.5), data, file=made.cases).training for run in runs]
    assert np.array_equal(shares[0], shares[1]) and not np.array_equal(shares[0], shares[2])


def test_the_encoder_of_another_source_is_no_control_s(tmp_path, made, encoder):
    other = MADE.model_copy(update={"seed": 5}).as_control("again")
    with pytest.raises(UserError, match="is not the encoder of source 'made' "):
        fitted(tmp_path, a_run(other), made, encoder)


def test_a_random_start_again_is_drawn_anew(tmp_path, made):
    first, _, _, _ = fitted(tmp_path / "first", still(a_run(RANDOM)), made)
    again, _, _, _ = fitted(tmp_path / "again", still(a_run(RANDOM.as_control("again"))), made)
    assert not any(torch.equal(tensor, again[key]) for key, tensor in first.items() if tensor.ndim > 1)


def test_shuffled_labels_are_fitted_and_true_ones_tested(tmp_path, made):
    model, fit, scores, steps = fitted(tmp_path / "true", a_run(RANDOM), made)
    control = a_run(RANDOM.as_control("shuffled"))
    shuffled, fit_shuffled, scores_shuffled, steps_shuffled = fitted(tmp_path / "shuffled", control, made)
    _, _, again, _ = fitted(tmp_path / "again", control, made)
    # the head is the same at first, and is taught something else
    assert not torch.equal(model["head.weight"], shuffled["head.weight"]) and steps != steps_shuffled
    assert (fit["labels_shuffled"], fit_shuffled["labels_shuffled"]) == (False, True)
    assert fit["rows"] == fit_shuffled["rows"]
    known = CASES.read(made.cases).query("split == 'test'")
    true = known[[tables.TARGET + label for label in prepared_made.LABELS]].to_numpy().ravel()
    np.testing.assert_array_equal(scores_shuffled["target"], true)
    assert scores["target"].equals(scores_shuffled["target"]) and scores_shuffled.equals(again)


@pytest.mark.parametrize("fraction", [1.0, 0.6])
def test_training_and_validation_labels_are_shuffled(made, fraction):
    data = store.read(made.cases, images=made.images)
    control = RANDOM.as_control("shuffled")
    true = material_of(a_run(RANDOM, fraction=fraction), data, file=made.cases)
    false = material_of(a_run(control, fraction=fraction), data, file=made.cases)
    other = material_of(a_run(control, fraction=fraction, seed=1), data, file=made.cases)
    np.testing.assert_array_equal(true.training, false.training)
    np.testing.assert_array_equal(true.validation, false.validation)
    for split, rows in true.targets.items():
        assert not np.array_equal(rows, false.targets[split], equal_nan=True)
        assert not np.array_equal(other.targets[split], false.targets[split], equal_nan=True)
        # the same rows, unknown targets and all
        assert sorted(map(str, rows)) == sorted(map(str, false.targets[split]))


@given(st.integers(2, 300), SEEDS)
def test_a_shuffle_loses_no_row(cases: int, seed: int):
    rows = np.stack([np.arange(cases), 10.0 * np.arange(cases)], axis=1)
    moved = shuffled(rows, "train", seed=seed)
    np.testing.assert_array_equal(np.sort(moved, axis=0), rows)
    np.testing.assert_array_equal(moved[:, 1], 10 * moved[:, 0])
    np.testing.assert_array_equal(moved, shuffled(rows, "train", seed=seed))


def test_a_shuffle_leaves_nothing_to_learn():
    truth = np.random.default_rng(0).random((4000, 1)).round()
    chances = [np.corrcoef(truth[:, 0], shuffled(truth, "train", seed=seed)[:, 0])[0, 1] for seed in range(50)]
    # of mean 0 and standard deviation 1 / sqrt(4000)
    assert abs(np.mean(chances)) < 4 / np.sqrt(4000 * 50)
    assert 0.5 < np.std(chances) * np.sqrt(4000) < 1.5
