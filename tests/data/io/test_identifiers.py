import pandas as pd
import pytest

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.data import index
from headwater.data.io.identifiers import flaws_of_patients
from headwater.data.io.sheets import read_sheet
from headwater.study.archive import Archive

UNCLEAR = {
    "a zero-width space": (
        ["P0", "P0\u200b"],
        3,
        r"'P0\\u200b' holds U\+200B \(ZERO WIDTH SPACE\), which",
    ),
    "a byte order mark": (["P0", "\ufeffP0"], 3, r"holds U\+FEFF"),
    "a word joiner": (["P0", "P\u20600"], 3, r"holds U\+2060"),
    "a soft hyphen": (["P0", "P\u00ad0"], 3, r"holds U\+00AD"),
    "a no-break space": (["P 0", "P\u00a00"], 3, r"holds U\+00A0"),
    "a whole number and a float": (["0", "1", "0.0"], 4, "the patients '0' and '0.0' are one number in two forms"),
    "leading zeros": (["7", "8", "007"], 4, "the patients '7' and '007' are one number in two forms"),
    "a rounded number": (["1", "1.23457E+11"], 3, r"'1\.23457E\+11' is a number that a spreadsheet has rounded"),
}

NO_ONE = [
    *("nan", "NaN", "NA", "N/A", "n.a.", "None", "NULL", "unknown", "Not available", "<NA>", "-", "--", "?", "."),
    *("#REF!", "#N/A", "#DIV/0!", "#NAME?", "#VALUE!", "#NUM!", "#NULL!"),
]
"""What stands in tables for a patient that is not known."""

CLEAR = [
    ["0", "1", "10", "100"],
    ["0.0", "1.0", "10.0"],
    ["1.5", "15", "1.50"],
    ["007", "008", "7a"],
    ["Nana", "Nona", "unknown1", "NA12878", "#5", "12E10"],
    ["Müller", "李", "O'Neill", "P-0", "P_0", "P 0"],
    [""],
]
"""Identifiers that may stand beside each other."""


def table(folder, patients):
    (folder / "x.csv").write_text("id,name\n" + "".join(f"{row},{name}\n" for row, name in enumerate(patients)))
    return folder / "x.csv"


@pytest.mark.parametrize("kind", UNCLEAR)
def test_a_person_is_not_two_patients(tmp_path, kind):
    patients, line, wanted = UNCLEAR[kind]
    with pytest.raises(UserError, match=rf"x\.csv: line {line}: .*{wanted}.* \(1 such lines\)") as refused:
        read_sheet(table(tmp_path, patients), columns={"patient": ("name",)})
    assert not any(name in refused.value.nameless.partition(": ")[2] for name in patients if len(name) > 1)
    # in other columns these are what they are
    assert len(read_sheet(table(tmp_path, patients), columns={"case": ("name",)})) == len(patients)


def test_spaces_of_any_kind_around_a_patient_are_nothing(tmp_path):
    sheet = read_sheet(table(tmp_path, ["P0", "P0\u00a0", "\u2009P0 "]), columns={"patient": ("name",)})
    assert list(sheet["patient"]) == ["P0"] * 3


@pytest.mark.parametrize("word", NO_ONE)
def test_a_missing_patient_is_no_person(tmp_path, word):
    with pytest.raises(
        UserError, match=r"line 3: the patient '.*' names no one \(3 such lines\); name the patient"
    ) as no:
        read_sheet(table(tmp_path, ["P0", word, word, "nan"]), columns={"patient": ("name",)})
    assert word in str(no.value)


@pytest.mark.parametrize("patients", CLEAR)
def test_other_patients_are_taken_as_they_are(tmp_path, patients):
    assert list(flaws_of_patients(patients)) == []


@pytest.mark.parametrize("name", ["study", "series", "site", "view"])
def test_what_is_compared_has_no_hidden_characters(tmp_path, name):
    with pytest.raises(UserError, match=rf"line 3: the {name} 'Ulm\\u200b' holds U\+200B"):
        read_sheet(table(tmp_path, ["Ulm", "Ulm\u200b"]), columns={name: ("name",)})


def test_patients_of_headers_and_folders_are_checked_as_well(monkeypatch):
    plugin = registry.load("datasets", "rsna_ich")
    rows = {"case": ["a", "b", "c"], "patient": ["1", "unknown", "unknown"], "age": [1.0, 2.0, 3.0]}
    texts = dict.fromkeys(("study", "site", "file", "split", "sex", "view"), "")
    monkeypatch.setattr(plugin, "read_cases", lambda folder, options: pd.DataFrame({**rows, **texts}))
    with pytest.raises(UserError, match=r"archives\.x: the patient 'unknown' names no one \(2 such images\)"):
        index.read(Archive(name="x", kind="rsna_ich", folder="/data/x"))
