import random

import numpy as np
import pandas as pd
import pytest

from archives_made import chexpert_cells, edit, make_chexpert, picture, write_picture
from headwater.core.errors import UserError
from headwater.data.datasets import chexpert
from headwater.data.datasets.chexpert import CARD, Options, label_files, read_cases, read_pixels
from headwater.data.index import CATALOGUE
from headwater.data.tables import TARGET

TARGETS = [TARGET + label for label in CARD.labels]


@pytest.fixture
def folder(tmp_path):
    return make_chexpert(tmp_path / "archive")


def cases_of(folder, **options):
    return CATALOGUE.check(read_cases(folder, Options(**options)))


def refusal_of(folder):
    with pytest.raises(UserError) as refused:
        read_cases(folder, Options())
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_catalogue(folder):
    cases = cases_of(folder)
    assert cases["split"].value_counts().to_dict() == {"train": 16, "validation": 6}
    first = cases.iloc[0]
    assert first["case"] == "train/patient00001/study1/view1_frontal"
    assert first["file"] == "train/patient00001/study1/view1_frontal.jpg"
    assert (first["patient"], first["study"], first["site"]) == ("patient00001", "patient00001/study1", "")
    assert (first["sex"], first["age"], first["view"]) == ("F", 61, "AP")
    assert cases["view"][1] == "Lateral"
    assert cases["patient"].nunique() == 11
    assert [column for column in cases if column.startswith(TARGET)] == TARGETS
    assert (len(TARGETS), CARD.patients, CARD.hosted_logging) == (14, True, False)
    assert read_pixels(folder, first.to_dict()).shape == (24, 20)
    assert [file.name for file in label_files(folder, Options())] == ["train.csv", "valid.csv"]


@pytest.mark.parametrize("prefix", ["CheXpert-v1.0-small/", "", "/", "data/my train/CheXpert/", "valid/"])
def test_paths_may_begin_with_anything(folder, tmp_path, prefix):
    other = make_chexpert(tmp_path / "other", prefix=prefix)
    pd.testing.assert_frame_equal(cases_of(other), cases_of(folder))


def test_columns_are_found_by_name(folder):
    expected = cases_of(folder)
    for name in ("train.csv", "valid.csv"):
        rows = [line.split(",") for line in (folder / name).read_text().splitlines()]
        order = list(range(len(rows[0])))
        random.Random(2).shuffle(order)
        (folder / name).write_text("\n".join(",".join(row[place] for place in order) for row in rows) + "\n")
    pd.testing.assert_frame_equal(cases_of(folder), expected)


def test_unknown_sex_age_zero_and_other_projections(folder):
    edit(folder / "train.csv", old="Female,61,Frontal,AP", new="Unknown,0,Frontal,LL")
    edit(folder / "train.csv", old="Male,62,Frontal,AP", new="Male,90,Frontal,RL")
    cases = cases_of(folder)
    assert (cases["sex"][0], cases["view"][0]) == ("", "LL")
    assert np.isnan(cases["age"][0])
    assert (cases["sex"][2], cases["age"][2], cases["view"][2]) == ("M", 90, "RL")


def said(case):
    """What the table says of a training image, by label."""
    return chexpert_cells(int(case.split("patient")[1][:5]))


@pytest.mark.parametrize("missing", ["negative", "ignored"])
@pytest.mark.parametrize("uncertain", ["negative", "positive", "ignored"])
def test_a_policy_changes_its_own_cells_only(folder, uncertain, missing):
    default, cases = cases_of(folder), cases_of(folder, uncertain=uncertain, missing=missing)
    pd.testing.assert_frame_equal(cases.drop(columns=TARGETS), default.drop(columns=TARGETS))
    taken = {"negative": 0.0, "positive": 1.0, "ignored": np.nan}
    values = {"1.0": 1.0, "0.0": 0.0, "-1.0": taken[uncertain], "": taken[missing]}
    train = cases["split"] == "train"
    for case, row in cases.loc[train].set_index("case")[TARGETS].iterrows():
        np.testing.assert_array_equal(row, [values[cell] for cell in said(case)])
    # radiologists leave nothing open
    pd.testing.assert_frame_equal(cases[~train], default[~train])


def test_whole_numbers_are_read_as_those_with_a_point(folder):
    expected = cases_of(folder, uncertain="ignored")
    text = (folder / "train.csv").read_text()
    (folder / "train.csv").write_text(text.replace("1.0,", "1,").replace("CheXpert-v1,", "CheXpert-v1.0,"))
    pd.testing.assert_frame_equal(cases_of(folder, uncertain="ignored"), expected)


@pytest.mark.parametrize("name", ["test.csv", "test_labels.csv"])
def test_the_test_set_is_read_where_its_table_is_there(folder, name):
    place = "test/patient64741/study1/view1_frontal.jpg"
    write_picture(folder / place, picture(1))
    header = ",".join(["Path", *reversed(CARD.labels)])
    (folder / name).write_text(f"{header}\nCheXpert/{place}," + ",".join(["1.0"] + ["0.0"] * 13) + "\n")
    cases = cases_of(folder)
    last = cases.iloc[-1]
    assert (last["split"], last["file"], last["sex"], last["view"]) == ("test", place, "", "Frontal")
    assert np.isnan(last["age"])
    assert [label for label in CARD.labels if last[TARGET + label] == 1] == ["Support Devices"]
    assert [file.name for file in label_files(folder, Options())] == ["train.csv", "valid.csv", name]
    assert read_pixels(folder, last.to_dict()).shape == (24, 20)


def test_images_that_no_table_names_are_left_alone_and_absent_ones_refused_when_read(folder):
    write_picture(folder / "train/patient00001/study9/view1_frontal.jpg", picture(1))
    cases = cases_of(folder)
    assert not cases["study"].str.endswith("study9").any()
    (folder / cases["file"][0]).unlink()
    with pytest.raises(UserError, match=r"view1_frontal\.jpg: is not there"):
        read_pixels(folder, cases.iloc[0].to_dict())


@pytest.mark.parametrize("name", ["train.csv", "valid.csv"])
def test_an_absent_table_is_refused(folder, name):
    (folder / name).unlink()
    assert f"{folder / name}: is not there; fetch it from Stanford" in refusal_of(folder)


def test_the_folder_above_is_told_from_the_right_one(folder):
    assert f"train.csv: is not there; did you mean {folder}?" in refusal_of(folder.parent)


@pytest.mark.parametrize(
    ("name", "old", "new", "wanted"),
    [
        ("train.csv", "Pleural Other", "Pleural Athor", "no column 'Pleural Other'; did you mean 'Pleural Athor'?"),
        ("train.csv", "Sex", "Gender", "no column 'Sex'"),
        ("valid.csv", "AP/PA", "APPA", "no column 'AP/PA'; did you mean 'APPA'?"),
        ("train.csv", "AP,0.0", "AP,2.0", "line 2 says '2.0' for 'No Finding'; 1.0, 0.0, -1.0 or nothing at all"),
        ("train.csv", "CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg", "", "line 2 has no path"),
        ("train.csv", "patient00001/study1/view1", "patient1", "line 2 has the path 'CheXpert-v1.0/train/patient1_"),
        (
            "train.csv",
            "CheXpert-v1.0/train/patient00001/study1/view1",
            "\nCheXpert-v1.0/train/patient1",
            "line 3 has the",
        ),
        ("train.csv", "view2_lateral", "view1_frontal", "view1_frontal.jpg is listed more than once (1 in all)"),
    ],
)
def test_broken_tables_are_refused(folder, name, old, new, wanted):
    edit(folder / name, old=old, new=new)
    line = refusal_of(folder)
    assert str(folder / name) in line
    assert wanted in line


def test_ages_of_adults_only():
    assert chexpert._age("18") == 18
    assert np.isnan(chexpert._age("0"))
    assert np.isnan(chexpert._age(""))
