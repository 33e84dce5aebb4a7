"""Examinations: when two cases are of one examination, by the number that their archives state.

A number may count the examinations of one patient (0, 1, 2), or name an examination among all. Of the first kind, equal
numbers of two patients mean nothing; of the second kind, they are one examination under two patients, which is an
overlap that patient numbers hide.
"""

import pandas as pd

UID = r"[0-2](?:\.\d+){3,}"
"""A unique identifier as in DICOM (PS3.5, section 9), which names one examination in the world."""

MOST = 0.5
"""If a larger share of an archive's patients has a number that another one has too, numbers count by patient."""


def named(cases: pd.DataFrame, *, numbering: str) -> pd.Series:
    """What names the examination of each case, equal for one examination only; None if the archive states none.

    `numbering`: who assigned the numbers of the archive's patients and examinations.
    """
    study = cases["study"]
    by_patient = "\n" + cases["patient"] if _counts_by_patient(cases) else ""
    within = numbering + by_patient + "\n" + study
    return within.mask(study.str.fullmatch(UID), study).mask(study == "", None)


def _counts_by_patient(cases: pd.DataFrame) -> bool:
    """Whether examinations are numbered anew for each patient."""
    stated = cases.loc[cases["study"] != "", ["patient", "study", "case", "file"]]
    # without patients each image counts as one, and its examination is all that it may share with others
    unknown = (stated["patient"] == stated["case"]) | (stated["patient"] == stated["file"])
    pairs = stated.loc[~unknown, ["patient", "study"]].drop_duplicates()
    shared = pairs["study"].duplicated(keep=False)
    return pairs["patient"].nunique() > 0 and pairs.loc[shared, "patient"].nunique() > MOST * pairs["patient"].nunique()
