"""Numbers and grades of cases, from an own table to comparisons."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import mean_absolute_error, r2_score

import rounding
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.files import read_json
from headwater.data import store
from headwater.data.index import LABELS
from headwater.data.store import CASES
from headwater.evaluation import pairwise
from headwater.evaluation.predictions import PREDICTIONS, with_evidence
from headwater.models.tasks import regression
from headwater.planning import preflight
from headwater.stages.compare import compare
from headwater.stages.examine import examine
from headwater.stages.finetune import finetune
from headwater.stages.predict import predict
from headwater.stages.prepare import prepare
from headwater.study import config as study_config
from headwater.study.archive import Archive
from headwater.study.comparison import Comparison
from headwater.study.grid import Run
from headwater.study.source import Source
from headwater.study.target import Target, evidence
from headwater.training import fine_tuning

GRADES = ("none", "some", "much")
TARGETS = {
    "grade": {"task": "ordinal", "labels": GRADES},
    "numbers": {"task": "regression", "labels": ("shade", "score")},
}
STEPS = {"long": 120, "short": 1}


def table(folder: Path, *, cases: int = 80) -> pd.DataFrame:
    """Grey pictures whose shade is a number of theirs, and three grades of it; some numbers are unknown."""
    random = np.random.default_rng(4)
    shade = random.uniform(40, 200, cases)
    (folder / "pictures").mkdir(parents=True)
    for number, level in enumerate(shade):
        noise = random.normal(level, 8, (32, 32)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noise).save(folder / "pictures" / f"{number:03d}.png")
    grade = np.digitize(shade, [90, 150])
    rows = pd.DataFrame(
        {
            "file": [f"pictures/{number:03d}.png" for number in range(cases)],
            "patient": [f"p{number // 2}" for number in range(cases)],
            "shade": [f"{value:.1f}" for value in shade],
            "score": ["" if number % 3 == 0 else f"{-value / 100:.3f}" for number, value in enumerate(shade)],
            **{label: (grade == number).astype(int) for number, label in enumerate(GRADES)},
        }
    )
    rows.to_csv(folder / "cases.csv", index=False)
    return rows


def archive(folder: Path) -> Archive:
    options = {"numbers": ("shade", "score"), "labels": GRADES}
    kind = {"name": "own_folder", **options}
    return Archive(name="own", kind=kind, folder=str(folder), size=32, test=0.3, validation=0.2)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("numbers")
    rows, own = table(folder / "own"), archive(folder / "own")
    names = {name: folder / f"{name}.parquet" for name in ("cases", "rejects", "labels")}
    files = {**names, **{name: folder / f"{name}.npy" for name in ("images", "hashes")}, "split": folder / "split.json"}
    prepare(archive=own, workers=1, **files)
    tables, run = [], None
    for source, steps in STEPS.items():
        training = {"steps": steps, "batch": 16, "lr": 3e-3, "validations": 2 if steps > 1 else 1}
        run = Run(
            dataset={"name": "own", "archive": "own", "targets": TARGETS},
            source=Source(name=source, backbone="timm/test_resnet"),
            recipe={"name": "full", "training": training, "select": "loss"},
            seed=0,
        )
        here, seen = folder / source, {"cases": files["cases"], "images": files["images"]}
        products = {"model": here / "model.safetensors", "fit": here / "fit.json"}
        finetune(run=run, progress=here / "progress.pt", **seen, **products)
        tables.append(here / "predictions.parquet")
        predict(
            runs=[run], models=[products["model"]], predictions=tables[-1:], validation=[here / "validation.parquet"],
            **seen,
        )  # fmt: skip
    return {"folder": folder, "rows": rows, "files": files, "tables": tables, "dataset": run.dataset}


def predicted(study, at: int) -> pd.DataFrame:
    return with_evidence(PREDICTIONS, evidence(study["dataset"].tasks)).read(study["tables"][at])


def test_numbers_and_grades_are_learned_side_by_side(study):
    frame = predicted(study, 0)
    shade = frame[frame["label"] == "shade"].set_index("case")
    wanted = study["rows"].set_index("file")["shade"].astype(float)
    np.testing.assert_allclose(shade["value"], wanted[shade.index], rtol=1e-6)
    # saying the mean of the training cases is off by about 40
    assert (shade["predicted"] - shade["value"]).abs().mean() < 20
    by_grade = [frame[frame["label"] == grade].sort_values("case") for grade in GRADES]
    told, real = (np.stack([part[column] for part in by_grade]).argmax(axis=0) for column in ("score", "target"))
    assert (told == real).mean() > 0.7


def test_what_is_unknown_has_no_target_and_a_prediction_all_the_same(study):
    frame = predicted(study, 0)
    score = frame[frame["label"] == "score"].set_index("case")
    unknown = study["rows"].set_index("file").loc[score.index, "score"] == ""
    assert unknown.any() and (score["target"].isna() == unknown).all() and (score["value"].isna() == unknown).all()
    assert np.isfinite(score["predicted"]).all()
    counts = LABELS.read(study["files"]["labels"]).groupby("label")[["positives", "negatives", "unknown"]].sum()
    assert counts.loc["score"].tolist() == [53, 0, 27] and counts.loc["shade"].tolist() == [80, 0, 0]


def test_the_scale_of_numbers_is_that_of_the_cases_to_learn_from(study):
    fit = read_json(study["folder"] / "long" / "fit.json")
    assert '"mean"' in fit["task"]["numbers"] and fit["task"]["grade"] == "ordered"
    assert fit["labels"]["numbers"] == ["shade", "score"]


def test_sources_are_compared_by_errors_of_numbers(study, tmp_path):
    metrics = ("mean_absolute_error", "r_squared", "auroc")
    comparison = Comparison(
        dataset="own", sources=("long", "short"), recipes=("full",), seeds=(0,), reference="short", metrics=metrics,
        targets=study["dataset"].targets, resamples=256, fewest_positive=5,
    )  # fmt: skip
    products = {name: tmp_path / f"{name}.parquet" for name in ("comparisons", "curves", "values", "replicates")}
    compare(
        comparison=comparison, predictions=study["tables"], labels=study["files"]["labels"],
        provenance=tmp_path / "p.parquet", **products,
    )  # fmt: skip
    rows = pairwise.COMPARISONS.read(products["comparisons"])
    assert set(rows.loc[rows["metric"] == "auroc", "label"]) - {"macro"} == set(GRADES)
    long = rows[(rows["source"] == "long") & (rows["label"] == "shade")].set_index("metric")
    frame = predicted(study, 0).query("label == 'shade'")
    given = frame["value"], frame["predicted"]
    assert long.loc["mean_absolute_error", "value"] == pytest.approx(mean_absolute_error(*given))
    assert long.loc["r_squared", "value"] == pytest.approx(r2_score(*given))
    assert long.loc["mean_absolute_error", "difference"] < 0 < long.loc["r_squared", "difference"]
    assert long.loc["mean_absolute_error", "p"] < 0.05
    names = ("calibration", "reliability", "thresholds", "subgroups", "settled")
    examine(
        comparison=comparison, predictions=study["tables"],
        validation=[file.with_name("validation.parquet") for file in study["tables"]],
        labels=study["files"]["labels"], cases=study["files"]["cases"], provenance=tmp_path / "e.parquet",
        **{name: tmp_path / f"{name}.parquet" for name in names},
    )  # fmt: skip


@pytest.mark.parametrize("metric", ["mean_absolute_error", "r_squared"])
def test_whole_weights_count_cases_so_often(metric, float64):
    random = np.random.default_rng(0)
    value = random.normal(60, 9, 50)
    predicted, target = value + random.normal(0, 5, 50), np.where(random.random(50) < 0.2, np.nan, 1.0)
    weights = random.integers(0, 4, (20, 50))
    peer = {"mean_absolute_error": mean_absolute_error, "r_squared": r2_score}[metric]
    known = target == 1
    wanted = [peer(value[known], predicted[known], sample_weight=row[known]) for row in weights]
    found = registry.load("metrics", metric).measure(target, value, predicted, weights)
    np.testing.assert_allclose(found, wanted, **rounding.NEAR)
    assert np.isnan(registry.load("metrics", metric).measure(target, value, predicted, 0 * weights)).all()


def test_a_number_that_never_varies_has_no_r_squared():
    value = np.full(6, 63.1)
    found = registry.load("metrics", "r_squared").measure(np.ones(6), value, value + 1, np.ones((1, 6)))
    assert np.isnan(found).all()


def test_numbers_that_cannot_be_learned_are_refused():
    varied = np.arange(4, dtype=np.float32)
    for constant, said in ((np.nan, "known of no case"), (3, "the same in all cases")):
        values = np.column_stack([varied, np.full(4, constant, np.float32)])
        with pytest.raises(UserError, match=f"^number 'score' is {said} to learn from"):
            regression.form(values, labels=["shade", "score"])


def learned(study, folder: Path, cases: pd.DataFrame, **asked) -> str:
    """What is said when an archive's target is to be learned of these cases, with their file, which is left out."""
    file, data = folder / "cases.parquet", store.read(study["files"]["cases"], images=study["files"]["images"])
    run = Run(
        dataset={"name": "own", "archive": "own", **asked},
        source=Source(name="random", backbone="timm/test_resnet"),
        recipe={"name": "full", "training": {"steps": 1, "batch": 4}, "select": "loss"},
        seed=0,
    )
    CASES.write(cases, file)
    with pytest.raises(UserError) as refusal:
        fine_tuning.material_of(run, replace(data, cases=cases), file=file)
    assert str(refusal.value).startswith(f"{file}: ")
    return str(refusal.value).removeprefix(f"{file}: ")


def test_what_cannot_be_learned_is_refused_with_its_file(study, tmp_path):
    cases = CASES.read(study["files"]["cases"])
    said = partial(learned, study, tmp_path)
    number = {"task": "regression", "labels": ("shade",)}
    assert said(cases.assign(**{"number:shade": np.float32(3)}), **number).startswith("number 'shade' is the same")
    # one test case knows it, from which nothing is learned
    alone = cases["case"] == cases.loc[cases["split"] == "test", "case"].iloc[0]
    unknown = cases.assign(**{"number:shade": np.where(alone, np.float32(3), np.float32(np.nan))})
    assert said(unknown, **number).startswith("number 'shade' is known of no case")


@pytest.mark.parametrize("among", ["alone", "beside"])
def test_cases_whose_grade_is_not_listed_are_refused(study, tmp_path, among):
    cases = CASES.read(study["files"]["cases"])
    # a fourth grade, which a few of those to learn from have, and which is not asked for
    worst = (cases["target:much"] == 1) & (cases["split"] != "test") & (np.cumsum(cases["target:much"]) < 6)
    assert worst.any()
    cases = cases.assign(**{"target:much": cases["target:much"] * ~worst, "target:worst": worst.astype("float32")})
    target = {"task": "ordinal", "labels": GRADES}
    asked = target if among == "alone" else {"targets": {"grade": target}}
    assert learned(study, tmp_path, cases, **asked).startswith(f"{worst.sum()} cases have no grade or several; list")


@pytest.mark.parametrize("labels", [(), GRADES[:1], GRADES[:2]])
def test_grades_that_have_no_order_are_refused(study, tmp_path, labels):
    cases = CASES.read(study["files"]["cases"])
    said = learned(study, tmp_path, cases, task="ordinal", labels=labels)
    assert said.startswith(f"the task ordinal needs 3 labels or more, in their order (got {len(labels)}); list")


def test_grades_are_judged_among_themselves(study):
    """An archive may have other labels beside its grades, of which a case may bear any."""
    data = store.read(study["files"]["cases"], images=study["files"]["images"])
    beside = data.cases.assign(**{"target:other": (data.cases["row"] % 2).astype("float32")})
    target = Target(task="ordinal", labels=GRADES)
    assert fine_tuning._task(target, replace(data, cases=beside), alone=True).form == "ordered"


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("old", "line 3, column 'shade': 'old'; use a plausible number"),
        ("inf", "line 3, column 'shade': 'inf'"),
        ("1e39", "line 3, column 'shade': '1e39'; use a plausible number"),
        ("-4e38", "line 3, column 'shade': '-4e38'; use a plausible number"),
    ],
)
def test_what_is_no_number_is_refused_with_its_line(tmp_path, cell, said):
    rows = table(tmp_path, cases=8)
    rows.loc[1, "shade"] = cell
    rows.to_csv(tmp_path / "cases.csv", index=False)
    with pytest.raises(UserError, match=said):
        registry.load("datasets", "own_folder").read_cases(
            tmp_path, registry.chosen("datasets", archive(tmp_path).kind)
        )


@pytest.mark.parametrize(
    ("lower", "upper", "others"),
    [
        ("16777216", "16777217", "5"),
        # seconds since 1970, of which two thirds would be lost
        ("1764500000.5", "1764500001.25", "1764500300"),
        ("1000000.001", "1000000.002", "1000000.5"),
    ],
)
def test_numbers_that_are_not_told_apart_are_refused(tmp_path, lower, upper, others):
    rows = table(tmp_path, cases=8).astype({"shade": str})
    rows["shade"] = [upper, *[others] * 6, lower]
    rows.to_csv(tmp_path / "cases.csv", index=False)
    options = registry.chosen("datasets", archive(tmp_path).kind)
    with pytest.raises(UserError, match=f"line 2, column 'shade': '{upper}' is not told apart from '{lower}' in"):
        registry.load("datasets", "own_folder").read_cases(tmp_path, options)
    # what only differs in digits that were computed is taken as it comes
    rows["shade"] = ["0.12345678901", "0.12345678902", *["0.9"] * 5, "0"]
    rows.to_csv(tmp_path / "cases.csv", index=False)
    read = registry.load("datasets", "own_folder").read_cases(tmp_path, options)
    assert read["number:shade"].dtype == "float32" and read["number:shade"].nunique() == 3
    rows.assign(shade="").to_csv(tmp_path / "cases.csv", index=False)
    assert registry.load("datasets", "own_folder").read_cases(tmp_path, options)["number:shade"].isna().all()


def test_a_misspelt_number_is_told_in_the_plan(tmp_path):
    table(tmp_path, cases=40)
    kind = {"name": "own_folder", "numbers": ["shade"], "labels": list(GRADES)}
    content = {
        "seeds": [0],
        "archives": {"own": {"kind": kind, "folder": str(tmp_path), "size": 32}},
        "backbone": "timm/test_resnet",
        "sources": {"random": {}, "again": {}},
        "datasets": {"own": {"task": "regression", "labels": ["shades"]}},
        "recipes": {"full": {"training": {"steps": 2}, "select": "r_squared"}},
        "comparison": {"reference": "random", "metrics": ["mean_absolute_error"]},
    }
    with pytest.raises(UserError, match=r"datasets.own.labels: own has no 'shades'; did you mean 'shade'\?"):
        preflight.check(study_config.load(content))
    content["datasets"]["own"]["labels"] = ["shade"]
    preflight.check(study_config.load(content))
