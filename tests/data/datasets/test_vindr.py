import csv
import math
import random

import numpy as np
import pandas as pd
import pytest

from archives_made import edit, make_vindr, picture, write_dicom
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.records import Choice
from headwater.data.datasets import vindr
from headwater.data.datasets.vindr import Options, label_files, read_cases, read_person, read_pixels
from headwater.data.index import CATALOGUE

TRAIN, TEST = "annotations/image_labels_train.csv", "annotations/image_labels_test.csv"


@pytest.fixture
def folder(tmp_path):
    return make_vindr(tmp_path / "archive")


def cases_of(folder, readers="majority"):
    return CATALOGUE.check(read_cases(folder, Options(readers=readers)))


def refusal_of(folder):
    with pytest.raises(UserError) as refused:
        read_cases(folder, Options())
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_catalogue(folder):
    cases = cases_of(folder)
    assert cases["split"].value_counts().to_dict() == {"train": 12, "test": 6}
    assert list(cases["patient"]) == list(cases["case"])
    assert cases["file"][0] == "train/train00.dicom"
    assert cases["age"].isna().all()
    assert [column.removeprefix("target:") for column in cases if column.startswith("target:")] == list(
        vindr.CARD.labels
    )
    assert len(vindr.CARD.labels) == 28
    assert not vindr.CARD.patients
    assert not vindr.CARD.hosted_logging


def test_most_of_three_readers_count_or_any(folder):
    def train(readers):
        cases = cases_of(folder, readers)
        return cases[cases["split"] == "train"]

    even = np.array([number % 2 == 0 for number in range(12)])
    np.testing.assert_array_equal(train("majority")["target:Pneumothorax"], even)
    np.testing.assert_array_equal(train("majority")["target:No finding"], ~even)
    assert (train("any")["target:Pneumothorax"] == 1).all()


def test_one_reader_counts_where_that_reader_has_read(folder):
    edit(folder / TRAIN, old="train03,R2", new="train03,R17")
    edit(folder / TRAIN, old="train04,R2", new="train04,R17")
    made = {readers: cases_of(folder, readers).set_index("case") for readers in ("majority", "R2", "R17")}
    targets = [column for column in made["R2"] if column.startswith("target:")]
    unread = {
        "R2": ["train03", "train04"],
        "R17": [case for case in made["R17"].index if case.startswith("train") and case not in ("train03", "train04")],
    }
    for reader in ("R2", "R17"):
        assert list(made[reader].index[made[reader][targets].isna().all(axis=1)]) == unread[reader]
        assert made[reader].drop(unread[reader])[targets].notna().all(axis=None)
    # the second reader agrees with most where a Pneumothorax is, and with nobody where there is none
    read = made["R2"].drop(unread["R2"])
    pd.testing.assert_frame_equal(read, made["majority"].loc[read.index])
    assert (made["R17"].loc[["train03", "train04"], "target:Pneumothorax"] == [0, 1]).all()
    for reader in ("R2", "R17"):
        others = made[reader].drop(columns=targets)
        pd.testing.assert_frame_equal(others, made["majority"].drop(columns=targets))
        test = made[reader]["split"] == "test"
        pd.testing.assert_frame_equal(made[reader][test], made["majority"][test])


def test_a_reader_who_is_not_there_is_refused(folder):
    with pytest.raises(UserError, match=r"train\.csv: has no reading by R12; did you mean 'R2'\?"):
        cases_of(folder, "R12")
    with pytest.raises(UserError, match=r"vindr\.readers: .*\(got 'R18'\); did you mean 'R\d+'\?"):
        registry.chosen("datasets", Choice(name="vindr", options={"readers": "R18"}))


def test_readers_are_joined_by_image_not_by_row(folder):
    expected = cases_of(folder).set_index("case")
    header, *lines = (folder / TRAIN).read_text().splitlines()
    random.Random(1).shuffle(lines)
    (folder / TRAIN).write_text("\n".join([header, *lines]) + "\n")
    pd.testing.assert_frame_equal(cases_of(folder).set_index("case").loc[expected.index], expected)


def test_columns_are_found_by_name(folder):
    expected = cases_of(folder)
    for name in (TRAIN, TEST):
        with (folder / name).open() as file:
            rows = list(csv.reader(file))
        order = list(range(len(rows[0])))
        random.Random(2).shuffle(order)
        (folder / name).write_text("\n".join(",".join(row[place] for place in order) for row in rows) + "\n")
    pd.testing.assert_frame_equal(cases_of(folder), expected)


def test_other_disease_in_the_singular(folder):
    header, first, *rest = (folder / TEST).read_text().splitlines()
    assert "Other disease," in header
    place = header.split(",").index("Other disease")
    cells = first.split(",")
    cells[place] = "1"
    (folder / TEST).write_text("\n".join([header, ",".join(cells), *rest]) + "\n")
    cases = cases_of(folder)
    assert list(cases.loc[cases["target:Other diseases"] == 1, "case"]) == ["test00"]


def test_pixels_and_person_come_from_the_dicom_file(folder):
    case = cases_of(folder).iloc[1].to_dict()
    assert read_pixels(folder, case).shape == (24, 20)
    assert read_person(folder, case) == {"sex": "M", "age": 45.0}
    (folder / case["file"]).unlink()
    with pytest.raises(UserError, match=r"train01\.dicom: is not there"):
        read_pixels(folder, case)


@pytest.mark.parametrize("name", [TRAIN, TEST])
def test_an_absent_label_file_is_refused(folder, name):
    (folder / name).unlink()
    assert f"{folder / name}: is not there" in refusal_of(folder)
    with pytest.raises(UserError, match="is not there"):
        label_files(folder, Options())


@pytest.mark.parametrize(
    ("name", "old", "new", "wanted"),
    [
        (TRAIN, "Lung cyst", "Lung Zyst", "no column 'Lung cyst'; did you mean 'Lung Zyst'?"),
        (TEST, "Other disease", "Others", "no column 'Other diseases' or 'Other disease'"),
        (TRAIN, "rad_id", "reader", "no column 'rad_id'"),
        (TRAIN, "train00,R2", "train00,R1", "train00 of R1 is listed more than once"),
        (TRAIN, "train00,R2", "train01,R4", "has 2 readings, not 3"),
        (TRAIN, "train00,R1,0", "train00,R1,2", "line 2 says '2' for 'Aortic enlargement'"),
        (TEST, "test00,0", "test00,", "line 2 has no Aortic enlargement"),
        (TEST, "test01", "test00", "test00 is listed more than once"),
        (TEST, "test00", "train00", "train00 is also in image_labels_train.csv"),
    ],
)
def test_broken_label_files_are_refused(folder, name, old, new, wanted):
    edit(folder / name, old=old, new=new)
    line = refusal_of(folder)
    assert str(folder / name) in line
    assert wanted in line


def test_an_age_that_is_absent_is_unknown(tmp_path):
    folder = make_vindr(tmp_path / "archive")
    write_dicom(folder / "train/train00.dicom", picture(0), PatientAge="")
    person = read_person(folder, {"file": "train/train00.dicom"})
    assert person["sex"] == ""
    assert math.isnan(person["age"])


def test_endings_in_capitals_are_found(folder):
    before = cases_of(folder)
    for place in (0, len(before) - 1):
        file = folder / before["file"][place]
        file.rename(file.with_suffix(".DICOM"))
    after = cases_of(folder)
    assert (after["file"] != before["file"]).tolist() == [True, *[False] * (len(before) - 2), True]
    assert all((folder / file).is_file() for file in after["file"])
