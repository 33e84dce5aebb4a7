import numpy as np
import pandas as pd
import pytest

from archives_made import HEADER, SAMPLES, edit, make_chestxray14
from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.data.datasets import chestxray14
from headwater.data.datasets.chestxray14 import label_files, read_cases, read_pixels
from headwater.data.index import CATALOGUE

TABLE = "Data_Entry_2017_v2020.csv"


@pytest.fixture
def folder(tmp_path):
    return make_chestxray14(tmp_path / "archive")


def cases_of(folder):
    return CATALOGUE.check(read_cases(folder, Record()))


def refusal_of(folder):
    with pytest.raises(UserError) as refused:
        read_cases(folder, Record())
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_catalogue(folder):
    cases = cases_of(folder)
    assert len(cases) == 36
    assert [column.removeprefix("target:") for column in cases if column.startswith("target:")] == list(
        chestxray14.CARD.labels
    )
    sixth = cases[cases["patient"] == "6"].iloc[1]
    assert sixth["case"] == "00000006_001.png"
    assert (sixth["study"], sixth["site"]) == ("6/1", "")
    assert sixth["file"] == "images_001/images/00000006_001.png"
    assert (sixth["split"], sixth["sex"], sixth["age"], sixth["view"]) == ("train", "F", 41, "PA")
    named = {column for column in cases if column.startswith("target:") and sixth[column] == 1}
    assert named == {"target:Mass", "target:Effusion"}
    assert cases["split"].value_counts().to_dict() == {"train": 24, "test": 12}
    assert read_pixels(folder, sixth.to_dict()).shape == (24, 20)


def test_every_header_of_the_table_says_the_same(folder):
    expected = cases_of(folder)
    table = folder / TABLE
    text = table.read_text()
    commas = "".join(line + ",\n" for line in text.splitlines())
    quoted = text.replace("OriginalImage[Width,Height]", '"OriginalImage[Width","Height]"')
    columns = HEADER.split(",")
    order = ["Finding Labels", "Patient ID", "Follow-up #", "Image Index", "View Position", "Patient Gender"]
    moved = pd.read_csv(table, dtype=str)[[*order, "Patient Age"]].to_csv(index=False)
    assert len(columns) == 11
    for variant in (commas, text.replace("Patient Gender", "Patient Sex"), quoted, moved, "\ufeff" + text):
        table.write_text(variant, encoding="utf-8")
        pd.testing.assert_frame_equal(cases_of(folder), expected)
    table.rename(folder / "Data_Entry_2017.csv")
    pd.testing.assert_frame_equal(cases_of(folder), expected)


def test_a_table_without_visits_leaves_the_study_unknown(folder):
    expected = cases_of(folder)
    edit(folder / TABLE, old="Follow-up #", new="Visit")
    pd.testing.assert_frame_equal(cases_of(folder), expected.assign(study=""))


def test_ages_in_three_digits_and_impossible_ones(folder):
    edit(folder / TABLE, old="000.png,No Finding,0,1,40,", new="000.png,No Finding,0,1,058Y,")
    edit(folder / TABLE, old="001.png,No Finding,1,1,41,", new="001.png,No Finding,1,1,414,")
    ages = cases_of(folder)["age"]
    assert ages[0] == 58
    assert np.isnan(ages[1])


@pytest.mark.parametrize("images", ["images", "images_012/images", "images_003"])
def test_images_may_lie_in_any_of_the_folders(tmp_path, images):
    folder = make_chestxray14(tmp_path / "archive", images=images)
    assert set(cases_of(folder)["file"].str.rpartition("/")[0]) == {images}


def test_an_image_that_is_absent_is_refused_when_it_is_read(folder):
    (folder / "images_001/images/00000001_000.png").unlink()
    case = cases_of(folder).iloc[0].to_dict()
    with pytest.raises(UserError, match=r"00000001_000\.png: is not there"):
        read_pixels(folder, case)


@pytest.mark.parametrize("name", [TABLE, "train_val_list.txt", "test_list.txt"])
def test_an_absent_file_is_refused(folder, name):
    (folder / name).unlink()
    assert f"{folder / name}: is not there" in refusal_of(folder)
    with pytest.raises(UserError, match=name):
        label_files(folder, Record())


def test_a_folder_without_images_is_refused(folder):
    (folder / "images_001").rename(folder / "radiographs")
    assert "has no images" in refusal_of(folder)


@pytest.mark.parametrize(
    ("name", "old", "new", "wanted"),
    [
        (TABLE, "Finding Labels", "Findings", ["no column 'Finding Labels'", "did you mean 'Findings'?"]),
        (TABLE, "Patient Gender", "Geschlecht", ["no column 'Patient Gender' or 'Patient Sex'"]),
        (TABLE, ",Mass,", ",Massive,", ["line 4", "unknown finding 'Massive'", "did you mean 'Mass'?"]),
        # lines are those of the file, blank ones among them
        (TABLE, "00000002_001.png,Mass,", "\n\n00000002_001.png,Massive,", ["line 7", "unknown finding 'Massive'"]),
        (TABLE, ",Mass,", ",Pleural Thickening,", ["did you mean 'Pleural_Thickening'?"]),
        (TABLE, ",Mass,", ",,", ["line 4 has no findings"]),
        (TABLE, "00000002_001", "00000002_000", ["00000002_000.png is listed more than once"]),
        (TABLE, "00000002_001", "00000099_001", ["00000002_001.png is not in", "train_val_list.txt"]),
        ("train_val_list.txt", "00000002_001.png\n", "", ["00000002_001.png is in neither", "test_list.txt"]),
        (
            "test_list.txt",
            "00000013_000.png",
            "00000002_000.png",
            ["is also in train_val_list.txt"],
        ),
        ("test_list.txt", "00000013_000.png", "00000014_000.png", ["00000014_000.png is listed more than once"]),
    ],
)
def test_files_that_contradict_are_refused(folder, name, old, new, wanted):
    edit(folder / name, old=old, new=new)
    line = refusal_of(folder)
    assert name in line
    for words in wanted:
        assert words in line


def test_a_table_that_is_cut_off_is_refused(folder):
    table = folder / TABLE
    table.write_text(table.read_text()[:-60])
    refusal_of(folder)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the real radiographs are not on this machine")
def test_the_real_sample():
    cases = cases_of(SAMPLES / "chestxray14_64px")
    assert len(cases) == 1000
    assert cases["patient"].nunique() == 264
    assert cases["split"].value_counts().to_dict() == {"train": 735, "test": 265}
    assert (cases["target:Hernia"].sum(), cases["target:Pneumonia"].sum()) == (9, 11)
    assert (cases.groupby("split")["target:Hernia"].sum()["test"]) == 0
