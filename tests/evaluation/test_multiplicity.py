import numpy as np
import pytest

from headwater.core.errors import UserError
from headwater.data.tables import MACRO
from headwater.evaluation import multiplicity
from headwater.evaluation.statistics import corrections
from headwater.reporting import formatting, methods, prose, verdict
from headwater.stages.report import report
from report_made import changed, corrected, read, study

STRENGTHS = {"random": 0.3, "wild_dino": 1.4, "random_again": 1.2, "wild_dino_shuffled": 0.0}
CONTROLS = ("random_again", "wild_dino_shuffled")
WHERE = ["dataset", "metric", "recipe", "label", "source", "reference"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study in which the A/A control differs from its source, and the shuffled one guesses."""
    return study(
        tmp_path_factory.mktemp("study"), strengths=STRENGTHS, controls=CONTROLS, seeds=(0, 1, 2), resamples=256
    )


def test_controls_are_a_family_of_their_own(made):
    rows = corrected(made)
    of_controls = rows["source"].isin(CONTROLS)
    assert (rows["family"] == "control").equals(of_controls & (rows["label"] == MACRO) & rows["p"].notna())
    assert not rows.loc[of_controls, "family"].isin(["confirmatory", "exploratory"]).any()
    control = rows[rows["family"] == "control"]
    assert len(control) == 4 and set(control["reference"]) == {"random", "chance"}
    assert control["p_adjusted"].to_numpy() == pytest.approx(corrections.holm(control["p"].to_numpy()))
    assert (rows["family"] == "confirmatory").sum() == 2


def test_a_control_changes_no_other_adjusted_p(made):
    alone = corrected(made, rows=read(made, "comparisons").query("source not in @CONTROLS"))
    together = corrected(made).merge(alone, on=WHERE, suffixes=("", "_alone"))
    assert len(together) == len(alone) and together["p_adjusted"].equals(together["p_adjusted_alone"])


def test_what_stands_on_a_failed_control_is_marked_and_the_rest_is_not(made):
    rows = read(made, "comparisons")
    harmless = (rows["dataset"] == "vindr") & (rows["source"] == "random_again")
    rows.loc[harmless, "p"] = 0.6
    rows = corrected(made, rows=rows)
    chest = rows["dataset"] == "chest"
    assert rows.loc[chest, "controls"].str.fullmatch(r"failed: random_again, p [<0-9.]+").all()
    assert (rows.loc[~chest, "controls"] == "passed").all()
    shown = formatting.readable(rows, grid=made.grid)
    assert set(shown.loc[chest, "Dataset"]) == {"chest †"} and set(shown.loc[~chest, "Dataset"]) == {"vindr"}
    assert rows.loc[chest & (rows["family"] == "confirmatory"), "significant"].all()
    assert shown.loc[chest & (rows["family"] == "confirmatory"), "Adjusted p"].str.endswith(" *").all()


def test_a_study_without_controls_says_so(made):
    grid = made.grid.model_copy(update={"sources": made.grid.sources[:2]})
    kept = made.grid.model_copy(update={"sources": made.grid.sources[:2]})
    rows = read(made, "comparisons").query("source not in @CONTROLS")
    order = {name: [MACRO, *part["label"].unique()] for name, part in rows.groupby("dataset")}
    rows = multiplicity.corrected(rows, grid=grid, order=order, replicates=read(made, "replicates"))
    assert set(rows["controls"]) == {"none"}
    assert any("No control was run" in note for note in methods.notes(rows, grid=kept))
    untested = methods.notes(rows, grid=made.grid)
    assert any("The controls could not be judged" in note for note in untested)
    assert not any("No control was run" in note for note in untested)


@pytest.mark.parametrize(
    "name",
    [
        *("significance.md", "significance.tex", "significance.html", "macro.md", "macro.tex", "macro.html"),
        *("labelwise_chest.md", "labelwise_chest.tex", "labelwise_chest.html", "index.html", "summary.txt"),
    ],
)
def test_every_table_begins_with_the_warning_of_a_failed_control(made, reported, name):
    text = (reported / name).read_text()
    mark = r"$\dagger$" if name.endswith(".tex") else "†"
    warned = text.find("Do not rely on the numbers of chest, AUROC: the control random")
    assert 0 <= warned < text.find("0.0") and text.count(mark) >= 2
    assert "a control failed on this test set" in text[warned:]
    assert "_shuffled differs" not in text and r"\_shuffled differs" not in text


@pytest.fixture(scope="module")
def reported(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headwater.reporting.writing.draw", lambda study: {})
        report(**made.arguments(), folder=folder)
    return folder


def test_a_pivot_table_warns_of_its_own_dataset_only(reported):
    text = (reported / "labelwise_vindr.md").read_text()
    assert "numbers of vindr" in text and "numbers of chest" not in text


def test_max_t_takes_the_replicates_of_all_datasets_by_number(made):
    replicates = read(made, "replicates")
    first = (replicates["dataset"] == "chest") & (replicates["replicate"] == 7)
    replicates.loc[first, "difference"] = np.nan
    rows = corrected(made, replicates=replicates.sample(frac=1, random_state=0), correction="max_t")
    family = rows[rows["family"] == "confirmatory"]
    columns = [
        replicates.query("dataset == @row.dataset and source == @row.source and reference == @row.reference")
        for row in family.itertuples()
    ]
    drawn = np.column_stack([part.sort_values("replicate")["difference"] for part in columns])
    assert family["p_adjusted"].to_numpy() == pytest.approx(corrections.max_t(family["p"].to_numpy(), drawn))
    assert set(family["correction"]) == {"max-T"} and set(family["correction_resamples"]) == {255}
    assert set(rows.loc[rows["family"] == "control", "correction"]) == {"Holm"}
    notes = " ".join(methods.notes(rows, grid=changed(made.grid, correction="max_t")))
    assert "uses the 255 replicates" in notes and "1 were dropped" in notes


def test_max_t_without_replicates_is_refused(made):
    with pytest.raises(UserError, match="no replicates of wild_dino against random"):
        corrected(made, replicates=read(made, "replicates").query("dataset == 'chest'"), correction="max_t")


def test_equivalence_is_claimed_only_after_correction_over_the_family(made):
    rows = read(made, "comparisons")
    family = (rows["label"] == MACRO) & (rows["source"] == "wild_dino")
    rows.loc[family, ["p", "p_noninferior"]] = 0.9
    rows.loc[family, "p_equivalent"] = [0.03, 0.03]
    found = corrected(made, rows=rows, margin=0.01)
    found = found[found["family"] == "confirmatory"]
    assert found["p_equivalent_adjusted"].tolist() == pytest.approx([0.06, 0.06]) and not found["equivalent"].any()
    rows.loc[family, "p_equivalent"] = [0.01, 0.3]
    found = corrected(made, rows=rows, margin=0.01)
    grid = changed(made.grid, margin=0.01)
    shown = formatting.readable(found, grid=grid)["Equivalence p"]
    assert found.loc[shown.str.contains("equivalent within 0.01"), "p_equivalent"].tolist() == [0.01]
    claims = [line for line in verdict.claims(found, grid=grid) if "equivalent" in line]
    assert len(claims) == 1 and "wild_dino is equivalent to random within 0.01" in claims[0]


def test_no_margin_claims_no_equivalence(made):
    rows = corrected(made)
    assert not rows["equivalent"].any() and not rows["noninferior"].any()
    assert "Equivalence p" not in formatting.readable(rows, grid=made.grid)


@pytest.mark.parametrize(
    ("comparing", "seeds", "said"),
    [
        ({}, (0, 1, 2), "Obuchowski and Rockette (1995) with the degrees of freedom of Hillis (2007)"),
        ({}, (0, 1, 2), "Seeds are paired: seed k"),
        ({}, (0, 1), "Seeds are nested in their source (with two seeds"),
        ({"pairing": "nested"}, (0, 1, 2), "Seeds are nested in their source: they are not paired"),
        ({}, (0,), "training noise is not in it"),
        ({"method": "delong"}, (0,), "DeLong's method"),
        ({"method": "percentile"}, (0, 1, 2), "Intervals are percentiles of the replicates"),
        ({"method": "published"}, (1, 2), "one training for a source (here seed 1)"),
    ],
)
def test_the_notes_tell_how_it_was_done(made, comparing, seeds, said):
    grid = changed(made.grid, **comparing).model_copy(update={"seeds": seeds})
    assert said in " ".join(methods.notes(corrected(made), grid=grid))


def test_one_seed_is_the_first_thing_said(made):
    grid = made.grid.model_copy(update={"seeds": (0,)})
    assert any("training noise is not in it" in line for line in prose.warnings(corrected(made), grid=grid))
