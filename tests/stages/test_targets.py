"""Several things asked of one network: from a twin to comparisons, and by tasks with evidence of their own."""

import csv
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import outlines_made
import prepared_made
import rounding
import warm
from headwater.core.errors import UserError
from headwater.core.files import read_json
from headwater.data import tables
from headwater.data.index import LABELS
from headwater.data.store import CASES
from headwater.evaluation import (
    bootstrap,
    calibration,
    eligibility,
    external,
    operating_points,
    pairwise,
    predictions,
    roc,
    seed_groups,
    validation_choices,
)
from headwater.evaluation.predictions import ELSEWHERE, PREDICTIONS
from headwater.evaluation.statistics import recalibration
from headwater.evaluation.subgroups import SUBGROUPS
from headwater.models import predictor, weight_files
from headwater.stages.compare import compare
from headwater.stages.cross import cross
from headwater.stages.examine import examine
from headwater.stages.finetune import finetune
from headwater.stages.predict import predict
from headwater.stages.prepare import prepare
from headwater.stages.transport import transport
from headwater.stages.twin import twin
from headwater.study.archive import Archive, Dataset
from headwater.study.comparison import Comparison
from headwater.study.grid import Run
from headwater.study.shared_labels import Exchange, Exchanges
from headwater.study.source import Source
from headwater.training import validation

SOURCES = ("random", "other")
ORGANS = {"belly": ["liver", "spleen", "kidney-left"], "chest": ["heart", "lung-left"]}
"""Labels of the twin by target: of each case one organ, so most bear none of a target's."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """Two sources fitted to one archive, once each, and what they predict."""

    folder: Path
    cases: Path
    images: Path
    labels: Path
    dataset: Dataset

    def run(self, source: str = "random", **recipe) -> Run:
        length = {"steps": 80, "batch": 16, "lr": 3e-3, "validations": 2, "save_minutes": 0}
        training = length | recipe.pop("training", {})
        return Run(
            dataset=self.dataset,
            source=Source(name=source, backbone="timm/test_resnet"),
            recipe={"name": "full", "training": training, **recipe},
            seed=0,
        )

    def fitted(self, run: Run, folder: Path | None = None) -> Path:
        """The model of a run."""
        folder = folder or self.folder / run.source.name
        products = {"model": folder / "model.safetensors", "fit": folder / "fit.json"}
        finetune(run=run, cases=self.cases, images=self.images, progress=folder / "progress.pt", **products)
        return folder / "model.safetensors"

    def predicted(self, run: Run, model: Path) -> tuple[Path, Path]:
        """(predictions of the test split, of the validation split) of a run."""
        test, validation = (model.with_name(f"{name}.parquet") for name in ("predictions", "validation"))
        files = {"predictions": [test], "validation": [validation]}
        predict(runs=[run], cases=self.cases, images=self.images, models=[model], **files)
        return test, validation

    def comparison(self, **changes) -> Comparison:
        """What is compared; all of it counts, however few bear a label."""
        return Comparison(
            **{"reference": "random", "resamples": 1000, "fewest_positive": 2} | changes,
            dataset=self.dataset.name,
            task=self.dataset.task,
            targets=self.dataset.targets,
            sources=SOURCES,
            recipes=("full",),
            seeds=(0,),
        )

    def compared(self, comparison: Comparison) -> dict[str, Path]:
        """The products of `compare`."""
        names = ("comparisons", "curves", "values", "replicates", "provenance")
        products = {name: self.folder / f"{name}.parquet" for name in names}
        files = [self.folder / source / "predictions.parquet" for source in SOURCES]
        compare(comparison=comparison, predictions=files, labels=self.labels, **products)
        return products

    def examined(self, comparison: Comparison) -> dict[str, Path]:
        """The products of `examine`."""
        names = ("calibration", "reliability", "thresholds", "subgroups", "settled", "provenance")
        products = {name: self.folder / f"{name}.parquet" for name in names}
        files = {
            name: [self.folder / source / f"{name}.parquet" for source in SOURCES]
            for name in ("predictions", "validation")
        }
        examine(comparison=comparison, labels=self.labels, cases=self.cases, **files, **products)
        return products

    def whole(self) -> "Study":
        """The same, fitted and predicted."""
        for source in SOURCES:
            run = self.run(source)
            self.predicted(run, self.fitted(run))
        return self


def targets(labels: dict[str, list[str]], **tasks: str) -> dict:
    """Targets by name, each with its labels, and a task if it is no classification."""
    return {name: {"labels": of} | ({"task": tasks[name]} if name in tasks else {}) for name, of in labels.items()}


@pytest.fixture(scope="module")
def organs(tmp_path_factory) -> Study:
    """A twin of CT slices, prepared, on which networks tell organs of the belly and of the chest."""
    folder = tmp_path_factory.mktemp("organs")
    twin("organsmnist", folder / "twin", cases=300, seed=1, size=48)
    archive = Archive(name="made", kind="organsmnist", folder=str(folder / "twin"), size=32, validation=0.2)
    products = {name: folder / f"{name}.parquet" for name in ("cases", "rejects", "labels")}
    products |= {name: folder / f"{name}.npy" for name in ("images", "hashes")}
    prepare(archive=archive, workers=0, split=folder / "split.json", **products)
    dataset = Dataset(name="made", archive="made", targets=targets(ORGANS))
    files = {name: products[name] for name in ("cases", "images", "labels")}
    return Study(folder=folder, dataset=dataset, **files).whole()


def chance_bound(target: np.ndarray) -> float:
    """What an AUROC of a label exceeds by chance once in 30,000 times: 4 standard errors of Mann and Whitney's U."""
    positives, negatives = (target == 1).sum(), (target == 0).sum()
    return 0.5 + 4 * np.sqrt((positives + negatives + 1) / (12 * positives * negatives))


def test_a_network_learns_both_targets(organs):
    products = organs.compared(organs.comparison())
    values = bootstrap.VALUES.read(products["values"])
    table = PREDICTIONS.read(organs.folder / "random" / "predictions.parquet")
    for labels in ORGANS.values():
        # a mean of AUROCs varies no more than the most variable of them
        bound = max(chance_bound(table.loc[table["label"] == label, "target"]) for label in labels)
        for source in SOURCES:
            reached = values[(values["source"] == source) & values["label"].isin(labels)]["value"]
            assert len(reached) == len(labels) and reached.mean() > bound


def test_each_target_has_a_macro_beside_that_of_all_labels(organs):
    rows = pairwise.COMPARISONS.read(organs.compared(organs.comparison())["comparisons"])
    values = rows[rows["source"] == "other"].set_index("label")["value"]
    each = [label for labels in ORGANS.values() for label in labels]
    assert set(values.index) >= {"macro", *each}
    assert values["macro"] == pytest.approx(values[each].mean())
    declared = organs.comparison(subsets={name: {"made": labels} for name, labels in ORGANS.items()})
    rows = pairwise.COMPARISONS.read(organs.compared(declared)["comparisons"])
    values = rows[rows["source"] == "other"].set_index("label")["value"]
    for name, labels in ORGANS.items():
        assert values[f"macro: {name}"] == pytest.approx(values[labels].mean())


def test_curves_and_records_tell_of_each_target(organs):
    folder = organs.folder / "random"
    with (folder / "metrics.csv").open() as file:
        last = {row["name"]: float(row["value"]) for row in csv.DictReader(file) if row["step"] == "80"}
    for measure in ("loss", "auroc"):
        of_targets = [last[f"validation/{name}/{measure}"] for name in ORGANS]
        assert last[f"validation/{measure}"] == pytest.approx(np.mean(of_targets), rel=1e-6)
    fit = read_json(folder / "fit.json")
    assert fit["labels"] == ORGANS and fit["task"] == dict.fromkeys(ORGANS, "multilabel")
    assert fit["class_weights"] == {"belly": [1.0, 1.0, 1.0], "chest": [1.0, 1.0]}


def test_a_model_is_read_back_with_its_targets_and_their_classes_in_order(organs):
    read = predictor.read(organs.run(), organs.folder / "random" / "model.safetensors")
    assert {name: list(task.labels) for name, task in read.tasks.tasks.items()} == ORGANS
    assert read.labels == [label for labels in ORGANS.values() for label in labels]
    table = PREDICTIONS.read(organs.folder / "random" / "predictions.parquet")
    assert table["label"].head(5).tolist() == read.labels


def test_each_head_has_a_temperature_of_its_own(organs):
    products = organs.examined(organs.comparison())
    settled = validation_choices.SETTLED.read(products["settled"]).query("source == 'other'").set_index("label")
    scored = PREDICTIONS.read(organs.folder / "other" / "validation.parquet")
    for labels in ORGANS.values():
        own = scored[scored["label"].isin(labels)].sort_values(["label", "case"])
        best = recalibration.temperature(own["target"].to_numpy(), own["score"].to_numpy())
        assert settled.loc[labels, "temperature"].tolist() == pytest.approx([best] * len(labels), rel=1e-9)
        assert settled.loc[labels, "known"].tolist() == [len(own)] * len(labels)
    assert settled["temperature"].nunique() == len(ORGANS)


def test_a_head_without_a_temperature_costs_the_others_none(organs, monkeypatch):
    lacking, *others = ORGANS
    choose = seed_groups.choose

    def without(network, **options):
        chosen = choose(network, **options)
        missing = dict.fromkeys(ORGANS[lacking], np.nan)
        return replace(chosen, temperatures=chosen.temperatures | missing)

    monkeypatch.setattr(seed_groups, "choose", without)
    rows = calibration.CALIBRATION.read(organs.examined(organs.comparison())["calibration"])
    scaled = rows.query("scores == 'scaled' and brier.notna()")["label"]
    assert set(scaled) == {label for name in others for label in ORGANS[name]}
    notes = rows.query("scores == 'scaled' and label in @ORGANS[@lacking]")["note"]
    assert notes.str.contains("no temperature").all()


def test_a_step_can_be_chosen_by_the_loss(organs, tmp_path):
    run = organs.run(select="loss", training={"steps": 10})
    organs.fitted(run, tmp_path)
    with (tmp_path / "metrics.csv").open() as file:
        losses = [float(row["value"]) for row in csv.DictReader(file) if row["name"] == "validation/loss"]
    assert read_json(tmp_path / "fit.json")["score"] == min(losses)


def test_a_target_may_be_one_of_several_classes_while_another_is_not(organs, tmp_path):
    cases = CASES.read(organs.cases)
    labels = tables.labels_of(cases)
    named = {"organ": labels[:-1], "spleen": labels[-1:]}
    every = Study(
        **vars(organs) | {"dataset": Dataset(name="made", archive="made", targets=targets({"organ": labels}))}
    )
    every.fitted(every.run(training={"steps": 2}, class_weights=True), tmp_path / "every")
    # the classes of a target are its own: all organs but one do not exhaust the cases
    parted = Study(**vars(organs) | {"dataset": Dataset(name="made", archive="made", targets=targets(named))})
    parted.fitted(parted.run(training={"steps": 2}), tmp_path / "parted")
    forms = [read_json(tmp_path / name / "fit.json")["task"] for name in ("every", "parted")]
    assert forms == [{"organ": "multiclass"}, {"organ": "multilabel", "spleen": "multilabel"}]


def test_a_training_that_is_killed_ends_in_the_same_bytes(organs, tmp_path, monkeypatch):
    run = organs.run(training={"steps": 20})
    whole = organs.fitted(run, tmp_path / "whole").read_bytes()
    validate, seen = validation.validate, []

    def killed(*arguments, **options):
        seen.append(1)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return validate(*arguments, **options)

    monkeypatch.setattr(validation, "validate", killed)
    with pytest.raises(KeyboardInterrupt):
        organs.fitted(run, tmp_path / "killed")
    monkeypatch.undo()
    assert not (tmp_path / "killed" / "model.safetensors").exists() and (tmp_path / "killed" / "progress.pt").exists()
    assert organs.fitted(run, tmp_path / "killed").read_bytes() == whole
    assert (tmp_path / "killed" / "metrics.csv").read_bytes() == (tmp_path / "whole" / "metrics.csv").read_bytes()


def test_a_target_without_a_name_gives_the_bytes_that_a_dataset_of_one_task_gave(organs, tmp_path):
    labels = ORGANS["chest"]
    alone = Study(**vars(organs) | {"dataset": Dataset(name="made", archive="made", labels=labels)})
    model = alone.fitted(alone.run(training={"steps": 2}), tmp_path)
    tensors, metadata = weight_files.load_weights(model)
    assert {key for key in tensors if not key.startswith("encoder.")} == {"head.weight", "head.bias"}
    assert (metadata["labels"], metadata["task"]) == ('["heart", "lung-left"]', "multilabel")
    assert "targets" not in metadata


def test_what_a_target_cannot_learn_is_refused_by_its_name(organs, tmp_path):
    cases = CASES.read(organs.cases)
    CASES.write(cases.assign(**{tables.TARGET + label: 0.0 for label in ORGANS["chest"]}), tmp_path / "cases.parquet")
    lacking = Study(**vars(organs) | {"cases": tmp_path / "cases.parquet"})
    with pytest.raises(UserError, match="no label of target chest has both classes in the train split"):
        lacking.fitted(lacking.run(), tmp_path)


def test_another_archive_may_ask_for_labels_of_each_target(organs, tmp_path):
    labels = [("heart", "heart"), ("liver", "liver"), ("lung-left", "lung-left")]
    model = organs.folder / "random" / "model.safetensors"
    transport(
        runs=[organs.run()],
        asked=Exchanges(others=(Exchange(dataset="there", labels=labels, targets=organs.dataset.targets),)),
        cases=[organs.cases],
        images=[organs.images],
        models=[model],
        elsewhere=[tmp_path / "elsewhere.parquet"],
    )
    there = ELSEWHERE.read(tmp_path / "elsewhere.parquet")
    assert there["label"].head(3).tolist() == [label for label, _ in labels]
    home = PREDICTIONS.read(model.with_name("predictions.parquet"))
    both = there.merge(home, on=["case", "label"])
    assert len(both) == len(there)
    for column in ("target", "score"):
        np.testing.assert_array_equal(both[f"{column}_x"], both[f"{column}_y"])


@pytest.mark.slow
@rounding.in_float64()
def test_two_ranks_predict_as_one(organs, tmp_path):
    run = organs.run(training={"steps": 2})
    model = organs.fitted(run, tmp_path)
    one, _ = organs.predicted(run, model)
    words = ["--runs", run.as_json(), "--cases", organs.cases, "--images", organs.images, "--models", model]
    words += ["--predictions", tmp_path / "two.parquet", "--validation", tmp_path / "two_validation.parquet"]
    launch = [warm.python(), "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--"]
    script = Path(rounding.__file__).parents[1] / "scripts" / "predict.py"
    done = subprocess.run([*launch, rounding.__file__, script, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, two = PREDICTIONS.read(one), PREDICTIONS.read(tmp_path / "two.parquet")
    pd.testing.assert_frame_equal(one.drop(columns="score"), two.drop(columns="score"))
    np.testing.assert_allclose(one["score"], two["score"], **rounding.NEAR)


# tasks with evidence of their own


@pytest.fixture(scope="module", autouse=True)
def outlines(tmp_path_factory) -> Iterator[None]:
    """The task `outlines` is there."""
    with outlines_made.there(tmp_path_factory.mktemp("plugins")):
        yield


def counted(made: prepared_made.Made) -> Path:
    """The table of labels that `prepare` writes, roughly."""
    rows = [
        {"label": label, "split": split, "unknown": 0}
        | dict.fromkeys(("positives", "negatives", "positive_patients", "negative_patients"), 9)
        for label in prepared_made.LABELS
        for split in tables.SPLITS
    ]
    LABELS.write(LABELS.frame(rows), made.cases.with_name("labels.parquet"))
    return made.cases.with_name("labels.parquet")


def pictures(folder: Path, **dataset) -> Study:
    """A made archive some of whose labels are unknown."""
    made = prepared_made.archive(folder / "made", cases=120, unknown=0.1)
    asked = Dataset(name="made", archive="made", **dataset)
    return Study(folder=folder, cases=made.cases, images=made.images, labels=counted(made), dataset=asked)


@pytest.fixture(scope="module")
def mixed(outlines, tmp_path_factory) -> Study:
    """Findings by their scores, and beside them an outline by its pixels."""
    of = {"finding": ["bright left", "stripes"], "outline": ["bright right"]}
    return pictures(tmp_path_factory.mktemp("mixed"), targets=targets(of, outline="outlines")).whole()


COUNTS = ["true_positive", "false_positive", "false_negative"]


def test_predictions_hold_the_evidence_of_every_task(mixed):
    table = pd.read_parquet(mixed.folder / "random" / "predictions.parquet")
    assert table.columns.tolist() == [*PREDICTIONS.columns, *COUNTS]
    finding, outline = table[table["label"] != "bright right"], table[table["label"] == "bright right"]
    assert finding["score"].notna().all() and finding[COUNTS].isna().all(axis=None)
    assert outline["score"].isna().all()
    known = outline[outline["target"].notna()]
    assert 0 < len(known) < len(outline) and outline[outline["target"].isna()][COUNTS].isna().all(axis=None)
    pixels = known["target"] * 4 * 4 / 2
    assert ((known["true_positive"] + known["false_negative"]) == pixels).all()


def test_a_metric_is_computed_for_the_labels_whose_task_gives_what_it_needs(mixed):
    comparison = mixed.comparison(metrics=("auroc", "dice"), subsets={"finding": {"made": ("bright left", "stripes")}})
    products = mixed.compared(comparison)
    values = bootstrap.VALUES.read(products["values"])
    by_metric = {metric: set(rows["label"]) for metric, rows in values.groupby("metric")}
    assert by_metric == {"auroc": {"bright left", "stripes", "macro"}, "dice": {"bright right", "macro"}}
    table = pd.read_parquet(mixed.folder / "other" / "predictions.parquet").dropna(subset=COUNTS)
    true, false, missed = (table[name] for name in COUNTS)
    each = (2 * true / (2 * true + false + missed))[table["target"] == 1].mean()
    of_outline = values[(values["source"] == "other") & (values["label"] == "bright right")]
    assert of_outline["value"].item() == pytest.approx(each) and each > 0.5
    rows = pairwise.COMPARISONS.read(products["comparisons"])
    assert set(rows["label"]) == {"bright left", "stripes", "bright right", "macro"}
    assert set(roc.CURVES.read(products["curves"])["label"]) == {"bright left", "stripes"}


def test_what_is_calibrated_are_the_labels_with_log_odds(mixed):
    products = mixed.examined(mixed.comparison())
    for table, name in (
        (calibration.CALIBRATION, "calibration"),
        (operating_points.THRESHOLDS, "thresholds"),
        (SUBGROUPS, "subgroups"),
    ):
        assert set(table.read(products[name])["label"]) == {"macro", "bright left", "stripes"}
    settled = validation_choices.SETTLED.read(products["settled"])
    assert set(settled["label"]) == {"bright left", "stripes"} and settled["temperature"].notna().all()


def test_only_tasks_with_the_selected_score_choose_the_step(mixed):
    fit = read_json(mixed.folder / "random" / "fit.json")
    with (mixed.folder / "random" / "metrics.csv").open() as file:
        last = {row["name"]: float(row["value"]) for row in csv.DictReader(file)}
    assert last["validation/auroc"] == last["validation/finding/auroc"]
    assert last["validation/overlap"] == last["validation/outline/overlap"]
    assert fit["selected_by"] == "auroc" and fit["score"] >= last["validation/auroc"]


def test_a_dataset_may_have_no_score_at_all(tmp_path):
    alone = pictures(tmp_path, task="outlines", labels=["bright right"])
    for source in SOURCES:
        run = alone.run(source, select="overlap", training={"steps": 10})
        alone.predicted(run, alone.fitted(run))
    comparison = alone.comparison(metrics=("dice",))
    products = alone.compared(comparison)
    assert set(bootstrap.VALUES.read(products["values"])["label"]) == {"bright right", "macro"}
    assert roc.CURVES.read(products["curves"]).empty
    table = pd.read_parquet(tmp_path / "random" / "predictions.parquet")
    assert table.columns.tolist()[-4:] == ["target", *COUNTS]
    examined = alone.examined(comparison)
    assert calibration.CALIBRATION.read(examined["calibration"]).empty
    assert validation_choices.SETTLED.read(examined["settled"]).empty
    assert set(SUBGROUPS.read(examined["subgroups"])["label"]) == {"macro", "bright right"}


def crossed(home: Study, folder: Path, *labels: str) -> pd.DataFrame:
    """The table of `cross` of networks that were fitted to the same images under another name, for these labels."""
    there = Study(
        **vars(home)
        | {"folder": folder, "dataset": Dataset(name="there", archive="made", targets=home.dataset.targets)}
    )
    asked = tuple((label, label) for label in labels)
    files = []
    for source in SOURCES:
        run = there.run(source)
        files.append(folder / source / "elsewhere.parquet")
        transport(
            runs=[run],
            asked=Exchanges(others=(Exchange(dataset="made", labels=asked, targets=home.dataset.targets),)),
            cases=[home.cases],
            images=[home.images],
            models=[there.fitted(run)],
            elsewhere=files[-1:],
        )
    cross(
        comparison=home.comparison(metrics=("auroc", "dice")),
        fitted_to=Exchanges(others=(Exchange(dataset="there", labels=asked, targets=home.dataset.targets),)),
        predictions=[home.folder / source / "predictions.parquet" for source in SOURCES],
        elsewhere=files,
        labels=home.labels,
        labels_elsewhere=[home.labels],
        crossed=folder / "crossed.parquet",
    )
    return external.CROSSED.read(folder / "crossed.parquet")


def test_networks_of_another_dataset_are_compared_by_what_fits_the_labels_that_both_have(mixed, tmp_path):
    rows = crossed(mixed, tmp_path, "bright left", "bright right")
    guests = rows[rows["fitted_to"] == "there"]
    measured = {metric: set(part["label"]) for metric, part in guests.groupby("metric")}
    assert measured == {"auroc": {"bright left", "macro"}, "dice": {"bright right", "macro"}}
    # the same networks on the same cases
    np.testing.assert_allclose(guests["difference"], 0, atol=1e-12)
    macros = rows[rows["label"] == "macro"].groupby(["fitted_to", "metric"])["findings"].first()
    assert macros.to_dict() == {
        ("made", "auroc"): 2,
        ("made", "dice"): 1,
        ("there", "auroc"): 1,
        ("there", "dice"): 1,
    }


def test_a_metric_that_fits_no_shared_label_has_no_rows_of_guests(mixed, tmp_path):
    rows = crossed(mixed, tmp_path, "stripes")
    assert set(rows.loc[rows["fitted_to"] == "there", "metric"]) == {"auroc"}
    assert set(rows.loc[rows["fitted_to"] == "made", "metric"]) == {"auroc", "dice"}


def test_a_label_that_every_case_bears_is_compared_where_its_task_needs_no_others(mixed, tmp_path):
    files = []
    for source in SOURCES:
        frame = pd.read_parquet(mixed.folder / source / "predictions.parquet")
        frame["target"] = frame["target"].where(frame["target"] != 0)
        files.append(tmp_path / f"{source}.parquet")
        frame.to_parquet(files[-1])
    runs = predictions.read_all(mixed.comparison(), files)
    counts = LABELS.read(mixed.labels).assign(negatives=0, negative_patients=0)
    first = next(iter(runs.values()))
    untaught = eligibility.untaught(counts, first.labels, comparison=mixed.comparison(), file=mixed.labels)
    assert untaught == dict.fromkeys(["bright left", "stripes"], "no negative case in train")
    parts = {part.name: part for part in eligibility.parts(first, comparison=mixed.comparison(), untaught=untaught)}
    outlined = parts["bright right"]
    assert outlined.tested and outlined.negative_patients == 0
    assert outlined.smaller_class == outlined.positive_patients > 1
    assert parts["stripes"].note == "left out: no negative case in test" and not parts["stripes"].measured


def test_a_metric_that_fits_no_label_is_refused(mixed):
    with pytest.raises(
        UserError, match="hausdorff95 needs target, hausdorff95, but predictions hold target and score and"
    ):
        mixed.compared(mixed.comparison(metrics=("auroc", "hausdorff95")))


def test_labels_that_are_not_those_of_the_targets_are_refused(mixed, tmp_path):
    file = tmp_path / "predictions.parquet"
    frame = pd.read_parquet(mixed.folder / "random" / "predictions.parquet")
    frame[frame["label"] != "stripes"].to_parquet(file)
    with pytest.raises(UserError, match="lacks the label 'stripes', unlike the targets of dataset made; run predict"):
        predictions.read_all(mixed.comparison(), [file])
    frame.assign(label=frame["label"].replace("stripes", "spots")).to_parquet(file)
    with pytest.raises(UserError, match="has a label 'spots', unlike the targets"):
        predictions.read_all(mixed.comparison(), [file])


def test_columns_that_no_task_gives_are_refused(mixed, tmp_path):
    file = tmp_path / "predictions.parquet"
    frame = pd.read_parquet(mixed.folder / "random" / "predictions.parquet")
    frame.assign(guess=0.0).to_parquet(file)
    with pytest.raises(UserError, match="column 'guess' is unknown"):
        predictions.read_all(mixed.comparison(), [file])
    frame.drop(columns="false_negative").to_parquet(file)
    with pytest.raises(UserError, match="column 'false_negative' is missing"):
        predictions.read_all(mixed.comparison(), [file])
    frame.assign(target=frame["target"].replace(1, 2)).to_parquet(file)
    with pytest.raises(UserError, match=r"target 2\.0 of case .* is neither 0, 1 nor unknown"):
        predictions.read_all(mixed.comparison(), [file])


def test_a_mask_of_one_task_and_a_label_of_another_are_learned_by_one_encoder(mixed):
    tensors, _ = weight_files.load_weights(mixed.folder / "random" / "model.safetensors")
    heads = {key.split(".")[1] for key in tensors if key.startswith("head.")}
    assert heads == {"target:finding", "target:outline"}
    read = predictor.read(mixed.run(), mixed.folder / "random" / "model.safetensors")
    outputs = read.network.eval()(torch.rand(2, 3, 32, 32))
    assert outputs["finding"].shape == (2, 2) and outputs["outline"].shape == (2, 1, 4, 4)
