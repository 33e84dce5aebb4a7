import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import prepared_made
import rounding
import warm
from headwater.core import files as core_files
from headwater.core.errors import UserError
from headwater.data import store, tables
from headwater.data.reduction import ROWS
from headwater.data.splits import digests, in_fold
from headwater.data.store import CASES
from headwater.evaluation.predictions import PREDICTIONS
from headwater.models import compiled, weight_files
from headwater.models.encoder import restore
from headwater.stages.finetune import finetune
from headwater.stages.predict import predict
from headwater.stages.pretrain import pretrain
from headwater.study.folds import Folds
from headwater.study.grid import Run
from headwater.study.source import Source
from headwater.training.fine_tuning import share_of

SCRIPTS = Path(__file__).parents[2] / "scripts"


def random_source(name="random", backbone="timm/test_resnet"):
    return Source(name=name, backbone=backbone)


def pretrained_source(backbone="timm/test_resnet"):
    training = {"steps": 4, "batch": 16}
    return Source(name="made", backbone=backbone, method="supervised", corpus="made", training=training)


def a_run(source, *, seed=0, labels=(), training=None, **recipe):
    length = {"steps": 6, "batch": 16, "lr": 1e-3, "validations": 2, **(training or {})}
    return Run(
        dataset={"name": "made", "archive": "made", "labels": labels},
        source=source,
        recipe={"name": "full", "training": length, **recipe},
        seed=seed,
    )


def fitted(folder, run, made, encoder=None, **how):
    """(tensors of the model, fit.json) of a run."""
    finetune(
        run=run,
        cases=made.cases,
        images=made.images,
        encoder=encoder,
        model=folder / "model.safetensors",
        fit=folder / "fit.json",
        progress=folder / "progress" / f"{run.digest}.pt",
        **how,
    )
    return weight_files.load_weights(folder / "model.safetensors")[0], core_files.read_json(folder / "fit.json")


def predicted(folder, run, made):
    path = folder / "predictions.parquet"
    predict(
        runs=[run],
        cases=made.cases,
        images=made.images,
        models=[folder / "model.safetensors"],
        predictions=[path],
        validation=[folder / "validation.parquet"],
        saved=folder / "progress",
    )
    return PREDICTIONS.read(path)


def encoder_of(folder, source, made):
    path = folder / "encoder.safetensors"
    pretrain(
        source=source,
        size=32,
        cases=made.cases,
        images=made.images,
        rows=made.rows,
        encoder=path,
        history=folder / "pretraining",
        progress=folder / "progress" / f"{source.digest}.pt",
    )
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return prepared_made.archive(tmp_path_factory.mktemp("made"), unknown=0.1)


def test_progress_on_images_of_another_size_is_not_resumed(tmp_path, made, capfd):
    run = a_run(random_source())
    fitted(tmp_path, run, made)
    capfd.readouterr()
    fitted(tmp_path, run, made)
    assert "resuming from step 6 of 6" in capfd.readouterr().err
    # the same cases and targets
    larger = prepared_made.archive(tmp_path / "larger", size=48, unknown=0.1)
    fitted(tmp_path, run, larger)
    said = capfd.readouterr().err
    assert "belongs to another training" in said and "resuming" not in said


@pytest.mark.parametrize("backbone", ["timm/test_resnet", "timm/test_vit"])
def test_from_a_corpus_to_predictions(tmp_path, made, backbone):
    source = pretrained_source(backbone)
    encoder = encoder_of(tmp_path, source, made)
    run = a_run(source)
    _, fit = fitted(tmp_path, run, made, encoder)
    table = predicted(tmp_path, run, made)

    tensors, _ = weight_files.load_weights(encoder)
    weights = {key: tensor for key, tensor in tensors.items() if not key.endswith("num_batches_tracked")}
    assert fit["encoder"]["tensors"] == len(weights)
    assert fit["encoder"]["parameters"] == sum(tensor.numel() for tensor in weights.values())
    assert fit["steps"] == 6 and 1 <= fit["kept_step"] <= 6 and 0 <= fit["score"] <= 1
    assert fit["run"] == json.loads(run.as_json())

    cases = CASES.read(made.cases)
    test = cases[cases["split"] == "test"]
    assert table["case"].drop_duplicates().tolist() == test["case"].tolist()
    assert len(table) == len(test) * 3
    assert table["label"].tolist() == list(prepared_made.LABELS) * len(test)
    wide = test[[tables.TARGET + label for label in prepared_made.LABELS]].to_numpy().ravel()
    np.testing.assert_array_equal(table["target"], wide)
    assert np.isnan(table["target"]).any()
    assert table["score"].notna().all()
    assert not list((tmp_path / "progress").glob("*"))


def test_the_validation_split_is_scored_apart_from_the_test_split(tmp_path, made):
    run = a_run(random_source())
    fitted(tmp_path, run, made)
    test = predicted(tmp_path, run, made)
    table = PREDICTIONS.read(tmp_path / "validation.parquet")
    cases = CASES.read(made.cases)
    validation = cases[cases["split"] == "validation"]
    assert table["case"].drop_duplicates().tolist() == validation["case"].tolist()
    assert not set(table["case"]) & set(test["case"])
    wide = validation[[tables.TARGET + label for label in prepared_made.LABELS]].to_numpy().ravel()
    np.testing.assert_array_equal(table["target"], wide)
    # the same network: what the test cases are has no say in the scores of the others
    targets = [column for column in cases if column.startswith(tables.TARGET)]
    cases.loc[cases["split"] == "test", targets] = 0
    CASES.write(cases, tmp_path / "cases.parquet")
    predicted(tmp_path, run, replace(made, cases=tmp_path / "cases.parquet"))
    again = PREDICTIONS.read(tmp_path / "validation.parquet")
    pd.testing.assert_frame_equal(again, table)


def test_each_product_tells_what_it_came_from(tmp_path, made):
    source = pretrained_source()
    encoder = encoder_of(tmp_path, source, made)
    run = a_run(source)
    _, fit = fitted(tmp_path, run, made, encoder)
    predicted(tmp_path, run, made)
    split = digests(CASES.read(made.cases))["all"]
    learned = json.loads(weight_files.load_weights(encoder)[1]["origin"])
    kept = {"cases": hash_of(made.cases), "rows": hash_of(made.rows), "kept": 36}
    assert learned == {"split": split, "start": "random", **kept}
    model = tmp_path / "model.safetensors"
    metadata = weight_files.load_weights(model)[1]
    assert (metadata["encoder"], metadata["split"]) == (hash_of(encoder), split)
    assert (fit["model"], fit["split"], fit["encoder"]["sha256"]) == (hash_of(model), split, hash_of(encoder))
    assert fit["cases"] == hash_of(made.cases)
    for part, product in (("test", "predictions"), ("validation", "validation")):
        told = tables.read_origin(tmp_path / f"{product}.parquet")
        made_from = {"record": run.digest, "model": hash_of(model), "encoder": hash_of(encoder), "split": split}
        assert told == {**made_from, "part": part}


def hash_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_cases_that_lost_a_label_are_not_tested(tmp_path, made):
    run = a_run(random_source())
    fitted(tmp_path, run, made)
    label, cases = prepared_made.LABELS[0], tmp_path / "cases.parquet"
    CASES.write(CASES.read(made.cases).drop(columns=tables.TARGET + label), cases)
    with pytest.raises(UserError, match=rf"cases\.parquet: has no label '{label}'; "):
        predicted(tmp_path, run, replace(made, cases=cases))
    assert not (tmp_path / "predictions.parquet").exists()


def test_a_model_of_other_splits_is_not_tested(tmp_path, made):
    run = a_run(random_source())
    fitted(tmp_path, run, made)
    cases = CASES.read(made.cases)
    moved = cases.assign(split=cases["split"].replace({"validation": "test", "test": "validation"}))
    CASES.write(moved, tmp_path / "cases.parquet")
    with pytest.raises(UserError, match="was fitted to other splits of these cases"):
        predicted(tmp_path, run, prepared_made.Made(tmp_path / "cases.parquet", made.images, made.rows))


def test_what_is_thrown_away_after_the_last_step_is_made_again_without_a_step(tmp_path, made, capsys):
    source = pretrained_source()
    encoder = encoder_of(tmp_path, source, made)
    run = a_run(source)
    # SLURM may end a job, and Snakemake remove its product, when the training is over and the job is not
    first = encoder.read_bytes()
    encoder.unlink()
    assert encoder_of(tmp_path, source, made).read_bytes() == first
    fitted(tmp_path, run, made, encoder)
    model, history = (tmp_path / name for name in ("model.safetensors", "metrics.csv"))
    first = model.read_bytes(), history.read_bytes()
    model.unlink()
    fitted(tmp_path, run, made, encoder)
    assert (model.read_bytes(), history.read_bytes()) == first
    told = capsys.readouterr().err
    assert "training: resuming from step 4 of 4" in told
    assert "training: resuming from step 6 of 6" in told


def test_one_of_many_classes(tmp_path):
    made = prepared_made.archive(tmp_path, one_of_many=True)
    run = a_run(random_source(), class_weights=True, select="loss")
    _, fit = fitted(tmp_path, run, made)
    table = predicted(tmp_path, run, made)
    assert fit["task"] == "multiclass"
    chances = torch.tensor(table["score"].to_numpy().reshape(-1, 3)).sigmoid()
    assert torch.allclose(chances.sum(dim=1), torch.ones(len(chances), dtype=torch.float64))


def test_some_of_the_classes_are_told_from_the_rest(tmp_path):
    made = prepared_made.archive(tmp_path, one_of_many=True)
    _, fit = fitted(tmp_path, a_run(random_source(), labels=("stripes",), select="loss"), made)
    assert fit["task"] == "multilabel" and fit["score"] > 0.01


@pytest.mark.parametrize("backbone", ["timm/test_resnet", "timm/test_vit"])
def test_a_linear_probe_leaves_the_encoder_as_it_came(tmp_path, made, backbone):
    source = pretrained_source(backbone)
    encoder = encoder_of(tmp_path, source, made)
    model, _ = fitted(tmp_path, a_run(source, kind="linear_probe"), made, encoder)
    for key, tensor in weight_files.load_weights(encoder)[0].items():
        assert torch.equal(model[f"encoder.backbone.{key}"], tensor), key
    other, _ = fitted(tmp_path, a_run(source), made, encoder)
    first = next(key for key in other if key.endswith("weight"))
    assert not torch.equal(model[first], other[first])
    assert not torch.equal(model["head.weight"], other["head.weight"])


def test_an_encoder_is_frozen_for_as_long_as_the_recipe_says(tmp_path, made):
    source = pretrained_source()
    encoder = encoder_of(tmp_path, source, made)
    length = {"steps": 3, "validations": 1}
    frozen, fit = fitted(tmp_path / "frozen", a_run(source, training=length, frozen_steps=2), made, encoder)
    assert fit["frozen_steps"] == 2 and fit["run"]["recipe"]["frozen_steps"] == 2
    later, _ = fitted(
        tmp_path / "later", a_run(source, training=length, frozen_steps=2, unfrozen_lr=1e-30), made, encoder
    )
    start = weight_files.load_weights(encoder)[0]
    moved = {key for key in start if not torch.equal(frozen[f"encoder.backbone.{key}"], start[key])}
    still = {key for key in start if torch.equal(later[f"encoder.backbone.{key}"], start[key])}
    assert "conv1.0.weight" in moved & still and "bn1.running_mean" in moved - still


def test_an_adapted_model_is_a_file_as_any_other(tmp_path, made):
    source = pretrained_source("timm/test_vit")
    encoder = encoder_of(tmp_path, source, made)
    plain, _ = fitted(tmp_path / "plain", a_run(source), made, encoder)
    run = a_run(source, lora={"rank": 4})
    model, fit = fitted(tmp_path, run, made, encoder)
    assert {key: one.shape for key, one in model.items()} == {key: one.shape for key, one in plain.items()}
    start = weight_files.load_weights(encoder)[0]
    for key, tensor in start.items():
        now = model[f"encoder.backbone.{key}"]
        if not key.endswith(("attn.qkv.weight", "attn.proj.weight")):
            assert torch.equal(now, tensor), key
            continue
        # each number of the sum is rounded by half a unit in the last place at most
        rounded = torch.finfo(torch.float32).eps * torch.maximum(now, tensor).double().abs().norm()
        sizes = torch.linalg.svdvals((now - tensor).double())
        assert sizes[4] <= rounded < sizes[0], key
    assert fit["run"]["recipe"]["lora"] == {"rank": 4}
    assert predicted(tmp_path, run, made)["score"].notna().all()
    # what is left of the training goes on under the names of what learned
    (tmp_path / "model.safetensors").unlink()
    again, _ = fitted(tmp_path, run, made, encoder)
    assert all(torch.equal(again[key], tensor) for key, tensor in model.items())


def start_of(folder, run, made):
    """The model before anything was learnt: a rate too small to move a weight."""
    still = run.recipe.training.model_copy(update={"lr": 1e-30, "weight_decay": 0.0})
    run = run.model_copy(update={"recipe": run.recipe.model_copy(update={"training": still})})
    return fitted(folder, run, made)[0]


def test_random_sources_differ_by_name_and_are_paired_by_seed(tmp_path, made):
    first = start_of(tmp_path, a_run(random_source("one")), made)
    second = start_of(tmp_path, a_run(random_source("two")), made)
    other_seed = start_of(tmp_path, a_run(random_source("one"), seed=1), made)
    again = start_of(tmp_path, a_run(random_source("one")), made)
    weight = next(key for key, tensor in first.items() if key.startswith("encoder") and tensor.ndim > 1)
    assert torch.equal(first["head.weight"], second["head.weight"])
    assert not torch.equal(first["head.weight"], other_seed["head.weight"])
    assert not torch.equal(first[weight], second[weight])
    assert not torch.equal(first[weight], other_seed[weight])
    assert torch.equal(first[weight], again[weight])


def test_what_ran_before_changes_nothing(tmp_path, made):
    runs = [a_run(random_source(name)) for name in ("one", "two")]
    forth = [predicted_scores(tmp_path / "forth", run, made) for run in runs]
    torch.manual_seed(99)
    back = [predicted_scores(tmp_path / "back", run, made) for run in reversed(runs)]
    for one, other in zip(forth, reversed(back), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(forth[0], forth[1])


def predicted_scores(folder, run, made):
    folder.mkdir(exist_ok=True)
    fitted(folder, run, made)
    return predicted(folder, run, made)["score"].to_numpy()


def test_test_cases_are_never_read_while_fitting(tmp_path):
    made = prepared_made.archive(tmp_path)
    first, _ = fitted(tmp_path, a_run(random_source()), made)
    frame = CASES.read(made.cases)
    hidden = np.flatnonzero(frame["split"] == "test")
    images = np.load(made.images)
    images[hidden] = 255
    frame.loc[hidden, [column for column in frame if column.startswith(tables.TARGET)]] = np.nan
    CASES.write(frame, made.cases)
    prepared_made.replace_images(made, images)
    again, _ = fitted(tmp_path, a_run(random_source()), made)
    assert all(torch.equal(tensor, again[key]) for key, tensor in first.items())


def test_a_fold_is_tested_by_a_network_that_never_read_it(tmp_path):
    made = prepared_made.archive(tmp_path)
    whole = a_run(random_source())
    dataset = whole.dataset.model_copy(update={"splits": Folds(folds=3)}).in_fold(1)
    run = whole.model_copy(update={"dataset": dataset})
    first, record = fitted(tmp_path, run, made)
    dealt = in_fold(CASES.read(made.cases), dataset.fold)
    tested = predicted(tmp_path, run, made)
    validated = PREDICTIONS.read(tmp_path / "validation.parquet")
    assert set(tested["case"]) == set(dealt.loc[dealt["split"] == "test", "case"])
    assert set(validated["case"]) == set(dealt.loc[dealt["split"] == "validation", "case"])
    assert set(tested["dataset"]) == {"made.fold1"} and record["split"] == digests(dealt)["all"]
    images = np.load(made.images)
    images[np.flatnonzero(dealt["split"] == "test")] = 255
    prepared_made.replace_images(made, images)
    again, _ = fitted(tmp_path, run, made)
    assert all(torch.equal(tensor, again[key]) for key, tensor in first.items())
    # and other cases do teach it
    images[np.flatnonzero(dealt["split"] == "train")] = 255
    prepared_made.replace_images(made, images)
    other, _ = fitted(tmp_path, run, made)
    assert not all(torch.equal(tensor, other[key]) for key, tensor in first.items())


def test_smaller_shares_lie_within_larger_ones(tmp_path):
    made = prepared_made.archive(tmp_path)
    data = store.read(made.cases, images=made.images)
    rows = data.rows("train")
    shares = [set(share_of(data, rows, fraction=fraction, seed=1)) for fraction in (0.2, 0.5, 1.0)]
    assert shares[0] < shares[1] < shares[2] == set(rows)
    assert len(shares[1]) == pytest.approx(len(rows) / 2, abs=2)
    assert shares[1] != set(share_of(data, rows, fraction=0.5, seed=2))
    patients = data.cases["patient"].to_numpy()
    assert not {patients[row] for row in shares[1]} & {patients[row] for row in shares[2] - shares[1]}


def test_what_a_small_share_cannot_teach_is_said(tmp_path, capsys):
    made = prepared_made.archive(tmp_path, one_of_many=True)
    _, fit = fitted(tmp_path, a_run(random_source(), fraction=0.01, select="loss"), made)
    # one patient of two cases cannot show three classes
    assert fit["rows"]["train"] == 2 and fit["lost_by_fraction"]
    out = capsys.readouterr().out
    assert "2 cases of a share of 0.01 of the training patients" in out and all(
        f"{label} has {lacks}" in out for label, lacks in fit["lost_by_fraction"].items()
    )
    _, fit = fitted(tmp_path / "all", a_run(random_source(), select="loss"), made)
    assert fit["lost_by_fraction"] == {} and "share of" not in capsys.readouterr().out


def test_chosen_labels_are_kept_in_their_order(tmp_path, made):
    labels = ("stripes", "bright left")
    run = a_run(random_source(), labels=labels)
    _, fit = fitted(tmp_path, run, made)
    assert fit["labels"] == list(labels)
    assert predicted(tmp_path, run, made)["label"].head(2).tolist() == list(labels)


def refused(folder, run, made, said, encoder=None):
    with pytest.raises(UserError, match=said):
        fitted(folder, run, made, encoder)
    assert not (folder / "model.safetensors").exists()


def test_refusals_before_training(tmp_path, made):
    run = a_run(random_source(), labels=("stripe",))
    refused(tmp_path, run, made, "did you mean 'stripes'")
    refused(tmp_path, a_run(pretrained_source()), made, "takes an encoder")
    encoder = encoder_of(tmp_path, pretrained_source(), made)
    refused(tmp_path, a_run(random_source()), made, "takes no encoder", encoder)
    other = pretrained_source().model_copy(update={"seed": 5})
    refused(tmp_path, a_run(other), made, "is not the encoder of source", encoder)


def test_labels_without_both_classes_are_refused(tmp_path):
    made = prepared_made.archive(tmp_path)
    frame = CASES.read(made.cases)
    targets = [column for column in frame if column.startswith(tables.TARGET)]
    only = frame.copy()
    only.loc[only["split"] == "train", targets] = 0
    CASES.write(only, made.cases)
    refused(tmp_path, a_run(random_source()), made, "both classes in the train split")
    frame.loc[frame["split"] == "validation", targets] = 0
    CASES.write(frame, made.cases)
    refused(tmp_path, a_run(random_source()), made, "set select: loss")


def test_runs_predicted_together_write_what_each_writes_alone(tmp_path, made):
    runs = [a_run(random_source(), seed=seed) for seed in (0, 1, 2)]
    folders = [tmp_path / str(run.seed) for run in runs]
    for folder, run in zip(folders, runs, strict=True):
        fitted(folder, run, made)
        predicted(folder, run, made)
    together = {"predictions": "together.parquet", "validation": "together_validation.parquet"}
    predict(
        runs=runs,
        cases=made.cases,
        images=made.images,
        models=[folder / "model.safetensors" for folder in folders],
        **{split: [folder / name for folder in folders] for split, name in together.items()},
    )
    for folder in folders:
        for split, name in together.items():
            assert (folder / name).read_bytes() == (folder / f"{split}.parquet").read_bytes()
    assert len({(folder / "predictions.parquet").read_bytes() for folder in folders}) == len(runs)


def test_runs_without_as_many_models_are_refused(tmp_path, made):
    runs = [a_run(random_source(), seed=seed) for seed in (0, 1)]
    files = [tmp_path / "model.safetensors"]
    with pytest.raises(UserError, match="2 runs need as many models and products"):
        predict(
            runs=runs, cases=made.cases, images=made.images, models=files, predictions=files * 2, validation=files * 2
        )


def test_a_model_of_another_run_is_refused(tmp_path, made):
    run = a_run(random_source())
    fitted(tmp_path, run, made)
    with pytest.raises(UserError, match="is not the model of run made/random/full/seed1"):
        predicted(tmp_path, a_run(random_source(), seed=1), made)


def test_a_corpus_with_test_images_is_refused(tmp_path):
    made = prepared_made.archive(tmp_path)
    frame = CASES.read(made.cases)
    ROWS.write(frame[["row", "case"]], made.rows)
    with pytest.raises(UserError, match="test images"):
        encoder_of(tmp_path, pretrained_source(), made)


def test_a_pretraining_goes_on_from_another_source(tmp_path, made):
    first = Source(**{**pretrained_source().model_dump(), "mean": (0.3, 0.3, 0.3)})
    encoder = encoder_of(tmp_path, first, made)
    still = {"steps": 1, "batch": 16, "lr": 1e-30, "weight_decay": 0}
    second = Source(
        **{**pretrained_source("timm/test_resnet").model_dump(), "name": "more", "start": "made", "training": still}
    )
    pretrain(
        source=second,
        size=32,
        cases=made.cases,
        images=made.images,
        rows=made.rows,
        start=encoder,
        encoder=tmp_path / "more.safetensors",
        history=tmp_path / "more",
        progress=tmp_path / "more.pt",
    )
    old, new = (weight_files.load_weights(path) for path in (encoder, tmp_path / "more.safetensors"))
    assert torch.equal(old[0]["conv1.0.weight"], new[0]["conv1.0.weight"])
    assert old[1]["mean"] == new[1]["mean"]
    restore(*new, name="timm/test_resnet", size=32, file="more")


@pytest.mark.slow
@rounding.in_float64()
def test_two_ranks_predict_as_one(tmp_path, made):
    run = a_run(random_source(backbone="timm/test_vit"))
    fitted(tmp_path, run, made)
    one = predicted(tmp_path, run, made)
    words = ["--runs", run.as_json(), "--cases", made.cases, "--images", made.images]
    words += ["--models", tmp_path / "model.safetensors", "--predictions", tmp_path / "two.parquet"]
    words += ["--validation", tmp_path / "two_validation.parquet"]
    launch = [warm.python(), "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--"]
    done = subprocess.run(
        [*launch, rounding.__file__, SCRIPTS / "predict.py", *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    two = PREDICTIONS.read(tmp_path / "two.parquet")
    pd.testing.assert_frame_equal(one.drop(columns="score"), two.drop(columns="score"))
    np.testing.assert_allclose(one["score"], two["score"], **rounding.NEAR)


def test_a_compiled_run_says_so_and_has_the_weights_of_a_plain_one_under_their_names(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    made, run = prepared_made.archive(tmp_path), a_run(random_source())
    plain, record = fitted(tmp_path / "plain", run, made)
    tensors, record_of_compiled = fitted(tmp_path / "compiled", run, made, compile=True)
    torch._dynamo.reset()
    assert tensors.keys() == plain.keys() and record_of_compiled["compiled"] is True and "compiled" not in record
    assert record_of_compiled["digest"] == record["digest"] and record_of_compiled["ranks"] == 1
    # a run that is scored as it was validated is scored without compiling
    predicted(tmp_path / "compiled", run, made)


def test_parts_that_were_chosen_are_recorded_and_those_that_were_asked_for_are_not(tmp_path, made):
    auto, vit = {"accumulate": "auto"}, random_source(backbone="timm/test_vit")
    _, record = fitted(tmp_path / "chosen", a_run(vit, training=auto), made)
    assert record["accumulate"] == 1
    _, record = fitted(tmp_path / "asked", a_run(vit, training={"accumulate": 2}), made)
    assert "accumulate" not in record
    source = pretrained_source("timm/test_vit")
    chosen = source.model_copy(update={"training": source.training.model_copy(update=auto)})
    files = [encoder_of(tmp_path / str(number), each, made) for number, each in enumerate((source, chosen))]
    assert [weight_files.load_weights(file)[1].get("accumulate") for file in files] == [None, "1"]
