"""When two cases are of one examination, by numbers that may count by patient."""

import pandas as pd
import pytest

from headwater.data import examinations

UID = "1.2.840.113619.2.55.3"


def names(rows, *, numbering="Ulm"):
    """What names the examinations of (patient, study) pairs."""
    cases = pd.DataFrame(rows, columns=["patient", "study"])
    cases = cases.assign(case=[f"c{row}" for row in range(len(cases))], file="x.png")
    return examinations.named(cases, numbering=numbering).tolist()


def test_numbers_that_begin_anew_with_each_patient_belong_to_the_patient():
    one = names([("a", "0"), ("a", "0"), ("a", "1"), ("b", "0"), ("c", "0"), ("c", "1")])
    assert one[0] == one[1] and len(set(one)) == 5
    # also where one patient came far more often than the others
    often = names([("a", str(visit)) for visit in range(50)] + [(patient, "0") for patient in "bcdefg"])
    assert len(set(often)) == 56


def test_a_number_that_names_one_examination_is_told_under_another_patient():
    few = names([("a", "s1"), ("b", "s2"), ("c", "s3"), ("d", "s4"), ("e", "s1")])
    assert few[0] == few[4] and len(set(few)) == 4


def test_a_unique_identifier_is_one_examination_whoever_the_patient_and_the_publisher():
    here = names([("a", f"{UID}.1"), ("b", f"{UID}.1")])
    assert here[0] == here[1] == names([("z", f"{UID}.1")], numbering="Trier")[0]
    # a date with dots is no identifier
    assert names([("a", "12.11.2019")]) != names([("a", "12.11.2019")], numbering="Trier")


def test_without_patients_the_examination_is_all_that_images_share():
    cases = pd.DataFrame({"case": ["x", "y", "z"], "patient": ["x", "y", "z"], "study": ["7", "7", "8"], "file": "f"})
    first, second, third = examinations.named(cases, numbering="")
    assert first == second != third


@pytest.mark.parametrize("study", ["", "1"])
def test_no_number_is_no_examination(study):
    named = names([("a", ""), ("b", study)])
    assert pd.isna(named[0]) and pd.isna(named[1]) == (study == "")
