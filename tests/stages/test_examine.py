"""The verb `examine`: calibration, operating points and subgroups of made predictions, held against plain counting."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from declared_tables import declared_tables
from headwater.core.errors import UserError
from headwater.data.store import CASES
from headwater.evaluation import calibration, operating_points, predictions, seed_groups, subgroups, validation_choices
from headwater.evaluation.predictions import PREDICTIONS
from headwater.evaluation.statistics import operating, recalibration
from headwater.evaluation.validation_choices import TestedNetwork
from headwater.stages.examine import examine
from predictions_made import cohort, comparison, counted, of_validation, told, written

LABELS = {"Effusion": 0.4, "Mass": 0.45}
STRENGTHS = {"random": 0.4, "dino": 1.2}
TABLES = ("calibration", "reliability", "thresholds", "subgroups", "settled", "provenance")


@dataclass
class Made:
    """Predictions of both splits, what is known of the test cases, and the tables of `examine`."""

    folder: Path
    test: list[Path]
    validation: list[Path]
    labels: Path
    cases: Path

    def examined(self, folder: Path | None = None, *, threads: int = 1, **changes) -> dict[str, pd.DataFrame]:
        """The tables by name."""
        folder = folder or self.folder
        products = {name: folder / f"{name}.parquet" for name in TABLES}
        files = {"predictions": self.test, "validation": self.validation, "labels": self.labels, "cases": self.cases}
        plan = comparison(sources=tuple(STRENGTHS), **changes)
        examine(comparison=plan, **files, **products, threads=threads)
        return {name: declared_tables()[name].read(file) for name, file in products.items()}


def made(folder: Path, *, shares=LABELS, validated=None, untaught=(), images=2, **columns) -> Made:
    """Two sources, two seeds, 80 test and 60 validation patients; `columns` are told of the test cases."""
    test = cohort(patients=80, images=images, labels=shares)
    validation = of_validation(cohort(patients=60, images=2, labels=validated or shares, seed=1))
    files = written(folder / "runs", test, strengths=STRENGTHS)
    return Made(
        folder=folder,
        test=files,
        validation=written(folder / "runs", validation, strengths=STRENGTHS, product="validation"),
        labels=counted(folder / "labels.parquet", files, untaught=untaught),
        cases=told(folder / "cases.parquet", test, **columns),
    )


def halves(cases: int, one: str, other: str) -> np.ndarray:
    """The first half of some cases is one thing, the second the other."""
    return np.where(np.arange(cases) < cases // 2, one, other)


def runs_of(files: list[Path], source: str) -> list[pd.DataFrame]:
    """The predictions of each seed of a source."""
    frames = [PREDICTIONS.read(file) for file in sorted(files)]
    return [frame for frame in frames if frame["source"].iloc[0] == source]


def row(frame: pd.DataFrame, **wanted) -> pd.Series:
    for column, value in {"label": "macro", "source": "dino", **wanted}.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def each(frame: pd.DataFrame, label: str) -> tuple[np.ndarray, np.ndarray]:
    """(target, score) of one label."""
    here = frame[(frame["label"] == label) & frame["target"].notna()]
    return here["target"].to_numpy(), here["score"].to_numpy()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examined")
    sex, age = np.tile(["F", "F", "M", "M"], 40), np.repeat([35.0, 45.0, 65.0, np.nan], 40)
    one = made(folder, sex=sex, age=age, view=halves(160, "PA", "AP"))
    return one, one.examined()


# calibration


@pytest.mark.parametrize("label", LABELS)
def test_calibration_is_that_of_the_runs(study, label):
    one, tables = study
    told_temperatures = tables["settled"].drop_duplicates(["source", "seed"]).query("source == 'dino'")["temperature"]
    for kind, temperatures in (("raw", [1, 1]), ("scaled", told_temperatures.tolist())):
        found = row(tables["calibration"], label=label, scores=kind)
        slopes, briers, ratios = [], [], []
        for frame, temperature in zip(runs_of(one.test, "dino"), temperatures, strict=True):
            target, score = each(frame, label)
            chance = expit(score / temperature)
            fit = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12)
            slopes.append(fit.fit(score[:, None] / temperature, target).coef_[0, 0])
            briers.append(brier_score_loss(target, chance))
            ratios.append(np.log(chance.sum() / target.sum()))
        assert found.slope == pytest.approx(np.mean(slopes), rel=1e-6)
        assert found.brier == pytest.approx(np.mean(briers), abs=1e-12)
        assert found.ratio == pytest.approx(np.exp(np.mean(ratios)), rel=1e-12)
        for name in ("intercept", "slope", "brier", "ratio"):
            assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]


def test_of_one_training_the_errors_are_those_of_ratios_of_sums_over_patients(study, tmp_path):
    """The linearised errors of survey statistics, each patient a cluster, within what 2,000 resamples can tell."""
    one, _ = study
    firsts = [[file for file in files if "seed0" in str(file)] for files in (one.test, one.validation)]
    tables = replace(one, test=firsts[0], validation=firsts[1]).examined(tmp_path, seeds=(0,), resamples=2000)
    frame = runs_of(firsts[0], "dino")[0].query("label == 'Mass'")
    chance, height = expit(frame["score"]), row(tables["settled"], label="Mass", seed=0).threshold
    alarm = (frame["score"] >= height).astype(float)
    parts = frame.assign(p=chance, b=(chance - frame["target"]) ** 2, n=1.0, hit=alarm * frame["target"], alarm=alarm)
    sums = parts.groupby("patient")[["p", "b", "n", "hit", "alarm", "target"]].sum()

    def error(above: str, below: str) -> float:
        ratio = sums[above].sum() / sums[below].sum()
        return np.sqrt(((sums[above] - ratio * sums[below]) ** 2).sum()) / sums[below].sum()

    found = row(tables["calibration"], label="Mass", scores="raw")
    points = row(tables["thresholds"], label="Mass")
    assert found.ratio_se == pytest.approx(error("p", "target"), rel=0.15)
    assert np.sqrt(found.ratio_low * found.ratio_high) == pytest.approx(found.ratio)
    assert found.brier_se == pytest.approx(error("b", "n"), rel=0.1)
    assert points.sensitivity_se == pytest.approx(error("hit", "target"), rel=0.1)
    assert points.ppv_se == pytest.approx(error("hit", "alarm"), rel=0.1)


def test_the_macro_is_the_mean_over_labels_and_the_ratio_a_geometric_one(study):
    calibration = study[1]["calibration"]
    parts = [row(calibration, label=label, scores="raw") for label in LABELS]
    macro = row(calibration, scores="raw")
    for name in ("intercept", "slope", "brier"):
        assert macro[name] == pytest.approx(np.mean([part[name] for part in parts]), abs=1e-12)
    assert macro.ratio == pytest.approx(np.sqrt(parts[0].ratio * parts[1].ratio))
    assert macro.fitted_to == "chest" and macro.asked == "macro" and macro.note == "mean of 2 labels"


def test_scaling_divides_the_slope_and_leaves_the_order(study):
    tables = study[1]
    by_seed = tables["settled"].query("source == 'dino' and label == 'Mass'")["temperature"]
    assert by_seed.nunique() == 2 and (by_seed > 0).all()
    raw, scaled = (row(tables["calibration"], label="Mass", scores=kind).slope for kind in ("raw", "scaled"))
    assert by_seed.min() <= scaled / raw <= by_seed.max()


def test_the_reliability_plot_pools_seeds(study):
    one, tables = study
    points = tables["reliability"].query("label == 'Mass' and source == 'dino' and scores == 'raw'")
    assert points["bin"].tolist() == list(range(10)) and points["scored"].sum() == 2 * 160
    mean = np.average(points["observed"], weights=points["scored"])
    assert mean == pytest.approx(each(runs_of(one.test, "dino")[0], "Mass")[0].mean())
    assert (points["patients"] <= 80).all() and (points["low"] <= points["observed"]).all()
    assert set(tables["reliability"]["label"]) == {"macro", *LABELS}


# what is settled, and what comes of it


def test_temperature_and_thresholds_come_from_the_validation_split(study):
    one, tables = study
    for seed, frame in enumerate(runs_of(one.validation, "dino")):
        known = frame[frame["target"].notna()]
        temperature = recalibration.temperature(known["target"].to_numpy(), known["score"].to_numpy())
        for label in LABELS:
            found = row(tables["settled"], label=label, seed=seed)
            assert found.temperature == temperature and found.known == len(known)
            assert found.log_loss_scaled < found.log_loss
            assert found.threshold == operating.threshold(*each(frame, label), specificity=0.9)


def test_what_is_in_the_test_split_changes_nothing_that_is_settled(study, tmp_path):
    one, _ = study
    turned = []
    for file in one.test:
        frame = PREDICTIONS.read(file)
        flip = frame["case"].str.endswith("_0")
        turned.append(tmp_path / "runs" / file.relative_to(one.folder))
        frame = frame.assign(target=(1 - frame["target"]).where(flip, frame["target"]), score=-3 * frame["score"])
        PREDICTIONS.write(frame, turned[-1])
    other = replace(one, test=turned).examined(tmp_path)
    assert (tmp_path / "settled.parquet").read_bytes() == (one.folder / "settled.parquet").read_bytes()
    before, after = study[1]["thresholds"], other["thresholds"]
    assert after["threshold"].equals(before["threshold"]) and not after["sensitivity"].equals(before["sensitivity"])


@pytest.mark.parametrize("label", LABELS)
def test_operating_points_are_counted_on_the_test_split(study, label):
    one, tables = study
    found = row(tables["thresholds"], label=label)
    expected = {"sensitivity": [], "specificity": [], "ppv": [], "npv": []}
    for seed, frame in enumerate(runs_of(one.test, "dino")):
        target, score = each(frame, label)
        alarm = score >= row(tables["settled"], label=label, seed=seed).threshold
        for name, inside, right in (
            ("sensitivity", target == 1, alarm),
            ("specificity", target == 0, ~alarm),
            ("ppv", alarm, target == 1),
            ("npv", ~alarm, target == 0),
        ):
            expected[name].append(right[inside].mean())
    for name, values in expected.items():
        assert found[name] == pytest.approx(np.mean(values), abs=1e-12)
        assert 0 <= found[f"{name}_low"] < found[name] < found[f"{name}_high"] <= 1


def test_another_specificity_is_another_threshold(study, tmp_path):
    other = study[0].examined(tmp_path, specificity=0.5)["thresholds"]
    lenient, strict = row(other, label="Mass"), row(study[1]["thresholds"], label="Mass")
    assert lenient.asked_specificity == 0.5 and lenient.threshold < strict.threshold
    assert lenient.sensitivity > strict.sensitivity and lenient.specificity < strict.specificity


def test_a_label_without_a_positive_validation_case_gets_no_threshold(tmp_path):
    tables = made(tmp_path, validated={"Effusion": 0.4, "Mass": 0.0}).examined()
    mass, macro = (row(tables["thresholds"], label=label) for label in ("Mass", "macro"))
    assert np.isnan([mass.threshold, mass.sensitivity, mass.ppv]).all() and not mass.tested
    assert mass.note == "left out: validation lacks a class"
    assert macro.note == "mean of 1 label; without Mass (validation lacks a class)"
    assert macro.sensitivity == row(tables["thresholds"], label="Effusion").sensitivity
    settled = row(tables["settled"], label="Mass", seed=0)
    assert settled.note == "no threshold: no positive case in validation" and settled.temperature > 0
    assert not np.isnan(row(tables["calibration"], label="Mass", scores="scaled").slope)


def test_a_validation_split_of_one_class_settles_nothing(tmp_path):
    tables = made(tmp_path, validated=dict.fromkeys(LABELS, 0.0)).examined()
    assert tables["settled"][["temperature", "threshold", "log_loss_scaled"]].isna().all(axis=None)
    assert tables["settled"]["note"].str.endswith("; no temperature: one class only in validation").all()
    scaled, raw = (row(tables["calibration"], label="Mass", scores=kind) for kind in ("scaled", "raw"))
    assert np.isnan([scaled.brier, scaled.ratio, scaled.slope]).all() and not np.isnan([raw.brier, raw.slope]).any()
    assert scaled.note == "no temperature: one class only in the validation of a run" and raw.note == ""
    assert set(tables["reliability"]["scores"]) == {"raw"}
    assert row(tables["thresholds"]).note.startswith("left out: no label can be tested")


def test_what_compare_leaves_out_has_no_number_here(tmp_path):
    tables = made(tmp_path, untaught=("Mass",)).examined()
    mass = row(tables["calibration"], label="Mass", scores="raw")
    assert np.isnan(mass.brier) and mass.note == "left out: no positive case in train"
    assert "Mass" not in set(tables["reliability"]["label"])
    nothing = made(tmp_path / "nothing", untaught=tuple(LABELS)).examined()
    assert nothing["reliability"].empty and nothing["calibration"]["brier"].isna().all()
    assert nothing["subgroups"]["value"].isna().all() and nothing["settled"]["temperature"].notna().all()


def test_a_rate_of_one_is_not_certain(tmp_path):
    one = made(tmp_path)
    for file in one.test:
        frame = PREDICTIONS.read(file)
        frame["score"] = frame["score"].where(frame["target"] == 0, 100.0)
        PREDICTIONS.write(frame, file)
    found = row(one.examined()["thresholds"], label="Mass")
    assert found.sensitivity == found.sensitivity_high == 1
    # 36 of 36 patients: the lowest rate that they leave open
    assert found.sensitivity_low == pytest.approx(0.025 ** (1 / 36))


# subgroups


def test_a_group_is_measured_and_held_against_all_others(study):
    one, tables = study
    frames = runs_of(one.test, "dino")
    place = {frame_case: at for at, frame_case in enumerate(CASES.read(one.cases)["case"])}
    values = {}
    for group, inside in (("PA", lambda at: at < 80), ("AP", lambda at: at >= 80)):
        parts = [frame[frame["case"].map(place).map(inside)] for frame in frames]
        values[group] = np.mean([roc_auc_score(*each(part, "Mass")) for part in parts])
    found = row(tables["subgroups"], label="Mass", characteristic="view", group="PA")
    assert found.value == pytest.approx(values["PA"], abs=1e-12)
    assert found.rest == pytest.approx(values["AP"], abs=1e-12)
    assert found.difference == pytest.approx(values["PA"] - values["AP"], abs=1e-12)
    assert found.difference_low < found.difference < found.difference_high
    other = row(tables["subgroups"], label="Mass", characteristic="view", group="AP")
    assert other.difference == -found.difference and other.difference_se == pytest.approx(found.difference_se)


def test_the_macro_of_a_group_is_over_labels_that_both_sides_have(study):
    subgroup = study[1]["subgroups"]
    of_group = {"characteristic": "sex", "group": "F"}
    macro, parts = row(subgroup, **of_group), [row(subgroup, label=label, **of_group) for label in LABELS]
    for name in ("value", "rest", "difference"):
        assert macro[name] == pytest.approx(np.mean([part[name] for part in parts]), abs=1e-12)
    assert macro.note == "mean of 2 of 2 labels" and macro.patients == 40 and macro.cases == 80


def test_one_group_of_each_characteristic_lies_furthest_from_the_others(study):
    subgroup = study[1]["subgroups"]
    for _, part in subgroup[subgroup["difference"].notna()].groupby(["source", "label", "characteristic"]):
        largest = part[part["largest"]]
        assert len(largest) == 1 and abs(largest["difference"].iloc[0]) == part["difference"].abs().max()
    assert not subgroup[subgroup["difference"].isna()]["largest"].any()


def test_those_of_whom_nothing_is_told_are_not_among_the_others(study):
    one, _ = study
    plan = comparison(sources=tuple(STRENGTHS))
    first = next(iter(predictions.read_all(plan, one.test).values()))
    parted = subgroups.of_cases(CASES.read(one.cases), first.cases, file=one.cases)
    found = {
        (group.characteristic, group.name): group
        for group in subgroups.groups(first, parted, comparison=plan, untaught={})
    }
    young, women, projection = (found[key] for key in (("age", "<40"), ("sex", "F"), ("view", "PA")))
    assert (young.side.cases, young.rest.cases) == (40, 80)
    assert (women.side.cases, women.rest.cases) == (projection.side.cases, projection.rest.cases) == (80, 80)
    assert found["site", "not told"].rest.cases == 0


def test_groups_of_whom_nothing_is_told_are_counted_only(study):
    subgroup = study[1]["subgroups"]
    site = row(subgroup, characteristic="site", group="not told")
    assert (site.patients, site.cases, site.note) == (80, 160, "counted only") and site.positive_patients > 36
    assert np.isnan([site.value, site.difference]).all()
    # the fourth age is not known; the others are 35, 45 and 65
    ages = subgroup.query("source == 'dino' and label == 'macro' and characteristic == 'age'")
    assert ages.set_index("group")["cases"].to_dict() == {"<40": 40, "40-59": 40, "60-79": 40, "not told": 40}


def test_a_small_group_is_described_not_measured(tmp_path):
    # of the first 12 patients a few bear it
    one = made(tmp_path, view=np.where(np.arange(160) < 24, "PA", "AP"))
    frame = PREDICTIONS.read(one.test[0])
    first = frame[frame["case"].isin(sorted(frame["case"].unique())[:24]) & (frame["label"] == "Mass")]
    bearing = first.loc[first["target"] == 1, "patient"].nunique()
    assert 0 < bearing < 10
    tables = one.examined()
    small = row(tables["subgroups"], label="Mass", characteristic="view", group="PA")
    assert small.note == f"described only: {bearing} positive patients, fewer than 10"
    assert np.isnan([small.value, small.difference]).all() and small.positive_patients == bearing
    large = row(tables["subgroups"], label="Mass", characteristic="view", group="AP")
    assert not np.isnan(large.value) and np.isnan(large.difference)
    assert large.note == f"described only: {bearing} positive patients among the others, fewer than 10"


def test_a_network_that_fails_for_one_group_is_found_out(tmp_path):
    one = made(tmp_path, sex=np.tile(["F", "F", "M", "M"], 40))
    woman = set(CASES.read(one.cases).query("sex == 'F'")["case"])
    for file in one.test:
        frame = PREDICTIONS.read(file)
        frame.loc[frame["case"].isin(woman), "score"] = 0.0
        PREDICTIONS.write(frame, file)
    women = row(one.examined()["subgroups"], characteristic="sex", group="F")
    assert women.value == 0.5 and women.largest and women.difference_high < 0


@pytest.mark.parametrize(
    ("age", "band"), [(0, "<40"), (39.9, "<40"), (40, "40-59"), (60, "60-79"), (80, "80+"), (104, "80+")]
)
def test_ages_fall_into_their_band(age, band):
    cases = pd.DataFrame({"case": ["a"], "sex": "", "age": [age], "view": "PA", "site": ""})
    found = subgroups.of_cases(cases, np.array(["a"]), file="cases.parquet").iloc[0].to_dict()
    assert found == {"sex": "not told", "age": band, "view": "PA", "site": "not told"}


# cells that are not at home


def elsewhere(one: Made) -> list[TestedNetwork]:
    """Networks that call a label of this test set by another name, and know only that one."""
    plan = comparison(sources=tuple(STRENGTHS))
    tested, validated = (predictions.read_all(plan, files) for files in (one.test, one.validation))
    cells = []
    for run, test in tested.items():
        few = predictions.narrowed(test, ["Mass"])
        names = np.array(["Effusion" if label == "Effusion" else "Nodule/Mass" for label in test.labels], object)
        renamed = replace(validated[run], labels=names)
        cell = TestedNetwork(
            fitted_to="abroad", test=few, validation=renamed, asked=("Nodule/Mass",), untaught={}, holders={}
        )
        cells.append(cell)
    return cells


def test_cells_from_elsewhere_are_settled_by_their_own_validation_split(study):
    one, tables = study
    plan = comparison(sources=tuple(STRENGTHS))
    (trained,) = (
        part
        for part in seed_groups.groups(elsewhere(one), comparison=plan, threads=1)
        if part.place["source"] == "dino"
    )
    rows = pd.DataFrame(operating_points.rows(trained))
    found, home = row(rows, label="Mass"), row(tables["thresholds"], label="Mass")
    assert (found.dataset, found.fitted_to, found.asked) == ("chest", "abroad", "Nodule/Mass")
    same = [name for name in home.index if name not in ("fitted_to", "asked")]
    pd.testing.assert_series_equal(found[same], home[same], check_names=False, check_dtype=False)
    raw = pd.DataFrame(calibration.rows(trained)).query("scores == 'scaled'")
    pd.testing.assert_series_equal(
        row(raw, label="Mass")[["slope", "slope_se", "brier", "brier_se"]],
        row(tables["calibration"], label="Mass", scores="scaled")[["slope", "slope_se", "brier", "brier_se"]],
        check_names=False,
        check_dtype=False,
    )


def test_a_label_that_the_network_was_never_asked_for_is_refused(study):
    cell = replace(elsewhere(study[0])[0], asked=("Hernia",))
    with pytest.raises(UserError, match=r"has no scores of 'Hernia'"):
        validation_choices.choose(cell, specificity=0.9)


# the files


def test_the_order_of_files_and_threads_change_no_byte(study, tmp_path):
    one, _ = study
    replace(one, test=one.test[::-1], validation=one.validation[::-1]).examined(tmp_path, threads=2)
    for name in TABLES:
        assert (tmp_path / f"{name}.parquet").read_bytes() == (one.folder / f"{name}.parquet").read_bytes(), name


def test_cases_that_are_not_told_of_are_refused(study, tmp_path):
    one, _ = study
    lacking = tmp_path / "cases.parquet"
    CASES.write(CASES.read(one.cases).iloc[1:], lacking)
    with pytest.raises(UserError, match="has no case 'c00000_0', which is predicted"):
        replace(one, cases=lacking).examined(tmp_path)


def test_one_run_without_validation_scores_is_refused(study, tmp_path):
    one, _ = study
    with pytest.raises(UserError, match="no predictions of run random/finetune/seed1"):
        replace(one, validation=one.validation[:1] + one.validation[2:]).examined(tmp_path)


def test_unknown_targets_take_no_part(tmp_path):
    one = made(tmp_path)
    for file in [*one.test, *one.validation]:
        frame = PREDICTIONS.read(file)
        hidden = (frame["label"] == "Mass") & frame["case"].str.endswith("_1")
        PREDICTIONS.write(frame.assign(target=frame["target"].mask(hidden)), file)
    tables = one.examined()
    assert row(tables["calibration"], label="Mass", scores="raw").cases == 80
    assert row(tables["settled"], label="Mass", seed=0)[["cases", "known"]].tolist() == [60, 180]
    target, score = each(runs_of(one.test, "dino")[0], "Mass")
    assert len(target) == 80 and np.isfinite(score).all()


def test_one_image_of_each_patient_or_four_alike_tell_the_same(tmp_path):
    """Images copied within their patients make no interval narrower."""
    plain = made(tmp_path / "plain", images=1)
    before = plain.examined()
    cases = CASES.read(plain.cases)
    copied = [tmp_path / "runs" / file.relative_to(plain.folder) for file in plain.test]
    for file, copy in zip(plain.test, copied, strict=True):
        frame = PREDICTIONS.read(file)
        twice = pd.concat([frame, frame.assign(case=frame["case"] + "_again")])
        PREDICTIONS.write(twice, copy)
    known = tmp_path / "cases.parquet"
    again = cases.assign(case=cases["case"] + "_again", row=cases["row"] + len(cases))
    CASES.write(pd.concat([cases, again], ignore_index=True), known)
    after = replace(plain, test=copied, cases=known).examined(tmp_path)
    for table in ("calibration", "thresholds"):
        numbers = [name for name in before[table] if name.endswith(("_se", "_low", "_high"))]
        assert before[table][numbers].to_numpy() == pytest.approx(
            after[table][numbers].to_numpy(), nan_ok=True, rel=1e-6
        )
