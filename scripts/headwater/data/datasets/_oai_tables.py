"""Tables of the Osteoarthritis Initiative: which series lie where, who the participants are, and how knees were graded.

Releases write names of files and columns in different capitals, and cells as a code with or without its words.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pandas as pd

from headwater.core.errors import UserError
from headwater.data.io.folders import entries
from headwater.data.io.sheets import line_of, read_header, read_sheet, refuse_empty, refuse_other, refuse_twice

CONTENTS = {
    "folder": "Folder",
    "patient": "ParticipantID",
    "date": "StudyDate",
    "barcode": "Barcode",
    "series": "SeriesDescription",
}
ENROLLEES = {"patient": "ID", "sex": "P02SEX", "cohort": "V00COHORT", "site": "V00SITE"}
AGES = {"patient": "ID", "years": "V00AGE"}
GRADES = {"patient": "ID", "side": "SIDE", "project": "READPRJ", "grade": "V{visit}XRKL"}

OPTIONAL = ("project",)
"""Columns that a table may lack."""

MONTHS = {0: 0, 1: 12, 2: 18, 3: 24, 4: 30, 5: 36, 6: 48, 8: 72, 10: 96}
"""The months since enrolment by the number of a visit, which begins the name of a release and is in those of tables."""

VISIT = re.compile(r"(?:^|[/._])(?:(?P<months>\d{2,3})m|(?P<number>\d{1,2})\.?[A-Z]\.?\d+)(?=$|[/.])")
"""A visit in a path: `12m`, or a release such as `1.E.1` or, in the name of a table, `1E1`."""

SIDES = {"1": "right", "2": "left"}
SEXES = {"1": "M", "2": "F"}
COHORTS = {"1": "Progression", "2": "Incidence", "3": "Non-exposed control group"}
KL = ("0", "1", "2", "3", "4")

PROJECT = "15"
"""The reading of radiographs that counts where a knee was read more than once: baseline to 48 months in one series."""

KNEE = ["patient", "side"]

DEEPEST = 3
"""Levels of folders below the archive's in which tables are looked for."""

LOOKED_AT = 50
"""Listed folders by which it is found out what the paths of a table begin at."""

DIGITS = 12
"""Digits of a barcode, of which spreadsheets drop the first."""


def tables(folder: Path) -> list[Path]:
    """The CSV and text files in the folder and in those below it, but not in those of participants."""
    present, places = [], [folder]
    for _ in range(DEEPEST + 1):
        listed = [entry for place in places for entry in entries(place)]
        present += [entry for entry in listed if entry.suffix.lower() in (".csv", ".txt")]
        # participants, days and series are folders named by digits; names with an ending are files
        inner = (entry for entry in listed if not entry.name.isdecimal() and not entry.suffix[1:].isalpha())
        places = [entry for entry in inner if entry.is_dir()]
    return present


def contents(folder: Path) -> list[Path]:
    """The tables that list the series; refused if there is none."""
    named = [file for file in tables(folder) if re.fullmatch(r"contents.*\.csv", file.name.lower())]
    if not named:
        what, remedy = "has no contents.*.csv", "fetch it with the images, or correct the archive's folder"
        raise UserError(what, file=folder, remedy=remedy, nameless=what)
    return named


def enrollees(folder: Path) -> Path:
    """The table of participants; refused if it is not there."""
    return _named(tables(folder), "Enrollees.txt") or _absent(folder / "Enrollees.txt")


def ages(folder: Path) -> Path | None:
    """The table of ages at enrolment; None if it is not there."""
    return _named(tables(folder), "AllClinical00.txt")


def grades(folder: Path) -> dict[int, Path]:
    """The tables of graded radiographs, by months since enrolment; refused if there is none."""
    files = tables(folder)
    named = {months: _named(files, f"kxr_sq_bu{number:02d}.txt") for number, months in MONTHS.items()}
    present = {months: file for months, file in named.items() if file}
    return present or _absent(folder / "kxr_sq_bu00.txt")


def columns_of(file: Path, columns: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """For `read_sheet`: the columns as the header of this table spells them."""
    header = read_header(file)
    spelt = {ours: tuple(name for name in header if name.lower() == theirs.lower()) for ours, theirs in columns.items()}
    return {ours: spelt[ours] or (theirs,) for ours, theirs in columns.items()}


def grade_columns(months: int) -> dict[str, str]:
    """The columns of the radiographs' grades at a visit."""
    (number,) = (number for number, other in MONTHS.items() if other == months)
    return {ours: theirs.format(visit=f"{number:02d}") for ours, theirs in GRADES.items()}


def read_contents(file: Path, *, folder: Path) -> pd.DataFrame:
    """The series that a table lists: patient, date, barcode and series as text, `months` since enrolment, and `place`,
    the path of its folder below the archive's."""
    sheet = read_sheet(file, columns=columns_of(file, CONTENTS))
    refuse_empty(sheet, columns=["folder", "patient", "series"], file=file)
    paths = sheet["folder"].str.replace("\\", "/").str.strip("/")
    outside = paths.str.contains(r"(?:^|/)\.\.(?:/|$)").to_numpy()
    if outside.any():
        what = f"line {line_of(paths, outside)} names a folder outside of the archive"
        raise UserError(what, file=file, remedy="give a path below the archive's folder", nameless=what)
    sheet = sheet.assign(
        patient=codes(sheet["patient"]),
        months=_months(paths, file=file, folder=folder),
        barcode=_barcodes(sheet),
        series=sheet["series"].str.upper(),
    )
    home, by_visit = _beginning(paths, sheet["months"], file=file, folder=folder)
    visits = sheet["months"].map("{:02d}m/".format) if by_visit else ""
    return sheet.assign(place=home + visits + paths).drop(columns="folder")


def names_of_series(folder: Path) -> set[str]:
    """The names of all listed series, in capitals."""
    column = {"series": CONTENTS["series"]}
    sheets = (read_sheet(file, columns=columns_of(file, column)) for file in contents(folder))
    return {name.upper() for sheet in sheets for name in sheet["series"].unique()}


def read_people(file: Path) -> pd.DataFrame:
    """Sex (F, M), cohort and site by participant; "" where unknown. A participant may stand there once."""
    sheet = read_sheet(file, columns=columns_of(file, ENROLLEES))
    refuse_empty(sheet, columns=["patient"], file=file)
    sheet = sheet.assign(patient=codes(sheet["patient"]), sex=codes(sheet["sex"]), cohort=codes(sheet["cohort"]))
    refuse_other(sheet, columns=["sex"], known=("", *SEXES), file=file, remedy="1: Male or 2: Female")
    refuse_other(sheet, columns=["cohort"], known=("", *COHORTS), file=file, remedy="1, 2 or 3 and its words")
    sheet = sheet.drop_duplicates()
    refuse_twice(sheet, columns=["patient"], file=file)
    sheet = sheet.assign(sex=sheet["sex"].map(SEXES), cohort=sheet["cohort"].map(COHORTS)).fillna("")
    return sheet.assign(site=sheet["site"].mask(sheet["site"].str.startswith("."), "")).set_index("patient")


def read_ages(file: Path) -> pd.Series:
    """Years at enrolment by participant; NaN where unknown."""
    sheet = read_sheet(file, columns=columns_of(file, AGES))
    years = pd.to_numeric(codes(sheet["years"]), errors="coerce")
    return years.set_axis(codes(sheet["patient"])).groupby(level=0).first()


def read_grades(file: Path, *, months: int) -> pd.Series:
    """The grade of Kellgren and Lawrence, 0 to 4, as text by participant and side; only of knees in which it is known.

    Of a knee that was read in several projects, that of project 15 counts; grades of one project that contradict each
    other are unknown.
    """
    sheet = read_sheet(file, columns=columns_of(file, grade_columns(months)), optional=OPTIONAL)
    refuse_empty(sheet, columns=["patient", "side"], file=file)
    sheet = sheet.apply(codes)
    refuse_other(sheet, columns=["side"], known=SIDES, file=file, remedy="1: Right or 2: Left")
    refuse_other(sheet, columns=["grade"], known=("", *KL), file=file, remedy="0 to 4, or a missing value such as .A")
    read = sheet[sheet["grade"] != ""].assign(side=sheet["side"].map(SIDES), other=sheet["project"] != PROJECT)
    read = read[read["other"] == read.groupby(KNEE)["other"].transform("min")]
    by_knee = read.groupby(KNEE)["grade"].agg(["min", "max"])
    return by_knee.loc[by_knee["min"] == by_knee["max"], "min"]


def codes(cells: pd.Series) -> pd.Series:
    """The code of each cell, as in `2: Female`; "" for a missing value such as `.: Missing Form` or `.A`."""
    code = cells.str.partition(":")[0].str.strip().str.replace(r"\.0+$", "", regex=True)
    return code.mask(code.str.startswith("."), "")


def _named(files: list[Path], name: str) -> Path | None:
    """The table of a name, however its letters are written; the first of several."""
    return next((file for file in files if file.name.lower() == name.lower()), None)


def _absent(file: Path) -> NoReturn:
    """Refuse an archive without a table."""
    remedy = "fetch it with the clinical data as ASCII, and put it below the archive's folder"
    raise UserError("is not there", file=file, remedy=remedy, nameless="is not there")


def _months(paths: pd.Series, *, file: Path, folder: Path) -> pd.Series:
    """The months since enrolment of each listed folder, by its path, or else by that of the table."""
    of_table = visit_in(str(file.relative_to(folder)))
    months = paths.map(visit_in).map(lambda own: of_table if own is None else own)
    unknown = months.isna().to_numpy()
    if unknown.any():
        what = f"line {line_of(months, unknown)} is of no visit that is known"
        remedy = "keep the names of releases, such as 0.E.1, or of visits, such as 00m, in paths"
        raise UserError(what, file=file, remedy=remedy, nameless=what)
    return months.astype(int)


def visit_in(path: str) -> int | None:
    """The months since enrolment in a path; None if it says nothing."""
    said = VISIT.search(path)
    if said is None:
        return None
    months = int(said["months"]) if said["months"] else MONTHS.get(int(said["number"]))
    return months if months in MONTHS.values() else None


def _barcodes(sheet: pd.DataFrame) -> pd.Series:
    """The barcode of each series, or where it is empty the name of its folder."""
    barcodes = codes(sheet["barcode"])
    empty = barcodes == ""
    named = sheet.loc[empty, "folder"].str.strip("/\\").str.split(r"[/\\]", regex=True).str[-1]
    return barcodes.str.zfill(DIGITS).mask(empty, named.reindex(barcodes.index))


def _beginning(paths: pd.Series, months: pd.Series, *, file: Path, folder: Path) -> tuple[str, bool]:
    """(folder below the archive's from which the listed paths count, whether a folder of the visit comes between)."""
    homes = [file.parent, *(parent for parent in file.parent.parents if parent.is_relative_to(folder))]
    looked_at = list(zip(paths, months, strict=True))[:: max(1, len(paths) // LOOKED_AT)]
    for home in homes:
        for by_visit in (False, True):
            if any((home / (f"{visit:02d}m" if by_visit else "") / path).is_dir() for path, visit in looked_at):
                return _prefix(home, folder), by_visit
    return _prefix(file.parent, folder), False


def _prefix(home: Path, folder: Path) -> str:
    """A folder below the archive's as the beginning of a path."""
    return "" if home == folder else f"{home.relative_to(folder)}{os.sep}"
