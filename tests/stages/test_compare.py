import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from headwater.core.errors import UserError
from headwater.evaluation.bootstrap import VALUES
from headwater.evaluation.pairwise import COMPARISONS, REPLICATES
from headwater.evaluation.predictions import PREDICTIONS
from headwater.evaluation.roc import CURVES
from headwater.stages.compare import compare
from predictions_made import cohort, comparison, counted, scored, written

LABELS = {"Effusion": 0.4, "Mass": 0.3}

PRODUCTS = ("c.parquet", "curves.parquet", "values.parquet", "replicates.parquet")


@pytest.fixture
def cases():
    return cohort(patients=60, images=2, labels=LABELS)


def compared(folder, files, untaught=(), threads=1, **changes) -> pd.DataFrame:
    plan = comparison(**({"sources": ("random", "dino")} | changes))
    compare(
        comparison=plan,
        predictions=files,
        labels=counted(folder / "labels.parquet", files, untaught=untaught),
        comparisons=folder / "c.parquet",
        curves=folder / "curves.parquet",
        values=folder / "values.parquet",
        replicates=folder / "replicates.parquet",
        provenance=folder / "provenance.parquet",
        threads=threads,
    )
    return COMPARISONS.read(folder / "c.parquet")


def row(frame, *, label="macro", source="dino", **other) -> pd.Series:
    for column, value in {"label": label, "source": source, **other}.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def changed(file, change) -> None:
    """The predictions in a file after `change(frame)`."""
    frame = PREDICTIONS.read(file)
    PREDICTIONS.write(change(frame), file)


def put(column, value, where):
    """A change that writes one cell or more."""

    def change(frame):
        frame.loc[where(frame), column] = value
        return frame

    return change


def test_values_are_the_metrics_of_the_predictions(tmp_path, cases):
    files = written(tmp_path, cases, strengths={"random": 0.3, "dino": 1.0})
    frame = compared(tmp_path, files, metrics=("auroc", "average_precision"))
    for metric, peer in (("auroc", roc_auc_score), ("average_precision", average_precision_score)):
        expected = {}
        for source in ("random", "dino"):
            runs = [
                scored(cases, source=source, seed=seed, strength=0.3 if source == "random" else 1.0) for seed in (0, 1)
            ]
            for label in LABELS:
                values = [peer(run[run.label == label].target, run[run.label == label].score) for run in runs]
                expected[source, label] = np.mean(values)
            expected[source, "macro"] = np.mean([expected[source, label] for label in LABELS])
        for label in (*LABELS, "macro"):
            found = row(frame, label=label, metric=metric)
            assert found.value == pytest.approx(expected["dino", label], abs=1e-12)
            assert found.reference_value == pytest.approx(expected["random", label], abs=1e-12)
            assert found.difference == pytest.approx(found.value - found.reference_value, abs=1e-12)
            assert found.value_low < found.value < found.value_high
            assert found.difference_low < found.difference < found.difference_high
            alone = row(frame, label=label, metric=metric, source="random")
            assert alone.reference == "" and not alone.tested and np.isnan([alone.p, alone.difference]).all()
            assert alone.value == found.reference_value and alone.value_low == found.reference_low


def test_a_planted_effect_is_found_and_counts_are_told(tmp_path, cases):
    found = row(compared(tmp_path, written(tmp_path, cases, strengths={"random": 0.0, "dino": 1.5})))
    assert found.p < 0.001 and found.difference_low > 0
    assert found.p_percentile == found.smallest_p == pytest.approx(2 / 513)
    assert (found.patients, found.cases, found.seeds, found.resamples, found.dropped) == (60, 120, 2, 512, 0)
    effusion = row(COMPARISONS.read(tmp_path / "c.parquet"), label="Effusion")
    assert (effusion.positives, effusion.positive_patients) == (48, 24)


def test_two_equally_good_sources_are_not_told_apart(tmp_path, cases):
    frame = compared(tmp_path, written(tmp_path, cases, strengths={"random": 0.6, "dino": 0.6}))
    tested = frame[frame.tested]
    assert (tested.p > 0.05).all() and ((tested.difference_low < 0) & (tested.difference_high > 0)).all()


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_identical_models_differ_by_nothing(tmp_path, cases, seeds):
    files = written(tmp_path, cases, strengths={"random": 0.6}, seeds=seeds)
    twice = []
    for file in files:
        twin = tmp_path / "again" / file.parent.name / file.name
        frame = PREDICTIONS.read(file).assign(source="dino")
        PREDICTIONS.write(frame, twin)
        twice.append(twin)
    frame = compared(tmp_path, [*files, *twice], seeds=seeds)
    pairs = frame[frame.reference != ""]
    assert (pairs.difference == 0).all() and (pairs.p == 1).all()
    if len(seeds) == 1:
        assert (pairs.difference_low == 0).all() and (pairs.difference_high == 0).all()


def test_the_order_of_rows_files_sources_and_seeds_changes_no_byte(tmp_path, cases):
    strengths = {"random": 0.2, "dino": 0.5, "moco": 0.9}
    files = written(tmp_path, cases, strengths=strengths)
    compared(tmp_path, files, sources=tuple(strengths), reference="random")
    before = [(tmp_path / name).read_bytes() for name in PRODUCTS]
    for position, file in enumerate(files):
        changed(file, lambda frame, seed=position: frame.sample(frac=1, random_state=seed))
    compared(tmp_path, files[::-1], sources=("moco", "dino", "random"), reference="random", seeds=(1, 0))
    assert [(tmp_path / name).read_bytes() for name in PRODUCTS] == before


def test_threads_change_no_byte(tmp_path, cases):
    files = written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.5})
    compared(tmp_path, files, metrics=("auroc", "average_precision"))
    before = [(tmp_path / name).read_bytes() for name in PRODUCTS]
    compared(tmp_path, files, metrics=("auroc", "average_precision"), threads=3)
    assert [(tmp_path / name).read_bytes() for name in PRODUCTS] == before


def test_images_copied_within_their_patients_make_no_interval_narrower(tmp_path, cases):
    files = written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6})
    before = row(compared(tmp_path, files))
    for file in files:
        changed(file, lambda frame: pd.concat([frame.assign(case=frame.case + f"_{copy}") for copy in range(4)]))
    after = row(compared(tmp_path, files))
    assert after.cases == 4 * before.cases and after.patients == before.patients
    for column in ("difference", "difference_low", "difference_high", "value_low", "value_high", "p"):
        assert after[column] == pytest.approx(before[column], abs=1e-12)


def test_without_a_reference_all_pairs_are_compared(tmp_path, cases):
    strengths = {"a": 0.2, "b": 0.5, "c": 0.9}
    frame = compared(tmp_path, written(tmp_path, cases, strengths=strengths), sources=tuple(strengths), reference=None)
    macro = frame[frame.label == "macro"]
    assert set(zip(macro.source, macro.reference, strict=True)) == {("b", "a"), ("c", "a"), ("c", "b"), ("a", "")}
    pairs = (("b", "a"), ("c", "a"), ("c", "b"))
    ab, ac, bc = (row(frame, source=one, reference=other).difference for one, other in pairs)
    assert ac - ab == pytest.approx(bc, abs=1e-12)


def test_recipes_are_compared_each_for_itself(tmp_path, cases):
    files = [
        file
        for recipe, strength in (("finetune", 1.0), ("linear_probe", 0.1))
        for file in written(tmp_path, cases, strengths={"random": 0.0, "dino": strength}, recipe=recipe)
    ]
    frame = compared(tmp_path, files, recipes=("finetune", "linear_probe"))
    assert row(frame, recipe="finetune").difference > row(frame, recipe="linear_probe").difference + 0.1


def test_one_seed_is_said_in_the_note(tmp_path, cases):
    frame = compared(tmp_path, written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6}, seeds=(4,)), seeds=(4,))
    assert frame.note.str.contains("one seed: training noise is not in it").all() and (frame.seeds == 1).all()


# labels


def test_a_label_without_a_positive_case_stays_as_a_row_without_numbers(tmp_path):
    cases = cohort(patients=60, images=2, labels={**LABELS, "Hernia": 0.0, "Normal": 1.0})
    frame = compared(tmp_path, written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6}))
    hernia, normal, macro = (row(frame, label=label) for label in ("Hernia", "Normal", "macro"))
    assert hernia.note == "left out: no positive case in test" and normal.note == "left out: no negative case in test"
    assert np.isnan([hernia.value, hernia.p, hernia.difference, hernia.value_low]).all() and not hernia.tested
    inside = [row(frame, label=label).value for label in LABELS]
    assert macro.value == pytest.approx(np.mean(inside), abs=1e-12)
    assert macro.note.startswith("mean of 2 labels; without Hernia (no positive case in test), Normal (no negative")


def test_a_rare_label_is_described_but_neither_tested_nor_in_the_macro(tmp_path):
    cases = cohort(patients=60, images=2, labels={**LABELS, "Edema": 9 / 60})
    frame = compared(tmp_path, written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6}))
    edema = row(frame, label="Edema")
    assert edema.note == "described only: 9 positive patients in test, fewer than 10"
    assert not edema.tested and np.isfinite([edema.value, edema.difference]).all()
    # nine patients do not tell how far off the value may be
    of_uncertainty = edema.filter(regex="_(se|low|high)$|^p(_|$)|degrees_of_freedom")
    assert len(of_uncertainty) >= 15 and of_uncertainty.astype(float).isna().all()
    inside = [row(frame, label=label).value for label in LABELS]
    assert row(frame).value == pytest.approx(np.mean(inside), abs=1e-12)
    again = compared(tmp_path, sorted(tmp_path.rglob("predictions.parquet")), fewest_positive=9)
    assert row(again, label="Edema").tested and "mean of 3 labels" in row(again).note


def test_rare_is_judged_by_patients_not_by_images(tmp_path):
    cases = cohort(patients=60, images=5, labels={**LABELS, "Edema": 3 / 60})
    edema = row(compared(tmp_path, written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6})), label="Edema")
    assert (edema.positives, edema.positive_patients, edema.tested) == (15, 3, False)


def test_without_a_label_to_test_the_macro_is_a_note(tmp_path):
    cases = cohort(patients=60, images=1, labels={"Edema": 0.05})
    frame = compared(tmp_path, written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6}))
    macro = row(frame)
    assert np.isnan([macro.value, macro.difference, macro.p]).all() and not macro.tested
    assert macro.note.startswith("left out: no label can be tested")


def test_unknown_targets_leave_their_label_only(tmp_path, cases):
    cases.loc[:39, "Mass"] = np.nan
    frame = compared(tmp_path, written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6}))
    mass, effusion, macro = (row(frame, label=label) for label in ("Mass", "Effusion", "macro"))
    assert (mass.cases, mass.patients) == (80, 40) and (effusion.cases, macro.cases) == (120, 120)
    run = scored(cases, source="dino", seed=0, strength=0.6)
    other = scored(cases, source="dino", seed=1, strength=0.6)
    known = [frame[(frame.label == "Mass") & frame.target.notna()] for frame in (run, other)]
    assert mass.value == pytest.approx(np.mean([roc_auc_score(k.target, k.score) for k in known]), abs=1e-12)


def test_a_replicate_without_a_positive_is_dropped_and_counted(tmp_path):
    cases = cohort(patients=12, images=2, labels={"Effusion": 0.5, "Edema": 2 / 12})
    files = written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6})
    frame = compared(tmp_path, files, fewest_positive=2)
    # the chance that 2 of 12 patients are both never drawn is (10/12)^12, 11 %
    edema, effusion, macro = (row(frame, label=label) for label in ("Edema", "Effusion", "macro"))
    assert 30 < edema.dropped < 90 and effusion.dropped < 5
    assert edema.dropped <= macro.dropped <= edema.dropped + effusion.dropped
    assert np.isfinite([edema.difference_low, macro.difference_high, macro.p]).all()


def test_one_patient_can_be_described_at_most(tmp_path):
    cases = cohort(patients=1, images=6, labels={"Effusion": 1.0})
    cases.loc[:2, "Effusion"] = 0.0
    effusion = row(
        compared(tmp_path, written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6})), label="Effusion"
    )
    assert not effusion.tested and np.isfinite(effusion.value)
    # one patient tells nothing of others: no interval is better than one without width
    assert np.isnan([effusion.value_se, effusion.value_low, effusion.value_high]).all()


def test_constant_scores_are_a_coin_toss(tmp_path, cases):
    files = written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6})
    for file in files[:2]:
        changed(file, lambda frame: frame.assign(score=0.5))
    alone = row(compared(tmp_path, files), source="random")
    assert (alone.value, alone.value_low, alone.value_high) == (0.5, 0.5, 0.5)


def test_no_interval_leaves_the_range_of_its_metric(tmp_path, cases):
    files = written(tmp_path, cases, strengths={"random": 0.2, "dino": 9.0})
    changed(files[3], lambda frame: frame.assign(score=frame.score.sample(frac=1, random_state=0).to_numpy()))
    assert compared(tmp_path, files)[["value_high", "reference_high"]].max().max() <= 1


# methods


def test_the_default_treats_seeds_as_readers(tmp_path, cases):
    files = written(tmp_path, cases, strengths={"random": 0.3, "dino": 0.8}, seeds=(0, 1, 2))
    found = row(compared(tmp_path, files, seeds=(0, 1, 2)), label="Mass")
    values = VALUES.read(tmp_path / "values.parquet").query("label == 'Mass'").set_index(["source", "seed"])
    one, other = (values.loc[source, "value"].to_numpy() for source in ("dino", "random"))
    assert found.difference == pytest.approx(one.mean() - other.mean(), abs=1e-12)
    # paired seeds: their differences' own spread, and what patients add to all of them alike
    assert found.difference_se**2 >= (one - other).var(ddof=1) / 3
    reach = stats.t.ppf(0.975, found.degrees_of_freedom) * found.difference_se
    assert (found.difference_low, found.difference_high) == pytest.approx(
        (found.difference - reach, found.difference + reach)
    )
    t = found.difference / found.difference_se
    assert found.p == pytest.approx(2 * stats.t.sf(t, found.degrees_of_freedom))
    assert found.effect == pytest.approx(
        (one.mean() - other.mean()) / np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / 2)
    )
    assert found.superiority == np.mean(one[:, None] > other[None, :])
    nested = row(compared(tmp_path, files, seeds=(0, 1, 2), pairing="nested"), label="Mass")
    assert nested.difference == found.difference and nested.p != found.p


def test_one_seed_by_delong_agrees_with_the_bootstrap(tmp_path):
    cases = cohort(patients=200, images=2, labels=LABELS)
    files = written(tmp_path, cases, strengths={"random": 0.3, "dino": 0.6}, seeds=(0,))
    drawn = compared(tmp_path, files, seeds=(0,), resamples=4096)
    formula = compared(tmp_path, files, seeds=(0,), method="delong", resamples=4096)
    for label in (*LABELS, "macro"):
        one, other = row(drawn, label=label), row(formula, label=label)
        assert one.difference == other.difference
        assert one.difference_se == pytest.approx(other.difference_se, rel=0.06)
        assert one.value_se == pytest.approx(other.value_se, rel=0.06)


def test_the_percentile_method_asks_the_replicates_alone(tmp_path, cases):
    files = written(tmp_path, cases, strengths={"random": 0.3, "dino": 0.6})
    found = row(compared(tmp_path, files, method="percentile"))
    assert found.p == found.p_percentile >= found.smallest_p == pytest.approx(2 / 513)
    drawn = REPLICATES.read(tmp_path / "replicates.parquet").difference
    assert (found.difference_low, found.difference_high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))


def test_the_published_way_stands_beside_ours(tmp_path, cases):
    files = written(tmp_path, cases, strengths={"random": 0.3, "dino": 0.6})
    ours = compared(tmp_path, files)
    both = compared(tmp_path, files, method="published")
    of_study = [column for column in both if column.startswith("published")]
    pd.testing.assert_frame_equal(ours.drop(columns=of_study), both.drop(columns=of_study))
    assert ours[of_study].isna().all().all()
    effusion, mass, macro = (row(both, label=label) for label in ("Effusion", "Mass", "macro"))
    run = scored(cases, source="dino", seed=0, strength=0.6)
    once = run[run.label == "Effusion"]
    assert effusion.published_value == pytest.approx(roc_auc_score(once.target, once.score), abs=0.005)
    # what is called the spread of the mean is the spread of all labels' replicates together
    assert macro.published_value == pytest.approx((effusion.published_value + mass.published_value) / 2)
    apart = (effusion.published_value - mass.published_value) ** 2 / 4
    within = (effusion.published_sd**2 + mass.published_sd**2) / 2
    assert macro.published_sd == pytest.approx(np.sqrt(apart + within))
    # images instead of patients: too sure of itself
    single = row(compared(tmp_path, files[::2], seeds=(0,)), label="Effusion")
    assert effusion.published_sd < 0.95 * single.value_se


def test_chance_and_a_second_name_are_controls(tmp_path, cases):
    strengths = {"random": 0.6, "dino": 1.0, "random_again": 0.6, "dino_shuffled": 0.0}
    frame = compared(
        tmp_path,
        written(tmp_path, cases, strengths=strengths),
        sources=tuple(strengths),
        again={"random_again": "random"},
        shuffled=("dino_shuffled",),
        metrics=("auroc", "average_precision"),
    )
    pairs = frame[(frame.label == "macro") & (frame.metric == "auroc")].set_index("source").reference.to_dict()
    assert pairs == {"dino": "random", "random": "", "random_again": "random", "dino_shuffled": "chance"}
    shuffled = row(frame, source="dino_shuffled", metric="auroc")
    assert shuffled.reference_value == 0.5 and shuffled.difference == pytest.approx(shuffled.value - 0.5)
    assert shuffled.tested and shuffled.p > 0.05 and shuffled.difference_se == shuffled.value_se
    # average precision has no chance level
    assert row(frame, source="dino_shuffled", metric="average_precision").reference == ""


def test_a_margin_is_judged_from_its_own_side(tmp_path, cases):
    strengths = {"random": 0.6, "same": 0.6, "better": 1.5}
    files = written(tmp_path, cases, strengths=strengths, seeds=(0, 1, 2))
    plan = {"sources": tuple(strengths), "seeds": (0, 1, 2), "metrics": ("auroc", "average_precision")}
    wide = compared(tmp_path, files, margin=0.4, **plan)
    same, better = (row(wide, source=source, metric="auroc") for source in ("same", "better"))
    assert same.p_equivalent < 0.05 and same.p_noninferior <= same.p_equivalent
    assert better.p_noninferior < 1e-4
    assert same.difference_low < same.margin_low < same.margin_high < same.difference_high
    narrow = row(compared(tmp_path, files, margin=0.001, **plan), source="same", metric="auroc")
    assert narrow.p_equivalent > 0.05 and narrow.p > 0.05
    none = compared(tmp_path, files, **plan)
    assert none[["p_noninferior", "p_equivalent", "margin_low"]].isna().all().all()


def test_a_margin_without_any_variance_is_judged_by_the_replicates(tmp_path, cases):
    files = written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6, "again": 0.1})
    for file in files:
        worth = 0.0 if "random" in str(file) else 1.0
        changed(file, lambda frame, worth=worth: frame.assign(score=frame.target * worth))
    plan = {"sources": ("random", "dino", "again"), "margin": 0.01}
    frame = compared(tmp_path, files, reference="dino", **plan)
    same, worse = (row(frame, source=source) for source in ("again", "random"))
    assert same.p == 1 and same.p_equivalent == same.p_noninferior == pytest.approx(1 / 513)
    assert (same.margin_low, same.margin_high) == (0, 0)
    assert worse.p_noninferior == worse.p_equivalent == 1


def test_what_is_left_out_has_no_uncertainty_either(tmp_path):
    cases = cohort(patients=60, images=2, labels={**LABELS, "Hernia": 0.0})
    hernia = row(compared(tmp_path, written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6})), label="Hernia")
    assert np.isnan([hernia.value_se, hernia.difference_se, hernia.degrees_of_freedom, hernia.value_low]).all()


def test_one_bearing_patient_is_not_certain_by_delong(tmp_path):
    cases = cohort(patients=60, images=2, labels={**LABELS, "Hernia": 1 / 60})
    files = written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6}, seeds=(0,))
    hernia = row(compared(tmp_path, files, seeds=(0,), method="delong"), label="Hernia")
    assert not hernia.tested and np.isfinite(hernia.difference)
    assert np.isnan([hernia.value_se, hernia.difference_se, hernia.difference_low]).all()


def test_scores_that_are_no_probabilities_are_refused_by_file(tmp_path, cases):
    files = written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6})
    with pytest.raises(UserError, match=r"predictions\.parquet: the Brier score needs probabilities"):
        compared(tmp_path, files, metrics=("brier",))


def test_lower_is_better_for_an_error(tmp_path, cases):
    files = written(tmp_path, cases, strengths={"random": 0.0, "dino": 2.0})
    for file in files:
        changed(file, lambda frame: frame.assign(score=1 / (1 + np.exp(-4 * (frame.score - 1)))))
    found = row(compared(tmp_path, files, metrics=("brier",), margin=0.001))
    assert found.difference < 0 and found.superiority == 1 and found.effect > 0
    assert found.p_noninferior < 0.01 < 0.9 < found.p_equivalent


def test_few_patients_are_tested_with_caution_and_said(tmp_path, monkeypatch):
    cases = cohort(patients=60, images=2, labels={**LABELS, "Edema": 12 / 60})
    files = written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6}, seeds=(0, 1, 2))
    frame = compared(tmp_path, files, seeds=(0, 1, 2))
    edema = row(frame, label="Edema")
    assert edema.few and edema.tested and edema.degrees_of_freedom <= 11
    assert edema.note.startswith("few patients: 12 positive patients in test, t with 11 degrees of freedom at most")
    assert not row(frame, label="Effusion").few and not row(frame).few
    monkeypatch.setattr("headwater.evaluation.eligibility.FEW_POSITIVE", 10)
    bold = row(compared(tmp_path, files, seeds=(0, 1, 2)), label="Edema")
    assert not bold.few and bold.note == "" and bold.degrees_of_freedom >= edema.degrees_of_freedom


def test_where_nothing_varies_the_replicates_judge(tmp_path, cases):
    files = written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6})
    for file in files:
        worth = 1.0 if "dino" in str(file) else 0.0
        changed(file, lambda frame, worth=worth: frame.assign(score=frame.target * worth))
    found = row(compared(tmp_path, files))
    assert (found.difference, found.difference_se) == (0.5, 0.0)
    assert found.p == found.p_percentile == found.smallest_p


def test_values_and_replicates_belong_to_the_differences(tmp_path, cases):
    files = written(tmp_path, cases, strengths={"random": 0.3, "dino": 0.6}, seeds=(0, 1, 2))
    found = row(compared(tmp_path, files, seeds=(0, 1, 2)))
    values = VALUES.read(tmp_path / "values.parquet")
    assert len(values) == 2 * 3 * 3 and set(values.label) == {*LABELS, "macro"}
    means = values[values.label == "macro"].groupby("source").value.mean()
    assert means["dino"] - means["random"] == pytest.approx(found.difference)
    drawn = REPLICATES.read(tmp_path / "replicates.parquet")
    assert (drawn.replicate == np.arange(512)).all() and set(drawn.source) == {"dino"}
    assert drawn.difference.mean() == pytest.approx(found.difference, abs=0.02)


def test_a_metric_that_the_predictions_cannot_feed_is_refused(tmp_path, cases):
    files = written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6})
    with pytest.raises(
        UserError, match="dice needs target, true_positive, false_positive, false_negative, but predictions hold"
    ):
        compared(tmp_path, files, metrics=("dice",))


# refusals


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("score", np.nan, lambda frame: frame.index == 3), "1 scores are not finite, such as nan for case"),
        (put("score", np.inf, lambda frame: frame.index < 2), "2 scores are not finite, such as inf for case"),
        (put("target", 0.5, lambda frame: frame.index == 3), "is neither 0, 1 nor unknown"),
        (put("label", "macro", lambda frame: frame.label == "Mass"), "a label is called 'macro'"),
        (put("patient", "p00059", lambda frame: frame.index == 0), "belongs to two patients"),
        (put("dataset", "vindr", lambda frame: frame.index >= 0), "is about vindr, not chest"),
        (put("seed", 3, lambda frame: frame.index == 0), "holds 2 values of seed, not one"),
        (put("seed", 3, lambda frame: frame.index >= 0), "run dino/finetune/seed3 is not declared"),
        (put("source", "random", lambda frame: frame.index >= 0), "run random/finetune/seed1 is also in "),
        (lambda frame: frame.iloc[1:], "case 'c00000_0' has 1 of 2 labels"),
        (lambda frame: frame[frame.case != "c00007_1"], "case 'c00007_1' is only in "),
        (lambda frame: frame[frame.label != "Mass"], "label 'Mass' is only in "),
        (put("patient", "p00059", lambda frame: frame.case == "c00002_0"), "patient of case 'c00002_0' is 'p00002'"),
        (
            put("target", 1.0, lambda frame: (frame.case == "c00002_0") & (frame.label == "Mass")),
            "Mass of case 'c00002",
        ),
    ],
)
def test_predictions_that_do_not_fit_are_refused_by_file(tmp_path, cases, change, said):
    cases.loc[cases.case == "c00002_0", "Mass"] = 0.0
    files = written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6})
    changed(files[-1], change)
    with pytest.raises(UserError, match=r"predictions\.parquet") as refused:
        compared(tmp_path, files)
    assert said in str(refused.value) and "dino/finetune/seed1" in str(refused.value)


def test_runs_that_differ_are_named_both(tmp_path, cases):
    files = written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6})
    changed(files[2], lambda frame: frame[frame.case != "c00007_1"])
    with pytest.raises(UserError) as refused:
        compared(tmp_path, files)
    assert str(files[2]) in str(refused.value) and "differs from" in str(refused.value)


def test_a_case_that_stands_there_twice_is_refused(tmp_path, cases):
    files = written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6})
    frame = PREDICTIONS.read(files[0])
    pd.concat([frame, frame.iloc[:1]]).to_parquet(files[0], index=False)
    with pytest.raises(UserError, match=r"case, label \['c00000_0', 'Effusion'\] occurs more than once"):
        compared(tmp_path, files)


def test_a_missing_run_is_refused(tmp_path, cases):
    files = written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6})
    with pytest.raises(UserError, match="no predictions of run dino/finetune/seed1"):
        compared(tmp_path, files[:-1])


def test_curves_lead_from_corner_to_corner(tmp_path, cases):
    compared(tmp_path, written(tmp_path, cases, strengths={"random": 0.2, "dino": 0.6}))
    frame = CURVES.read(tmp_path / "curves.parquet")
    assert frame.groupby(["source", "seed", "label"]).ngroups == 8
    for _, curve in frame.groupby(["source", "seed", "label"]):
        points = curve[["false_positive_rate", "true_positive_rate"]].to_numpy()
        assert (points[0] == 0).all() and (points[-1] == 1).all() and (np.diff(points, axis=0) >= 0).all()


def test_a_label_without_positives_in_train_is_left_out(tmp_path, cases):
    files = written(tmp_path, cases, strengths={"random": 0.5, "dino": 1.0}, seeds=(0, 1))
    frame = compared(tmp_path, files, untaught=("Effusion",))
    untaught = row(frame, label="Effusion")
    assert untaught["note"].startswith("left out: no positive case in train")
    assert not untaught["tested"] and np.isnan(untaught["value"]) and np.isnan(untaught["p"])
    assert row(frame)["note"].startswith(f"mean of {len(LABELS) - 1} label")
