"""The table of the datasets' characteristics has the right numbers under the right headings."""

import numpy as np
import pandas as pd
import pytest

from headwater.core.records import Choice
from headwater.data.splits import digests
from headwater.reporting import cohort
from headwater.study.archive import Archive, Dataset, Twin
from headwater.study.comparison import Comparing
from headwater.study.grid import Grid
from headwater.study.recipe import Recipe, Training
from report_made import PATIENT_DATA, archive_cases


def grid(*datasets: Dataset, twin: bool = False) -> Grid:
    """A grid of nothing but datasets, each on an archive that bears its kind's name."""
    made = Twin(cases=80) if twin else None
    return Grid(
        archives=tuple(Archive(name=name, kind=name, twin=made) for name in {one.archive for one in datasets}),
        reductions={"everything": Choice(name="everything")},
        sources=(),
        datasets=datasets,
        recipes=(Recipe(name="finetune", training=Training(steps=1)),),
        seeds=(0,),
        comparing=Comparing(),
    )


CHEST = Dataset(name="chest", archive="chestxray14", labels=("Effusion", "Hernia"))


@pytest.fixture
def made():
    return cohort.table({"chestxray14": archive_cases(PATIENT_DATA)}, grid=grid(CHEST))


def number(table, characteristic, name="", split="test") -> pd.Series:
    rows = table.exact.set_index(["characteristic", "name", "split"])
    return rows.loc[(characteristic, name, split)]


def test_cases_and_patients_are_those_of_the_split(made):
    assert [number(made, "cases", split=split).value for split in ("all", "train", "test")] == [600, 400, 160]
    assert [number(made, "patients", split=split).value for split in ("all", "train", "test")] == [300, 200, 80]


def test_age_sex_and_projections_are_of_the_cases_that_tell(made):
    age, women, projection = (number(made, *key) for key in (("age",), ("women",), ("projection", "PA")))
    ages = np.repeat([60.0, 40.0], 40)
    assert (age.known, age.value) == (80, 50) and age.sd == pytest.approx(ages.std(ddof=1))
    assert (women.known, women.value) == (80, 80)
    assert (projection.cases, projection.value) == (160, 80)
    assert number(made, "projection", cohort.UNKNOWN_GROUP).value == 80


def test_labels_are_the_datasets_in_its_order(made):
    labels = made.exact.query("characteristic == 'label'")["name"].unique()
    assert list(labels) == ["Effusion", "Hernia"]
    assert number(made, "label", "Effusion").value == round(0.3 * 160) and number(made, "label", "Hernia").value == 0


def test_without_labels_all_of_the_archive_are_counted():
    cases = {"chestxray14": archive_cases(PATIENT_DATA)}
    found = cohort.table(cases, grid=grid(CHEST.model_copy(update={"labels": ()})))
    assert list(found.exact.query("characteristic == 'label'")["name"].unique()) == list(PATIENT_DATA)


def test_the_words_are_a_papers(made):
    shown = made.shown.set_index("Characteristic")
    assert list(made.shown.columns) == ["Dataset", "Characteristic", "All", "Train", "Validation", "Test"]
    assert shown.Test["Age in years, mean ± SD (known)"] == "50.0 ± 10.1 (50.0%)"
    assert shown.Test["Women, of known sex (known)"] == "100.0% (50.0%)"
    assert shown.Test["Projection PA"] == "80 (50.0%)" and shown.Test["Effusion"] == "48 (30.0%)"
    assert list(made.shown.Dataset) == ["chest"] + [""] * (len(made.shown) - 1)


def test_what_an_archive_does_not_tell_is_a_dash_and_unknown_labels_are_said():
    cases = archive_cases({"Effusion": 0.3, "Hernia": 0.0})
    cases[["age", "target:Hernia"]] = np.nan
    cases.loc[cases.split == "test", "target:Effusion"] = [1.0] * 10 + [0.0] * 30 + [np.nan] * 120
    shown = cohort.table({"chestxray14": cases}, grid=grid(CHEST)).shown.set_index("Characteristic")
    assert shown.Test["Age in years, mean ± SD (known)"] == "–" and shown.Test["Hernia"] == "–"
    assert shown.Test["Effusion"] == "10 (25.0%; 120 unknown)"


def test_a_projection_that_a_split_lacks_is_none_of_its_cases():
    cases = archive_cases({"Effusion": 0.3, "Hernia": 0.1})
    cases["view"] = (cases.split == "train").map({True: "AP", False: "PA"})
    found = cohort.table({"chestxray14": cases}, grid=grid(CHEST))
    assert number(found, "projection", "AP").value == 0 and number(found, "projection", "PA").value == 160


def test_patients_are_not_counted_where_the_archive_does_not_tell_them():
    vindr = Dataset(name="vindr", archive="vindr", labels=("Effusion",))
    found = cohort.table({"vindr": archive_cases(PATIENT_DATA)}, grid=grid(vindr))
    assert "patients" not in set(found.exact.characteristic) and "Patients" not in set(found.shown.Characteristic)
    said = cohort.footnotes({"vindr": archive_cases(PATIENT_DATA)}, grid=grid(vindr))
    assert "vindr: the archive does not tell which images belong to one patient." in said


def test_a_private_archive_and_a_twin_are_told_as_such():
    uka = Dataset(name="bedside", archive="uka_cxr")
    said = cohort.footnotes({"uka_cxr": archive_cases(PATIENT_DATA)}, grid=grid(uka))
    assert "bedside: synthetic schema of our own: the archive is private." in said
    assert cohort.warnings(grid(uka)) == []
    assert cohort.warnings(grid(uka, twin=True)) == ["Synthetic data: no clinical meaning (uka_cxr)."]


def test_two_datasets_on_one_archive_stand_below_each_other():
    other = CHEST.model_copy(update={"name": "few", "labels": ("Edema",)})
    found = cohort.table({"chestxray14": archive_cases(PATIENT_DATA)}, grid=grid(CHEST, other))
    assert [name for name in found.shown.Dataset if name] == ["chest", "few"]


def test_the_splits_are_told_by_their_digests():
    cases = archive_cases(PATIENT_DATA)
    *_, last = cohort.footnotes({"chestxray14": cases}, grid=grid(CHEST))
    found = digests(cases)
    assert last.startswith(f"chest: splits {found['all'][:12]} (train {found['train'][:12]}, ")
