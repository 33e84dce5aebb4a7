"""Osteoarthritis Initiative (OAI): magnetic resonance of both knees of 4,796 participants at up to nine visits.

A case is one series of one knee at one visit. The participant is the patient, so that both knees and all visits stay in
one split. Cohort and sex are of the participant and hold at each visit; the grade of a knee's radiograph is of a visit,
and unknown at visits whose table is not there.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Formatter
from typing import Any, Literal

import numpy as np
import pandas as pd

from headwater.core.errors import UserError, did_you_mean
from headwater.core.records import Record
from headwater.data.datasets import Card, _oai_tables
from headwater.data.datasets._masks import numbered
from headwater.data.datasets._oai_tables import COHORTS, KL
from headwater.data.io.folders import entries
from headwater.data.io.nifti import read_nifti
from headwater.data.io.volumes import Volume
from headwater.data.tables import TARGET

CARD = Card(
    title="Osteoarthritis Initiative",
    licence="Data use agreement of the NIMH Data Archive (access on request, no sharing)",
    citation=(
        "Peterfy CG, Schneider E, Nevitt M. The osteoarthritis initiative: report on the design rationale for the "
        "magnetic resonance imaging protocol for the knee. Osteoarthritis and Cartilage 2008; 16: 1433-1441."
    ),
    url="https://nda.nih.gov/oai",
    modality="MRI",
    task="multilabel",
    labels=(
        "Progression",
        "Incidence",
        "Non-exposed control group",
        "Female",
        "KL 0",
        "KL 1",
        "KL 2",
        "KL 3",
        "KL 4",
        "Radiographic osteoarthritis",
    ),
    patients=True,
    ndim=3,
    hosted_logging=False,
    note="Cohort and sex are of the participant, grades of a knee at a visit.",
)

GROUPS = {
    "cohort": tuple(COHORTS.values()),
    "sex": ("Female",),
    "kl_grade": tuple(f"KL {grade}" for grade in KL),
    "osteoarthritis": ("Radiographic osteoarthritis",),
}
"""The labels by what they tell; radiographic osteoarthritis is a grade of 2 or more."""

MONTHS = _oai_tables.MONTHS
"""The months since enrolment by the number of a visit."""

GRADED = ("kl_grade", "osteoarthritis")

FROM = 2
"""The lowest grade of radiographic osteoarthritis."""

OPTIONAL = _oai_tables.OPTIONAL

FEWER_CASES = ("visits", "masks", "structures")

BESIDE = ("*",)
"""Series of other kinds, radiographs, masks, and all files of a series but the first, which stands for it."""

CASE = re.compile(r"(?P<participant>[^_]*)_(?P<date>[^_]*)_(?P<series>.*)_(?P<barcode>[^_]*)")

PLACES = ("case", "participant", "date", "series", "barcode", "side", "visit")
"""What the names of masks may hold."""

NO_SLICES = ("duplicate", "localizer", "directory")
"""Files that may lie in the folder of a series without being slices of it; see `io.series.SetAside`."""


class Options(Record):
    """Which series are read, what is told of them, and where their masks lie."""

    series: tuple[str, ...] = ("SAG_3D_DESS",)
    """Names of series as in `SeriesDescription`, without the side."""
    visits: tuple[int, ...] = ()
    """Months since enrolment, such as [0, 24]; by default all visits."""
    labels: tuple[Literal["cohort", "sex", "kl_grade", "osteoarthritis"], ...] = ("cohort", "sex")
    """What is told: the cohort (three labels), the sex (Female), the grade of Kellgren and Lawrence (KL 0 to KL 4), or
    radiographic osteoarthritis (a grade of 2 or more). The last two need kxr_sq_bu00.txt, or that of another visit."""
    masks: str = ""
    """Where the NIfTI mask of a case lies, below the folder or anywhere, such as
    `masks/{participant}_{visit}_{side}.nii.gz`: with {case}, {participant}, {date}, {series}, {barcode}, {side} (left,
    right) and {visit} (00m, 12m, ...) filled in. A case is named {participant}_{date}_{series}_{barcode}."""
    structures: tuple[str, ...] = ()
    """Names of the masks' values from 1 on. Sets differ: that of iMorphics has seven classes with the background,
    probably cartilage of femur, lateral and medial tibia and patella, and two menisci; look the order up in yours."""
    unlabelled: Literal["left_out", "kept"] = "left_out"
    """What becomes of cases without a mask, if there are masks: of most knees there is none. If they are kept, nothing
    is known of their structures."""


def card(options: Options) -> Card:
    """The card by the options."""
    told = {"labels": labels(Path(), options), "structures": structures(Path(), options)}
    return CARD.model_copy(update=told)


def labels(folder: Path, options: Options) -> tuple[str, ...]:
    """The labels by the options, then the structures."""
    groups = dict.fromkeys(options.labels)
    return (*(label for group in groups for label in GROUPS[group]), *structures(folder, options))


def structures(folder: Path, options: Options) -> tuple[str, ...]:
    """The structures in the order of their values; none without masks."""
    return options.structures if options.masks else ()


def label_files(folder: Path, options: Options) -> list[Path]:
    """The tables of series, of participants and, if grades are asked for, of radiographs."""
    return list(sheets(folder, options))


def sheets(folder: Path, options: Options) -> dict[Path, dict[str, tuple[str, ...]]]:
    """The columns of these tables, as they spell them."""
    _refuse_odd_options(options)
    wanted = dict.fromkeys(_oai_tables.contents(folder), _oai_tables.CONTENTS)
    wanted[_oai_tables.enrollees(folder)] = _oai_tables.ENROLLEES
    if clinical := _oai_tables.ages(folder):
        wanted[clinical] = _oai_tables.AGES
    for months, file in _graded(folder, options).items():
        wanted[file] = _oai_tables.grade_columns(months)
    return {file: _oai_tables.columns_of(file, columns) for file, columns in wanted.items()}


def read_cases(folder: Path, options: Options) -> pd.DataFrame:
    """The catalogue: one row per listed series that the options ask for, in the order of the tables."""
    _refuse_odd_options(options)
    listed = _chosen(_listed(folder), folder=folder, options=options)
    people = _oai_tables.read_people(_oai_tables.enrollees(folder)).reindex(listed["patient"], fill_value="")
    clinical = _oai_tables.ages(folder)
    years = _oai_tables.read_ages(clinical).reindex(listed["patient"]).to_numpy() if clinical else np.nan
    cases = pd.DataFrame({"case": _names(listed), "patient": listed["patient"]}).assign(
        study=listed["patient"] + "/" + listed["months"].map("{:02d}m".format),
        site=people["site"].to_numpy(),
        file=[_first_file(folder, place) for place in listed["place"]],
        split="",
        sex=people["sex"].to_numpy(),
        age=years + listed["months"] / 12,
        view="",
    )
    targets = _targets(listed, people.reset_index(drop=True), grades=_graded(folder, options), options=options)
    table = pd.concat([cases, targets], axis=1)
    return _with_masks(table, folder=folder, options=options) if options.masks else table


def check_options(folder: Path, options: Options) -> None:
    """Refuse series that no table lists, by their names alone."""
    _refuse_odd_options(options)
    _refuse_unlisted(_knees(_oai_tables.names_of_series(folder)).values(), folder=folder, options=options)


def read_volume(folder: Path, case: Mapping[str, Any], options: Options) -> Volume:
    """One series as a volume; refuses a folder that lacks a slice, or holds several series or anything else."""
    # pydicom is slow to import, and planning reads no pixels
    from headwater.data.io import series, stacking

    place = _folder_of(folder / case["file"])
    ordered = series.sort_files(entry for entry in entries(place) if _is_visible(entry))
    strange = [aside for aside in ordered.set_aside if aside.kind not in NO_SLICES]
    if strange:
        what = "has files that are no slices of a series"
        raise UserError(f"{what}: {strange[0].reason}", file=strange[0].file, remedy="fetch it again", nameless=what)
    if len(ordered.series) != 1:
        what = f"holds {len(ordered.series)} series, not one"
        raise UserError(what, file=place, remedy="a case is one series; fetch it again", nameless="is not one series")
    return stacking.read_volume(ordered.series[0])


def read_mask(folder: Path, case: Mapping[str, Any], options: Options) -> Volume | None:
    """The mask of a case, in which structures are numbered from 1 in their order; None where there is none."""
    # without tables, as the doctor may have to do, nothing tells which knee a file is of
    if not options.masks or "study" not in case:
        return None
    file = folder / _mask_name(case["case"], case["study"], options)
    if not file.is_file():
        return None
    mask = read_nifti(file)
    return mask._replace(voxels=numbered(mask.voxels, range(1, len(options.structures) + 1), file=file))


def _refuse_odd_options(options: Options) -> None:
    """Refuse masks without names of structures or with a name that cannot be filled in, and the reverse."""
    if bool(options.masks) != bool(options.structures):
        absent, why = ("structures", "masks") if options.masks else ("masks", "structures")
        raise UserError(f"oai.{absent}: missing, but {why} is given", remedy="give both, or neither")
    try:
        fields = [field for _, field, *_ in Formatter().parse(options.masks) if field is not None]
    except ValueError as error:
        raise UserError(f"oai.masks: {error} in {options.masks!r}", remedy="write {case}, or {{ for a brace") from None
    for field in fields:
        if field not in PLACES:
            raise UserError(f"oai.masks: nothing is known for {{{field}}}", remedy=did_you_mean(field, PLACES))


def _graded(folder: Path, options: Options) -> dict[int, Path]:
    """The tables of radiographs by months, if their grades are asked for."""
    return _oai_tables.grades(folder) if set(options.labels) & set(GRADED) else {}


def _listed(folder: Path) -> pd.DataFrame:
    """All series of all tables; a series that is listed twice counts once."""
    files = _oai_tables.contents(folder)
    rows = pd.concat([_oai_tables.read_contents(file, folder=folder) for file in files], ignore_index=True)
    return rows.drop_duplicates(["patient", "series", "barcode"], ignore_index=True)


def _chosen(listed: pd.DataFrame, *, folder: Path, options: Options) -> pd.DataFrame:
    """The series that the options ask for, with their side; a kind or a visit of which there is none is refused."""
    # there are half a million rows, but few names
    knees = _knees(listed["series"].unique())
    _refuse_unlisted(knees.values(), folder=folder, options=options)
    kinds = listed["series"].map({series: kind for series, (kind, _) in knees.items()})
    of_kind = kinds.isin([name.upper() for name in options.series])
    months = set(listed.loc[of_kind, "months"])
    if absent := [visit for visit in options.visits if visit not in months]:
        remedy = f"visits are {', '.join(map(str, sorted(months)))}"
        raise UserError(f"lists no series of the visit at {absent[0]} months", file=folder, remedy=remedy)
    wanted = of_kind & listed["months"].isin(options.visits or months)
    sides = {series: side for series, (_, side) in knees.items()}
    return listed[wanted].assign(side=lambda chosen: chosen["series"].map(sides)).reset_index(drop=True)


def _knees(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """(kind, side) of each series of one knee, by its name in capitals."""
    named = {series: series.rpartition("_") for series in names}
    return {series: (kind, side.lower()) for series, (kind, _, side) in named.items() if side in ("RIGHT", "LEFT")}


def _refuse_unlisted(knees: Iterable[tuple[str, str]], *, folder: Path, options: Options) -> None:
    """Refuse a kind of series of which no table lists any."""
    kinds = sorted({kind for kind, _ in knees})
    for name in options.series:
        if name.upper() not in kinds:
            raise UserError(f"lists no series {name!r}", file=folder, remedy=did_you_mean(name, kinds))


def _names(listed: pd.DataFrame) -> pd.Series:
    """The names of cases, in the form that is usual for the archive's derived files."""
    return listed["patient"] + "_" + listed["date"] + "_" + listed["series"] + "_" + listed["barcode"]


def _is_visible(entry: Path) -> bool:
    """Whether a file belongs to the archive: macOS leaves others beside, whose names begin with a dot."""
    return not entry.name.startswith(".")


def _first_file(folder: Path, place: str) -> str:
    """The first file of a series, which stands for it; the folder itself where there is none."""
    names = (entry.name for entry in entries(folder / place) if _is_visible(entry))
    first = next(names, None)
    return f"{place}/{first}" if first else place


def _folder_of(file: Path) -> Path:
    """The folder of a series, given its first file; refused if it has gone or never was there."""
    if file.is_file():
        return file.parent
    packed = next((file.parent / f"{file.name}{end}" for end in (".tar.gz", ".tgz", ".zip")), None)
    remedy = f"unpack {packed.name}" if packed and packed.is_file() else "fetch it again"
    what = "is an empty folder" if file.is_dir() else "is not there"
    raise UserError(what, file=file, remedy=remedy, nameless=what)


def _targets(
    listed: pd.DataFrame, people: pd.DataFrame, *, grades: Mapping[int, Path], options: Options
) -> pd.DataFrame:
    """The target of each label and structure: 1, 0, or NaN where it is unknown."""
    grade = _grades(listed, grades)
    cells = {
        "cohort": (people["cohort"], {label: (label,) for label in GROUPS["cohort"]}),
        "sex": (people["sex"], {"Female": ("F",)}),
        "kl_grade": (grade, {f"KL {number}": (number,) for number in KL}),
        "osteoarthritis": (grade, {"Radiographic osteoarthritis": KL[FROM:]}),
    }
    columns = {}
    for group in options.labels:
        told, values = cells[group]
        for label, words in values.items():
            columns[TARGET + label] = told.isin(words).astype("float32").where(told != "")
    # whether a mask has a structure is known when it has been looked into
    unknown = {TARGET + name: np.float32(np.nan) for name in structures(Path(), options)}
    return pd.DataFrame(columns, index=listed.index).assign(**unknown)


def _grades(listed: pd.DataFrame, files: Mapping[int, Path]) -> pd.Series:
    """The grade of each knee at its visit, "" where it is unknown."""
    by_visit = {months: _oai_tables.read_grades(file, months=months) for months, file in files.items()}
    knees = zip(listed["months"], listed["patient"], listed["side"], strict=True)
    known = {(months, *knee): grade for months, of_visit in by_visit.items() for knee, grade in of_visit.items()}
    return pd.Series([known.get(knee, "") for knee in knees], index=listed.index, dtype=str)


def _mask_name(case: str, study: str, options: Options) -> str:
    """The path of a case's mask by the option."""
    parts = CASE.fullmatch(case).groupdict()
    side = parts["series"].rpartition("_")[2].lower()
    return options.masks.format(case=case, side=side, visit=study.rpartition("/")[2], **parts)


def _with_masks(cases: pd.DataFrame, *, folder: Path, options: Options) -> pd.DataFrame:
    """The cases that are kept; refused if no case has a mask, or several have the same one."""
    names = [_mask_name(case, study, options) for case, study in zip(cases["case"], cases["study"], strict=True)]
    masked = np.array([(folder / name).is_file() for name in names])
    if not masked.any():
        what = "no listed series has a mask"
        remedy = "correct the option `masks`"
        raise UserError(f"{what}, such as {names[0]}", file=folder, remedy=remedy, nameless=what)
    shared = pd.Series(names)[masked].duplicated()
    if shared.any():
        what = "several series have the same mask"
        remedy = "tell them apart by {barcode} or {date} in the option `masks`"
        name = pd.Series(names)[masked][shared].iloc[0]
        raise UserError(f"{what}, {name}", file=folder, remedy=remedy, nameless=what)
    return cases if options.unlabelled == "kept" else cases[masked].reset_index(drop=True)
