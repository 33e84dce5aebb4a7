"""Osteoarthritis Initiative: tables as releases write them, knees at visits, series as volumes, masks, leaks."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headwater.core.errors import UserError
from headwater.core.page import as_text
from headwater.data import integrity, volume_hash, volume_preparation
from headwater.data.cards import card
from headwater.data.datasets import oai
from headwater.data.datasets.oai import Options, label_files, labels, read_cases, read_mask, read_volume
from headwater.data.index import CATALOGUE
from headwater.data.io.nifti import read_nifti
from headwater.data.io.nifti_writing import write_volume
from headwater.data.io.volumes import refuse_other_grid
from headwater.data.store import CASES, REJECTS
from headwater.data.tables import TARGET, labels_of
from headwater.data.twins import oai as twins
from headwater.planning import preflight, table_checks
from headwater.stages.ledger import ledger
from headwater.stages.prepare_volumes import prepare_volumes
from headwater.study import config as study_config
from headwater.study.archive import Archive
from headwater.study.leaks import Leaks, Learned, Overlaps

EVERYTHING = ("cohort", "sex", "kl_grade", "osteoarthritis")
MASKS = "masks/{case}.nii.gz"
MASKED = Options(masks=MASKS, structures=twins.STRUCTURES)

SERIES = "0.E.1/9000001/20050101/10000001"
HEADER = "Folder,ParticipantID,StudyDate,Barcode,StudyDescription,SeriesDescription"
ROW = f"{SERIES},9000001,20050101,016610000001,OAI,SAG_3D_DESS_RIGHT"
PEOPLE = ("ID|V00SITE|P02SEX|P02RACE|V00COHORT", "9000001|A|2: Female|1: White|1: Progression")
GRADES = ("ID|SIDE|READPRJ|V00XRKL", "9000001|1: Right|15|2: 2")


@pytest.fixture(scope="module")
def twin(tmp_path_factory) -> Path:
    """Six participants at up to three visits; of the last one a slice of one knee and the folder of the other lack."""
    folder = tmp_path_factory.mktemp("twins") / "knees"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(twins, "LONE_FROM", 18)
        twins.make(folder, cases=18, seed=1, size=32)
    return folder


@pytest.fixture(scope="module")
def listed(twin) -> list[dict]:
    """The cases of its catalogue."""
    return read_cases(twin, Options()).to_dict("records")


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """The first four participants, at one visit each."""
    folder = tmp_path_factory.mktemp("small") / "knees"
    twins.make(folder, cases=8, seed=1, size=32)
    return folder


def archive(folder: Path, *rows: str, people=PEOPLE, grades=GRADES, contents="contents.0E1.csv") -> Path:
    """Tables without images."""
    (folder / contents).parent.mkdir(parents=True, exist_ok=True)
    for name, lines in (
        (contents, (HEADER, *(rows or (ROW,)))),
        ("Enrollees.txt", people),
        ("kxr_sq_bu00.txt", grades),
    ):
        if lines:
            (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def one(folder: Path, **options) -> dict:
    """The only case."""
    (case,) = CATALOGUE.check(read_cases(folder, Options(**options))).to_dict("records")
    return case


def told(case: dict) -> dict[str, float]:
    return {name.removeprefix(TARGET): value for name, value in case.items() if name.startswith(TARGET)}


# tables --------------------------------------------------------------------------------------------------------------


def test_a_case_is_a_knee_at_a_visit_and_the_participant_is_the_patient(twin):
    cases = CATALOGUE.check(read_cases(twin, Options(labels=EVERYTHING)))
    assert len(cases) == 18 and cases["case"].is_unique
    assert set(labels_of(cases)) == set(oai.CARD.labels)
    knees = cases["case"].str.extract(r"^(\d+)_\d{8}_SAG_3D_DESS_(RIGHT|LEFT)_\d{12}$")
    assert (knees[0] == cases["patient"]).all() and set(knees[1]) == {"RIGHT", "LEFT"}
    # participants 1, 2, 3 and 6 come once, 4 twice, 5 three times
    visits = cases.groupby("patient")["study"].nunique()
    assert visits.loc[["9000003", "9000004", "9000005"]].tolist() == [1, 2, 3]
    assert (cases.groupby("study").size() <= 2).all() and set(cases["study"].str[-3:]) == {"00m", "12m", "24m"}
    assert cases["age"].between(45, 82).all()
    of_participants = ["patient", *(TARGET + label for group in ("cohort", "sex") for label in oai.GROUPS[group])]
    assert not cases.drop_duplicates(of_participants).duplicated("patient").any()


def test_what_the_twin_was_made_of_is_what_is_read(twin):
    cases = read_cases(twin, Options(labels=EVERYTHING)).set_index("case")
    made = list(twins._series(cases=18, seed=1, first=1))
    assert set(cases.index) == {series.case for series in made}
    known = 0
    for series in made:
        case = cases.loc[series.case]
        assert case["target:" + series.who.cohort] == 1
        sex = case["target:Female"]
        assert np.isnan(sex) == (case["sex"] == "") == (series.who.number % twins.UNKNOWN_EVERY == 0)
        assert np.isnan(sex) or sex == (series.who.sex == "F")
        # no table of the visit at 24 months, and radiographs that were not graded
        unknown = series.number == 3 or series.who.number % twins.UNKNOWN_EVERY == 3
        assert np.isnan(case["target:KL 2"]) == unknown
        if not unknown:
            known += 1
            assert case[f"target:KL {series.grade}"] == 1 and case["target:Radiographic osteoarthritis"] == (
                series.grade >= 2
            )
            assert case[[f"target:KL {grade}" for grade in range(5)]].sum() == 1
    assert 10 < known < 18


CELLS = {
    "2: Female": 1, "2": 1, "2.0": 1, "1: Male": 0, "1": 0, "": None, ".": None, ".A": None,
    ".: Missing Form/Incomplete Workbook": None, ".A: Not Expected": None,
}  # fmt: skip


def of_each(folder: Path, count: int, **tables) -> list[dict]:
    """The cases of so many participants, numbered from 0."""
    rows = [ROW.replace("000001", f"{number:06d}") for number in range(count)]
    return read_cases(archive(folder, *rows, **tables), Options(labels=EVERYTHING)).to_dict("records")


def test_a_missing_value_is_unknown_however_it_is_written(tmp_path):
    people = [
        f"90000{number:02d}|A|{cell}|.: Missing Form/Incomplete Workbook|{cell}" for number, cell in enumerate(CELLS)
    ]
    cases = of_each(tmp_path, len(CELLS), people=(PEOPLE[0], *people))
    for case, (cell, female) in zip(cases, CELLS.items(), strict=True):
        values, cohort = told(case), {1: [0, 1, 0], 0: [1, 0, 0], None: [np.nan] * 3}[female]
        assert case["sex"] == {1: "F", 0: "M", None: ""}[female], cell
        np.testing.assert_array_equal(values["Female"], np.nan if female is None else female, err_msg=cell)
        np.testing.assert_array_equal([values[label] for label in oai.GROUPS["cohort"]], cohort, err_msg=cell)


def test_a_participant_that_is_not_enrolled_is_unknown(tmp_path):
    case = one(archive(tmp_path, people=(PEOPLE[0], "9000002|A|2: Female|1: White|1: Progression")))
    assert case["sex"] == case["site"] == "" and np.isnan(list(told(case).values())).all() and np.isnan(case["age"])


READINGS = [
    (["1: Right|15|2: 2"], 2),
    (["1|15|0"], 0),
    (["1.0|15.0|4.0"], 4),
    # another project counts only where project 15 did not read the knee
    (["1|37|1", "1|15|3"], 3),
    (["1|37|1", "1|15|.A: Not Expected"], 1),
    (["1|15|3", "1|15|3"], 3),
    (["1|15|3", "1|15|2"], None),
    (["2: Left|15|3"], None),
    (["1|15|.: Missing Form/Incomplete Workbook"], None),
    (["1|15|"], None),
]


def test_the_grade_is_that_of_the_knee_in_one_reading(tmp_path):
    rows = [f"90000{number:02d}|{row}" for number, (rows, _) in enumerate(READINGS) for row in rows]
    cases = of_each(tmp_path, len(READINGS), grades=(GRADES[0], *rows))
    for case, (rows, grade) in zip(cases, READINGS, strict=True):
        expected = [np.nan] * 6 if grade is None else [*(float(grade == kl) for kl in range(5)), float(grade >= 2)]
        np.testing.assert_array_equal(list(told(case).values())[-6:], expected, err_msg=str(rows))


def test_grades_are_of_a_visit(tmp_path):
    later = ROW.replace("0.E.1", "1.E.1").replace("016610000001", "016611000001")
    folder = archive(tmp_path, ROW, later)
    cases = read_cases(folder, Options(labels=("osteoarthritis", "cohort")))
    np.testing.assert_array_equal(cases["target:Radiographic osteoarthritis"], [1, np.nan])
    assert cases["target:Progression"].tolist() == [1, 1]
    (folder / "KXR_SQ_BU01.TXT").write_text("id|side|v01xrkl\n9000001|1|1\n")
    cases = read_cases(folder, Options(labels=("osteoarthritis",)))
    assert cases["target:Radiographic osteoarthritis"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("contents", "listed", "lies"),
    [
        ("contents.0E1.csv", "0.E.1/9000001/20050101/10000001", "00m/0.E.1/9000001/20050101/10000001"),
        ("contents.0E1.csv", "00m/0.E.1/9000001/20050101/10000001", "00m/0.E.1/9000001/20050101/10000001"),
        ("00m/contents.0E1.csv", "0.E.1/9000001/20050101/10000001", "00m/0.E.1/9000001/20050101/10000001"),
        ("00m/0.E.1/contents.csv", "0.E.1/9000001/20050101/10000001", "00m/0.E.1/9000001/20050101/10000001"),
        ("00m/0.E.1/Contents.CSV", "9000001\\20050101\\10000001", "00m/0.E.1/9000001/20050101/10000001"),
        ("contents_00m.csv", "/9000001/20050101/10000001/", "00m/9000001/20050101/10000001"),
        ("tables/contents.0E1.csv", "0.E.1/9000001/20050101/10000001", "0.E.1/9000001/20050101/10000001"),
    ],
)
def test_series_are_found_wherever_the_paths_of_the_table_begin(tmp_path, contents, listed, lies):
    (tmp_path / lies).mkdir(parents=True)
    for name in ("002", "001", "._001"):
        (tmp_path / lies / name).write_bytes(b"")
    case = one(archive(tmp_path, f"{listed},9000001,20050101,016610000001,OAI,SAG_3D_DESS_RIGHT", contents=contents))
    assert case["file"] == f"{lies}/001" and case["study"] == "9000001/00m"


def test_columns_and_tables_are_found_in_any_capitals_and_in_folders_of_their_own(tmp_path):
    (tmp_path / "General_ASCII").mkdir()
    folder = archive(tmp_path, people=(), grades=())
    (folder / "General_ASCII" / "ENROLLEES.TXT").write_text("id|v00site|p02sex|V00Cohort\n9000001|B|1|2\n")
    (folder / "General_ASCII" / "allclinical00.txt").write_text("id|v00age\n9000001|61\n")
    file = folder / "contents.0E1.csv"
    file.write_text(file.read_text().replace(HEADER, HEADER.upper()))
    case = one(folder)
    assert (case["site"], case["sex"], case["age"], told(case)["Incidence"]) == ("B", "M", 61, 1)


def test_a_series_that_is_listed_twice_is_one_case(tmp_path):
    again = ROW.replace("0.E.1", "0.C.2")
    rows = ROW, ROW, again, again.replace("016610000001", "16610000001"), ROW.replace("RIGHT", "right")
    assert one(archive(tmp_path, *rows))["file"] == SERIES


def test_a_series_without_a_barcode_is_named_by_its_folder(tmp_path):
    plain = ROW.replace("016610000001", "")
    rows = plain, plain.replace("/", "\\").replace("00001,", "00002,", 1)
    cases = read_cases(archive(tmp_path, *rows), Options())
    assert cases["case"].str[-9:].tolist() == ["_10000001", "_10000002"]


def test_series_and_visits_are_chosen(tmp_path):
    rows = [
        f"{visit}.E.1/9000001/20050101/1000000{place},9000001,20050101,01661000000{place},OAI,{series}"
        for place, (visit, series) in enumerate(
            [(0, "SAG_3D_DESS_LEFT"), (0, "COR_IW_TSE_LEFT"), (3, "sag_3d_dess_right"), (2, "SAG_3D_DESS_LEFT")]
        )
    ]
    folder = archive(tmp_path, *rows)
    studies = {
        "months": [study[-3:] for study in read_cases(folder, Options())["study"]],
        "chosen": [study[-3:] for study in read_cases(folder, Options(visits=(18, 0)))["study"]],
        "both": [study[-3:] for study in read_cases(folder, Options(series=("cor_iw_tse", "SAG_3D_DESS")))["study"]],
    }
    assert studies == {"months": ["00m", "24m", "18m"], "chosen": ["00m", "18m"], "both": ["00m", "00m", "24m", "18m"]}
    with pytest.raises(UserError, match=r"lists no series 'SAG_3D_DES'; did you mean 'SAG_3D_DESS'"):
        read_cases(folder, Options(series=("SAG_3D_DES",)))
    with pytest.raises(UserError, match="lists no series of the visit at 96 months; visits are 0, 18, 24"):
        read_cases(folder, Options(visits=(0, 96)))


def test_a_misspelt_series_of_large_tables_is_told_in_the_plan(tmp_path, monkeypatch):
    monkeypatch.setattr(table_checks, "LARGEST", 10)
    # the last of many rows alone names the second kind, so that a sample would not do
    rows = [ROW.replace("016610000001", f"{16610000000 + at:012d}") for at in range(3 * table_checks.ROWS)]
    folder = archive(tmp_path, *rows, ROW.replace("SAG_3D_DESS_RIGHT", "cor_iw_tse_left"))

    def mistakes(series):
        chosen = Archive(name="knees", kind={"name": "oai", "series": series}, folder=str(folder), size=16)
        return table_checks.examined(chosen, results=str(tmp_path / "results")).mistakes

    assert mistakes(["SAG_3D_DESS", "COR_IW_TSE"]) == ()
    (said,) = mistakes(["SAG_3D_DESS", "COR_IW_TES"])
    assert said.startswith("archives.knees: ") and "lists no series 'COR_IW_TES'; did you mean 'COR_IW_TSE'?" in said


BAD = {
    "no contents": ({"contents": "series.csv"}, {}, r"has no contents\.\*\.csv"),
    "no participants": ({"people": ()}, {}, r"Enrollees\.txt: is not there; fetch it with the clinical data"),
    "no grades": ({"grades": ()}, {"labels": ("kl_grade",)}, r"kxr_sq_bu00\.txt: is not there"),
    "no column": ({"people": ("ID|P02SEX", "9000001|1")}, {}, r"Enrollees\.txt: has no column 'V00COHORT'"),
    "a cohort": ({"people": (PEOPLE[0], "9000001|A|1|1|7: Other")}, {}, "line 2 says '7' for 'cohort'; 1, 2 or 3"),
    "a sex": ({"people": (PEOPLE[0], "9000001|A|female|1|1")}, {}, "line 2 says 'female' for 'sex'; 1: Male or 2"),
    "twice": ({"people": (*PEOPLE, "9000001|A|1|1|1")}, {}, "9000001 is listed more than once"),
    "a grade": (
        {"grades": (GRADES[0], "9000001|1|15|5")}, {"labels": ("kl_grade",)}, "line 2 says '5' for 'grade'; 0 to 4",
    ),
    "a side": (
        {"grades": (GRADES[0], "9000001|3|15|2")}, {"labels": ("osteoarthritis",)}, "line 2 says '3' for 'side'",
    ),
    "no visit": (
        {"rows": [ROW.replace("0.E.1", "knees")], "contents": "contents.csv"}, {}, "line 2 is of no visit that is",
    ),
    "an unknown visit": ({"rows": [ROW.replace("0.E.1", "7.E.1")], "contents": "contents.csv"}, {}, "is of no visit"),
    "outside": ({"rows": [ROW.replace("0.E.1", "../0.E.1")]}, {}, "line 2 names a folder outside of the archive"),
    "no structures": ({}, {"masks": MASKS}, "oai.structures: missing, but masks is given; give both, or neither"),
    "no masks": ({}, {"structures": ("a",)}, "oai.masks: missing, but structures is given"),
    "a placeholder": ({}, {"masks": "{sides}.nii", "structures": ("a",)}, "for {sides}; did you mean 'side'"),
    "an attribute": ({}, {"masks": "{case.x}.nii", "structures": ("a",)}, r"nothing is known for {case\.x}"),
    "a brace": ({}, {"masks": "{case.nii", "structures": ("a",)}, "oai.masks: expected '}' before end of string"),
    "absent masks": ({}, {"masks": MASKS, "structures": ("a",)}, "no listed series has a mask, such as masks/9000001_"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_in_tables_or_options_is_refused_and_told_before_any_job(tmp_path, name):
    tables, options, said = BAD[name]
    folder = archive(tmp_path, *tables.pop("rows", []), **tables) if tables or options else None
    with pytest.raises(UserError, match=said):
        read_cases(folder, Options(**options))
    planned = Archive(name="knees", kind={"name": "oai", **options}, folder=str(folder))
    (line,) = table_checks.examined(planned, results=str(tmp_path / "results")).mistakes
    assert line.startswith("archives.knees: ") and "\n" not in line


def test_a_column_of_a_large_table_is_missed_too(tmp_path, monkeypatch):
    monkeypatch.setattr(table_checks, "LARGEST", 0)
    folder = archive(tmp_path, people=("ID|P02SEX", "9000001|1"))
    planned = Archive(name="knees", kind="oai", folder=str(folder))
    (line,) = table_checks.examined(planned, results=str(tmp_path / "results")).mistakes
    assert "has no column 'V00COHORT'" in line


def test_the_card_is_that_of_the_options():
    planned = Archive(name="knees", kind={"name": "oai", "labels": ["sex"], "masks": MASKS, "structures": ["a"]})
    assert card(planned).labels == ("Female", "a") and card(planned).structures == ("a",)
    assert not card(planned).hosted_logging and card(planned).patients and card(planned).ndim == 3
    assert labels(Path(), Options(labels=())) == ()


def test_labels_and_structures_that_the_options_ask_for_can_be_named_in_a_study(small):
    kind = {"name": "oai", "labels": ["sex"], "masks": MASKS, "structures": list(twins.STRUCTURES)}
    training = {"steps": 2, "batch": 2}
    content = {
        "seeds": [0],
        "backbone": "monai/segresnet",
        "archives": {"knees": {"kind": kind, "folder": str(small), "size": 16}},
        "sources": {"random": {}, "again": {"backbone": "monai/segresnet_ds_small"}},
        "datasets": {"knees": {"labels": ["Female", "Patellar cartilage"]}},
        "recipes": {"finetune": {"training": training}},
        "comparison": {"reference": "random"},
    }
    assert preflight.mistakes(study_config.load(content)) == []
    content["datasets"]["knees"]["labels"] = ["Female", "KL 2"]
    (said,) = preflight.mistakes(study_config.load(content))
    assert said.startswith("datasets.knees.labels: knees has no 'KL 2'; ")


# images and masks ----------------------------------------------------------------------------------------------------


def test_every_series_is_a_sagittal_volume_on_the_grid_of_its_mask(twin):
    masked = read_cases(twin, MASKED)
    assert set(masked["study"].str[-3:]) == {"00m", "12m"} and len(masked) < len(read_cases(twin, Options()))
    kept = read_cases(twin, MASKED.model_copy(update={"unlabelled": "kept"}))
    assert len(kept) == 18 and kept[[TARGET + name for name in twins.STRUCTURES]].isna().all(axis=None)
    for case in masked.to_dict("records")[:6]:
        volume, mask = read_volume(twin, case, MASKED), read_mask(twin, case, MASKED)
        assert volume.orientation[0] in "RL" and mask.orientation != volume.orientation
        refuse_other_grid(mask, image=volume, file=Path("mask"))
        seen, outline = volume.turned("RAS"), mask.turned("RAS")
        assert outline.voxels.dtype == np.uint8 and set(np.unique(outline.voxels)) == set(range(7))
        around = np.median(seen.voxels[outline.voxels == 0])
        bright, dark = (np.isin(outline.voxels, values) for values in ((1, 2, 3, 4), (5, 6)))
        assert np.median(seen.voxels[bright]) > 1.3 * around > 4 * np.median(seen.voxels[dark])
        # the lateral side of a right knee is to the right
        lateral, medial = (np.argwhere(outline.voxels == value)[:, 0].mean() for value in (2, 3))
        assert (lateral > medial) == ("RIGHT" in case["case"])
    assert read_mask(twin, kept[kept["study"].str.endswith("24m")].iloc[0], MASKED) is None
    assert read_mask(twin, kept.iloc[0], Options()) is None


def test_a_series_and_the_same_knee_as_nifti_are_prepared_alike(twin, tmp_path):
    case = read_cases(twin, MASKED).to_dict("records")[0]
    volume, mask = read_volume(twin, case, MASKED), read_mask(twin, case, MASKED)
    work = volume_preparation.Work("oai", str(twin), twins.STRUCTURES, hounsfield=False)
    expected = volume_preparation.prepared(volume.turned("RAS"), mask.turned("RAS"), work=work, case="knee")
    assert expected.stored.shape == (13, 32, 32) and expected.ceiling == [1.0] * 6
    # as converters write it, and the other way round
    for number, to in enumerate(("RAS", "ALI")):
        stored = [one.turned(to) for one in (volume, mask)]
        affine = np.diag([-1, -1, 1, 1]) @ stored[0].affine
        for name, of, kind in (("image", stored[0], "<f4"), ("mask", stored[1], "u1")):
            write_volume(of.voxels.astype(kind), tmp_path / f"{name}{number}.nii.gz", affine=affine)
        image, outline = (read_nifti(tmp_path / f"{name}{number}.nii.gz") for name in ("image", "mask"))
        outline = outline._replace(voxels=outline.voxels.astype(np.uint8))
        refuse_other_grid(outline, image=volume, file=Path("mask"))
        found = volume_preparation.prepared(image.turned("RAS"), outline.turned("RAS"), work=work, case="knee")
        for name in ("stored", "mask", "reference", "hash"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_values_of_masks_that_stand_for_nothing_are_refused(twin):
    case = read_cases(twin, MASKED).to_dict("records")[0]
    with pytest.raises(
        UserError, match="has values that stand for no structure, such as 6; values are 0 and 1, 2, 3, 4, 5"
    ):
        read_mask(twin, case, Options(masks=MASKS, structures=twins.STRUCTURES[:5]))


def test_masks_are_found_by_participant_side_and_visit(twin, tmp_path):
    (case,) = read_cases(twin, MASKED).to_dict("records")[3:4]
    assert case["case"].startswith("9000002_") and "LEFT" in case["case"]
    options = Options(
        masks=str(tmp_path / "{participant}-{visit}-{side}-{series}-{barcode}-{date}.nii.gz"),
        structures=twins.STRUCTURES,
    )
    _, date, *_, barcode = case["case"].split("_")
    file = tmp_path / f"9000002-00m-left-SAG_3D_DESS_LEFT-{barcode}-{date}.nii.gz"
    shutil.copy(twin / MASKS.format(case=case["case"]), file)
    assert read_cases(twin, options)["case"].tolist() == [case["case"]]
    np.testing.assert_array_equal(read_mask(twin, case, options).voxels, read_mask(twin, case, MASKED).voxels)
    shutil.copy(file, tmp_path / "9000002.nii.gz")
    with pytest.raises(UserError, match=r"several series have the same mask, .*9000002\.nii\.gz; tell them apart"):
        read_cases(twin, Options(masks=str(tmp_path / "{participant}.nii.gz"), structures=twins.STRUCTURES))


@pytest.fixture
def knee(twin, listed, tmp_path) -> tuple[Path, dict]:
    """A copy of one series, and its case."""
    case = listed[0]
    place = Path(case["file"]).parent
    shutil.copytree(twin / place, tmp_path / place)
    return tmp_path / place, case | {"file": f"{place}/001"}


def cut_off(place: Path) -> None:
    (place / "005").write_bytes((place / "005").read_bytes()[:300])


def empty(place: Path) -> None:
    shutil.rmtree(place)
    place.mkdir()


def packed(place: Path) -> None:
    shutil.rmtree(place)
    place.with_name(f"{place.name}.tar.gz").write_bytes(b"")


WRONG = {
    "gap": (lambda place: twins.middle_of(place).unlink(), "is followed by a gap", "slices at uneven distances"),
    "cut off": (cut_off, "005: ", "has files that are no slices"),
    "note": (lambda place: (place / "notes.txt").write_text("left knee"), "notes.txt", "has files that are no slices"),
    "one slice": (
        lambda place: [file.unlink() for file in place.iterdir() if file.name != "001"],
        "is the only slice of its series", "cannot be read",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_series_that_is_not_whole_is_refused(knee, tmp_path, name):
    place, case = knee
    change, said, kind = WRONG[name]
    change(place)
    with pytest.raises(UserError) as refused:
        read_volume(tmp_path, case, Options())
    assert said in str(refused.value) and kind in refused.value.kind


def test_two_series_in_one_folder_are_refused(twin, listed, knee, tmp_path):
    place, case = knee
    other = twin / listed[1]["file"]
    for file in other.parent.iterdir():
        shutil.copy(file, place / f"{file.name}b")
    with pytest.raises(UserError, match="holds 2 series, not one"):
        read_volume(tmp_path, case, Options())


def test_what_lies_beside_the_slices_on_other_systems_is_passed_over(knee, tmp_path):
    place, case = knee
    expected = read_volume(tmp_path, case, Options())
    (place / ".DS_Store").write_bytes(b"Bud1")
    (place / "._001").write_bytes(b"left by macOS")
    shutil.copy(place / "002", place / "002 copy")
    np.testing.assert_array_equal(read_volume(tmp_path, case, Options()).voxels, expected.voxels)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (shutil.rmtree, "is not there; fetch it again"),
        (empty, "is an empty folder; fetch it again"),
        (packed, r"is not there; unpack \d{8}\.tar\.gz"),
    ],
    ids=["absent", "empty", "packed"],
)
def test_a_listed_folder_without_a_series_is_refused_by_reason(knee, tmp_path, change, said):
    place, case = knee
    change(place)
    with pytest.raises(UserError, match=said):
        read_volume(tmp_path, case | {"file": str(place.relative_to(tmp_path))}, Options())


# preparation and leaks -----------------------------------------------------------------------------------------------


def products(folder: Path) -> dict[str, Path]:
    folder.mkdir(parents=True)
    files = {name: folder / f"{name}.parquet" for name in ("cases", "rejects", "labels", "ceilings")}
    files |= {name: folder / f"{name}.npy" for name in ("images", "masks", "references", "hashes")}
    return files | {"split": folder / "split.json"}


@pytest.fixture(scope="module")
def prepared(twin, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("prepared") / "knees"
    planned = Archive(name="knees", kind="oai", folder=str(twin), size=16, rejects=0.12, validation=0.2, test=0.3)
    prepare_volumes(archive=planned, workers=0, **products(place))
    return place


def test_series_that_cannot_be_used_are_rejected_by_reason(prepared, twin):
    rejects = REJECTS.read(prepared / "rejects.parquet")
    last = [series.case for series in twins._series(cases=18, seed=1, first=1)][-2:]
    assert rejects.set_index("case")["kind"].to_dict() == dict(
        zip(last, ("slices at uneven distances", "is not there"), strict=True)
    )
    assert len(CASES.read(prepared / "cases.parquet")) == 16


def test_both_knees_and_all_visits_of_a_participant_are_in_one_split(prepared):
    cases = CASES.read(prepared / "cases.parquet")
    assert not cases.drop_duplicates(["patient", "split"]).duplicated("patient").any()
    assert set(cases["split"]) == {"train", "validation", "test"} and cases.groupby("patient").size().max() == 6


def test_the_signs_of_cohort_and_sex_can_be_seen(twin):
    made = {series.case: series for series in twins._series(cases=18, seed=1, first=1)}
    thin, wide = {}, {}
    for case in read_cases(twin, MASKED.model_copy(update={"visits": (0,)})).to_dict("records"):
        outline, who = read_mask(twin, case, MASKED).turned("RAS").voxels, made[case["case"]].who
        tibial = np.isin(outline, (2, 3))
        thin.setdefault(who.cohort, []).append(tibial.sum() / tibial.any(axis=2).sum())
        wide.setdefault(who.sex, []).append(tibial.any(axis=2).sum())
    thick = [np.mean(thin[cohort]) for cohort in ("Progression", "Incidence", "Non-exposed control group")]
    assert thick == sorted(thick) and thick[2] > 1.3 * thick[0] and min(wide["M"]) > max(wide["F"])


TESTED = "9000005"
"""A participant at three visits."""


def part_of(prepared: Path, place: Path, *, split: str, keep, change=None) -> None:
    """Some prepared cases, all of one split, as an archive of their own."""
    cases = CASES.read(prepared / "cases.parquet")
    chosen = cases[keep(cases)]
    words = np.load(prepared / "hashes.npy")[chosen["row"].to_numpy()]
    frame = chosen.reset_index(drop=True).assign(split=split, row=range(len(chosen)))
    if change:
        frame, words = change(frame, words)
    place.mkdir()
    CASES.write(frame, place / "cases.parquet")
    np.save(place / "hashes.npy", words)


def learned(*, numbering: str = "oai") -> Overlaps:
    """What the ledger is told of a corpus and a tested archive."""
    parts = (
        Learned(archive="corpus", splits=("train",), numbering=numbering),
        Learned(archive="tested", splits=("test",), numbering="oai"),
    )
    return Overlaps(leaks=Leaks(), archives=parts)


def write_ledger(folder: Path, overlaps: Overlaps) -> None:
    """The ledger of the archives below a folder."""
    files = {
        kind: [folder / part.archive / f"{kind}.{end}" for part in overlaps.archives]
        for kind, end in (("cases", "parquet"), ("hashes", "npy"))
    }
    ledger(overlaps=overlaps, ledger=folder / "ledger.parquet", readable=folder / "ledger.csv", **files)


def as_a_stranger(frame: pd.DataFrame, words: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """Under other numbers, as in somebody's copy."""
    return frame.assign(patient="p1", study="p1/s1"), words


@pytest.fixture
def rescaled(twin, listed):
    """The first knee in other units and noisy, under other numbers."""
    (case,) = (row for row in listed if is_knee(row, "RIGHT", "00m"))
    values = read_volume(twin, case, Options()).turned("RAS").voxels
    copy = (3.7 * values + np.random.default_rng(0).normal(0, 5, values.shape)).astype(np.float32)
    return lambda frame, words: (
        frame.assign(patient="p1", study="p1/s1", pixels="another"),
        volume_hash.every(copy)[None],
    )


def is_knee(row, side: str, visit: str) -> bool:
    return row["patient"] == TESTED and side in row["case"] and row["study"].endswith(visit)


LEAKS = {
    "the other knee at the same visit": ("LEFT", "00m", None, "oai", {"patients", "studies"}),
    "the same knee at another visit": ("RIGHT", "12m", None, "oai", {"patients"}),
    "the other knee at another visit": ("LEFT", "24m", None, "oai", {"patients"}),
    "the same knee under another number": ("RIGHT", "00m", as_a_stranger, "hospital", {"identical"}),
    "the same knee in other units": ("RIGHT", "00m", "rescaled", "hospital", {"near-identical"}),
}


@pytest.mark.parametrize("name", LEAKS)
def test_the_ledger_stops_a_grid_that_learns_from_a_participant_who_is_tested(prepared, rescaled, tmp_path, name):
    side, visit, change, numbering, kinds = LEAKS[name]
    change = rescaled if change == "rescaled" else change
    keep = {
        "corpus": lambda cases: cases.apply(is_knee, axis=1, args=(side, visit)),
        "tested": lambda cases: cases.apply(is_knee, axis=1, args=("RIGHT", "00m")),
    }
    part_of(prepared, tmp_path / "corpus", split="train", keep=keep["corpus"], change=change)
    part_of(prepared, tmp_path / "tested", split="test", keep=keep["tested"])
    with pytest.raises(UserError, match="corpus train and tested test share"):
        write_ledger(tmp_path, learned(numbering=numbering))
    found = pd.read_csv(tmp_path / "private" / "leaks.csv", dtype=str)
    assert set(found["kind"]) == kinds and not (tmp_path / "ledger.parquet").exists()


def test_knees_of_different_participants_are_no_leak(prepared, tmp_path):
    part_of(prepared, tmp_path / "corpus", split="train", keep=lambda cases: cases["patient"] != TESTED)
    part_of(prepared, tmp_path / "tested", split="test", keep=lambda cases: cases["patient"] == TESTED)
    write_ledger(tmp_path, learned())
    assert (tmp_path / "ledger.parquet").is_file()


def test_two_archives_of_a_config_share_the_participants_whatever_their_options(prepared, tmp_path):
    kinds = {"corpus": {"visits": [0], "labels": []}, "tested": {"visits": [12], "labels": ["sex"]}}
    archives = {name: {"kind": {"name": "oai", **kind}, "folder": name, "size": 16} for name, kind in kinds.items()}
    training = {"steps": 2, "batch": 2}
    config = {
        "seeds": [0],
        "backbone": "monai/segresnet",
        "archives": archives,
        "sources": {"random": {}, "simclr": {"method": "simclr", "corpus": "corpus", "training": training}},
        "datasets": {"tested": {"labels": ["Female"]}},
        "recipes": {"finetune": {"training": training}},
        "comparison": {"reference": "random"},
    }
    overlaps = study_config.load(config).grid().overlaps
    for name, split, visit in (("corpus", "train", "00m"), ("tested", "test", "12m")):
        part_of(prepared, tmp_path / name, split=split, keep=lambda cases, at=visit: cases["study"].str.endswith(at))
    with pytest.raises(
        UserError, match="corpus train and tested test share patients: 4 cases of 2 patients and 4 cases"
    ):
        write_ledger(tmp_path, overlaps)


# the twin and the doctor ---------------------------------------------------------------------------------------------


def test_the_same_arguments_make_the_same_files_and_participants_depend_on_their_number_only(twin, small, tmp_path):
    twins.make(tmp_path / "other", cases=8, seed=2, size=32)
    files = [file for file in small.rglob("*") if file.is_file() and file.suffix not in (".csv", ".txt", ".json")]
    assert len(files) == 8 * (13 + 1)
    for file in files:
        name = file.relative_to(small)
        assert file.read_bytes() == (twin / name).read_bytes()
        assert file.read_bytes() != (tmp_path / "other" / name).read_bytes()
    assert set(read_cases(small, Options())["case"]) < set(read_cases(twin, Options())["case"])
    later = [series.case for series in twins._series(cases=8, seed=1, first=4)]
    assert {case[:7] for case in later} == {"9000004", "9000005"}
    assert set(later) < {series.case for series in twins._series(cases=18, seed=1, first=1)}


def page(folder: Path, options: Options) -> tuple[int, str]:
    found = integrity.examine("oai", folder, options=options, workers=0)
    return found.code, as_text(integrity._page(found, listed=False))


def test_a_twin_of_knees_is_clean(small):
    code, text = page(small, MASKED.model_copy(update={"labels": EVERYTHING}))
    assert code == 0 and "0 errors, 0 warnings" in text and "9000" not in text
    assert "Voxels       13-13 x 32-32 x 32-32" in text and "Enrollees.txt: 4 rows" in text


def test_the_doctor_tells_of_series_that_are_not_there_or_not_whole(twin):
    code, text = page(twin, Options())
    assert code == 2 and "9000" not in text
    assert "listed images that are not on the disk: 1 of 18" in text
    assert "images of the sample that cannot be used: 1 of 17 (slices at uneven distances)" in " ".join(text.split())


def test_a_table_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match="is not there"):
        label_files(archive(tmp_path, people=()), Options())
