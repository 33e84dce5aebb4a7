"""Doctor: is this copy of an archive whole and sound, and if not, what is to be done, without naming a patient?

The page tells counts, and names of tables, columns, labels and lines. Which cases, patients or files a finding is
about stands in no line of it, but in the file that `--list` names.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pandas as pd

from headwater.core import files as core_files
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.page import Page, as_html, as_text
from headwater.core.records import Choice, Record
from headwater.core.text import many
from headwater.data import image_sample, tables
from headwater.data.image_sample import Specimen
from headwater.data.io.ages import OLDEST, in_years
from headwater.data.io.sheets import read_header, read_sheet
from headwater.data.tables import SPLITS, TARGET, labels_of
from headwater.data.twins import _folder

SEVERITIES = ("note", "warning", "error")
"""From what changes nothing to what stops `prepare` or the grid; the place of the worst is the exit code's floor."""

FEW = 0.01
"""Share of images that may be absent or unreadable before it is an error: what `prepare` allows by default."""

MANY_UNLISTED = 0.1
"""Share of unlisted images, of the listed ones, from which on the tables and the images may be of two releases."""

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom", ".npz", ".nii", ".nii.gz")

MOST_WORDS = 30
"""Different words for projections above which their column may hold something else, which is then not shown."""

STRANGE = (OSError, ValueError, LookupError, TypeError, ArithmeticError, AttributeError)
"""What reading a table of a hostile form may raise beside a refusal."""

WHOLE = "fetch what is absent, or go on with what there is and say so in the study"

UNCERTAIN = ("-1", "-1.0")

OPTIONS_EXAMPLE = """for example '{"uncertain": "positive"}'"""

UNLIKELY_TWIN = "it says nothing about the real archive"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is not as it should be: how bad, what, how many, what to do and, not for the page, which."""

    severity: Literal["note", "warning", "error"]
    what: str
    count: int
    remedy: str
    names: tuple[str, ...] = field(default=(), repr=False)


@dataclass(kw_only=True)
class Examination:
    """All that was found in one folder."""

    title: str
    findings: list[Finding] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    """What there is, line by line."""
    labels: pd.DataFrame = field(default_factory=pd.DataFrame)
    unchecked: list[str] = field(default_factory=list)

    @property
    def code(self) -> int:
        """0 where nothing worse than a note was found, 1 for warnings, 2 for errors."""
        return max([SEVERITIES.index(finding.severity) for finding in self.findings], default=0)

    def tried(self, work: Callable[[], Any], *, otherwise: str) -> Any:
        """What `work` gives; none where it is refused, which is an error, and `otherwise` was not checked."""
        try:
            return work()
        except UserError as refusal:
            found = _refused(refusal)
        except STRANGE as error:
            what = f"the tables cannot be read ({type(error).__name__})"
            found = Finding(severity="error", what=what, count=1, remedy="fetch them again")
        if found not in self.findings:
            self.findings.append(found)
        self.unchecked.append(otherwise)
        return None


def doctor(
    archive: str,
    folder: Path = Path(),
    *,
    options: str = "{}",
    sample: int = 200,
    workers: int = 2,
    page: Path | None = None,
    list: Path | None = None,
) -> None:
    """Check a copy of an archive before any job reads it: tables, counts, labels, and a sample of the images.

    The page names no case, patient or file, so that you can show it to others. Exit code: 0 without problems or with
    notes only, 1 with warnings, 2 with errors or if something could not be checked.

    Args:
        archive: Kind of archive, such as chexpert.
        folder: Folder of your copy.
        options: Options of the archive as a config has them, in JSON, such as '{"uncertain": "positive"}'.
        sample: Number of images to read, spread over the archive.
        workers: Number of processes that read them; with 0 this process does, and a decoder that crashes ends it.
        page: File to which the page is also written as HTML.
        list: File for a table (CSV) of the cases, patients and files that the findings are about; keep it to yourself.
    """
    for name, number in (("sample", sample), ("workers", workers)):
        if number < 0:
            raise UserError(f"--{name} must be >= 0 (got {number})")
    found = examine(archive, folder, options=_options(archive, options), sample=sample, workers=workers)
    shown = _page(found, listed=list is not None)
    print(as_text(shown))
    if page:
        _write(as_html(shown), page)
    if list:
        _write(_names(found).to_csv(index=False), list)
    sys.exit(found.code)


def _write(text: str, file: Path) -> None:
    """The text at a place of the user's choice."""
    try:
        # names on a disk may be no Unicode
        core_files.write_text(text.encode(errors="backslashreplace").decode(), file)
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}", file=file, remedy="name another place") from None


def _options(archive: str, text: str) -> Record:
    """The archive's options from the command line."""
    try:
        given = json.loads(text)
    except ValueError as error:
        raise UserError(f"--options is not valid JSON ({error})", remedy=OPTIONS_EXAMPLE) from None
    if not isinstance(given, dict):
        raise UserError("--options must be a JSON object", remedy=OPTIONS_EXAMPLE)
    registry.check("datasets", archive)
    return registry.chosen("datasets", Choice(name=archive, options=given))


def examine(archive: str, folder: Path, *, options: Record, sample: int = 200, workers: int = 2) -> Examination:
    """Everything that was found in an archive's folder."""
    plugin = registry.load("datasets", archive)
    if not folder.is_dir():
        raise UserError("there is no such folder", file=folder, remedy="name the folder of the archive")
    found = Examination(title=f"{plugin.CARD.title}: {folder}")
    stamp = found.tried(lambda: _stamp(folder, archive), otherwise="what the twin was made from")
    found.findings += _of_twin(stamp, archive=archive)
    files = found.tried(lambda: plugin.label_files(folder, options), otherwise="cells of the tables, " + BY_CATALOGUE)
    found.findings += _of_another(archive, folder) if files is None and stamp is None else []
    catalogue = None
    if files is not None:
        _check_sheets(found, plugin, folder, options)
        catalogue = found.tried(lambda: _catalogue(plugin, folder, options), otherwise=BY_CATALOGUE)
    there = _pictures(folder) if files is None or all(file.is_relative_to(folder) for file in files) else None
    if catalogue is not None:
        listing = _listing(plugin, folder, options, catalogue)
        there = there and _without_beside(there, listing, beside=getattr(plugin, "BESIDE", ()))
        expected = {"cases": stamp["cases"]} if stamp and isinstance(stamp.get("cases"), int) else plugin.CARD.expected
        _check_catalogue(found, catalogue, listing, there, expected=expected, twin=bool(stamp), card=plugin.CARD)
    pool = _pool(catalogue, there)
    rows = [pool[position] for position in image_sample.spread(len(pool), sample=sample)] if pool else []
    looked = image_sample.examined(rows, archive=archive, folder=folder, workers=workers) if rows else []
    found.findings += _of_specimens(looked, files=[row["file"] for row in rows])
    found.findings += _alike(looked, rows) if catalogue is not None else []
    found.seen += _forms(looked, many=len(pool))
    return found


BY_CATALOGUE = "counts, splits, labels, sex, age, projections, which images are listed, identical images"
"""What cannot be checked without a catalogue."""


# tables


def _stamp(folder: Path, archive: str) -> dict | None:
    """What the folder says that it was made from, if it is a twin."""
    file = folder / _folder.STAMP
    if not file.is_file():
        return None
    stamp = core_files.read_json(file)
    if not isinstance(stamp, dict):
        raise UserError(
            "is no stamp of a twin", file=file, remedy="make the twin again", nameless="is no stamp of a twin"
        )
    return stamp


def _of_twin(stamp: dict | None, *, archive: str) -> Iterator[Finding]:
    """That a folder is a twin, and of which archive."""
    if stamp is None:
        return
    if stamp.get("archive") == archive:
        what = f"this is a synthetic twin, measured against its stamp ({_folder.STAMP}), not the published counts"
        yield Finding(severity="note", what=what, count=1, remedy=UNLIKELY_TWIN)
    else:
        what, remedy = "this is a synthetic twin of another archive", "name the archive that its stamp names"
        yield Finding(severity="error", what=what, count=1, remedy=remedy)


def _of_another(archive: str, folder: Path) -> Iterator[Finding]:
    """That the tables of another archive lie here."""
    for name in registry.names("datasets"):
        try:
            files = registry.load("datasets", name).label_files(folder, registry.options("datasets", name)())
        except (UserError, OSError):
            continue
        if name != archive and all(file.is_relative_to(folder) for file in files):
            yield Finding(severity="note", what=f"the tables of {name} lie here", count=1, remedy="name that archive")


def _refused(refusal: UserError) -> Finding:
    """A plug-in's refusal, without what it says of cases."""
    where = f"{Path(refusal.file).name}: " if refusal.file else ""
    if refusal.nameless:
        what, remedy = where + refusal.nameless, refusal.remedy
    else:
        what, remedy = f"{where}is refused for a reason that may name cases, which this page does not", "see the list"
    return Finding(severity="error", what=what, count=1, remedy=remedy, names=(str(refusal),))


def _catalogue(plugin: ModuleType, folder: Path, options: Record) -> pd.DataFrame:
    """All cases that the archive lists under these options."""
    return tables.check(plugin.read_cases(folder, options), "catalogue", file=folder)


def _listing(plugin: ModuleType, folder: Path, options: Record, catalogue: pd.DataFrame) -> pd.DataFrame:
    """The cases under the options' defaults, which leave none out; those under these options where that is refused."""
    default = type(options)()
    if options == default:
        return catalogue
    try:
        return _catalogue(plugin, folder, default)
    except (UserError, *STRANGE):
        return catalogue


def _check_sheets(found: Examination, plugin: ModuleType, folder: Path, options: Record) -> None:
    """Which form each table has, and what its cells say before anything is made of them."""
    if not hasattr(plugin, "sheets"):
        return
    wanted = found.tried(lambda: plugin.sheets(folder, options), otherwise="cells of the tables") or {}
    shares: dict[str, Counter] = {}
    for file, columns in wanted.items():
        sheet = found.tried(lambda file=file, columns=columns: _sheet(file, columns), otherwise=f"cells of {file.name}")
        if sheet is not None:
            found.seen.append(f"Table        {_variant(file, columns, rows=len(sheet))}")
            found.findings += _ages(sheet, file=file)
            for label in set(plugin.CARD.labels) & set(columns):
                shares.setdefault(label, Counter()).update(_mentions(sheet[label]))
    found.labels = _cell_shares(shares)


def _sheet(file: Path, columns: Mapping[str, tuple[str, ...]]) -> pd.DataFrame:
    """A table's cells, whatever columns it lacks: that is the plug-in's to refuse."""
    return read_sheet(file, columns=columns, optional=columns)


def _variant(file: Path, columns: Mapping[str, tuple[str, ...]], *, rows: int) -> str:
    """How a table is written: its rows, which of several spellings its columns have, which of ours it lacks."""
    header = read_header(file)
    spelt = {names: next((name for name in names if name in header), None) for names in columns.values()}
    chosen = [f"{name!r} (also known: {_others(names, name)})" for names, name in spelt.items() if name and names[1:]]
    lacks = [names[0] for names, name in spelt.items() if name is None]
    parts = [f"{file.name}: {rows:,} rows, {len(columns) - len(lacks)} of {len(columns)} columns that we know"]
    parts += [f"writes {', '.join(chosen)}"] if chosen else []
    return ", ".join(parts + ([f"lacks {', '.join(map(repr, lacks))}"] if lacks else []))


def _others(names: tuple[str, ...], name: str) -> str:
    return ", ".join(repr(other) for other in names if other != name)


def _ages(sheet: pd.DataFrame, *, file: Path) -> Iterator[Finding]:
    """Ages that make no sense."""
    strange = pd.Series(False, sheet.index)
    if "age" in sheet:
        strange |= (sheet["age"] != "") & sheet["age"].map(in_years).isna()
    if {"date", "birth"} <= set(sheet):
        years = (pd.to_numeric(sheet[name].str[:4], errors="coerce") for name in ("date", "birth"))
        age = next(years) - next(years)
        strange |= age.notna() & ~age.between(0, OLDEST)
    if count := int(strange.sum()):
        first = int(strange.to_numpy().argmax()) + 2
        what = f"{file.name}: ages below 0, above {OLDEST} or no number: {count:,}, first in line {first}"
        lines = tuple(f"{file.name} line {line + 2}" for line in strange.to_numpy().nonzero()[0])
        remedy = "they count as unknown; mend them if ages matter to you"
        yield Finding(severity="warning", what=what, count=count, remedy=remedy, names=lines)


def _mentions(cells: pd.Series) -> dict[str, int]:
    """How many cells of a label there are, how many of them are uncertain, and how many empty."""
    return {"cells": len(cells), "uncertain": int(cells.isin(UNCERTAIN).sum()), "missing": int((cells == "").sum())}


def _cell_shares(shares: Mapping[str, Mapping[str, int]]) -> pd.DataFrame:
    """For each label the shares of its cells that are uncertain and that are empty, where there are any."""
    kinds = [kind for kind in ("uncertain", "missing") if any(counted[kind] for counted in shares.values())]
    return pd.DataFrame(
        {"Label": label, **{f"Cells {kind}": _share(counted[kind], counted["cells"]) for kind in kinds}}
        for label, counted in shares.items()
    )


# the catalogue


def _check_catalogue(
    found: Examination,
    catalogue: pd.DataFrame,
    listing: pd.DataFrame,
    there: set[str] | None,
    *,
    expected: Mapping[str, int],
    twin: bool,
    card: Any,
) -> None:
    """What the archive says of its cases, and whether their images are there."""
    found.findings += _counts(listing, expected=expected, of="its stamp" if twin else "the published")
    found.findings += _patients(catalogue) if card.patients else []
    if there is None:
        found.unchecked.append("images on the disk: these come with the software")
    else:
        found.findings += _missing(catalogue, there)
        found.findings += _unlisted(listing, there)
        found.seen.append(f"Images       {len(there):,} on the disk, {listing['file'].nunique():,} listed")
    found.findings += _labels(catalogue, twin=twin)
    table = _label_table(catalogue)
    found.labels = table.merge(found.labels, on="Label", how="left").fillna("–") if len(found.labels) else table
    found.seen += _persons(catalogue, patients=card.patients)


def _counts(listing: pd.DataFrame, *, expected: Mapping[str, int], of: str) -> Iterator[Finding]:
    """Counts that are not those expected."""
    splits = [name for name in SPLITS if name in expected]
    # a card whose splits add up to all its cases does not count those of a further split
    add_up = splits and sum(expected[name] for name in splits) == expected.get("cases")
    counted = listing[listing["split"].isin(splits)] if add_up and set(splits) < set(listing["split"]) else listing
    is_there = {"cases": len(counted), "patients": counted["patient"].nunique()}
    is_there |= {name: int((counted["split"] == name).sum()) for name in splits}
    other = [f"{is_there[name]:,} of {expected[name]:,} {_spoken(name)}" for name in expected if name in is_there]
    wrong = [text for text, name in zip(other, expected, strict=True) if is_there[name] != expected[name]]
    if wrong:
        what = f"counts are not those of {of} archive: " if of == "the published" else f"counts are not those of {of}: "
        remedy = WHOLE if of == "the published" else "make the twin again"
        yield Finding(severity="warning", what=what + ", ".join(wrong), count=len(wrong), remedy=remedy)


def _spoken(name: str) -> str:
    return f"{name} cases" if name in SPLITS else name


def _patients(catalogue: pd.DataFrame) -> Iterator[Finding]:
    """Patients in more than one official split."""
    splits = catalogue.groupby("patient")["split"].nunique()
    shared = splits.index[splits > 1]
    if len(shared):
        what = f"patients with cases in more than one official split: {len(shared):,}"
        remedy = "prepare refuses them; move all images of a patient to one split"
        yield Finding(severity="error", what=what, count=len(shared), remedy=remedy, names=tuple(shared))


def _missing(catalogue: pd.DataFrame, there: set[str]) -> Iterator[Finding]:
    """Listed images that are not on the disk."""
    absent = catalogue.loc[~catalogue["file"].isin(there), "file"]
    if len(absent):
        what = f"listed images that are not on the disk: {len(absent):,} of {len(catalogue):,}"
        severity = "error" if len(absent) > FEW * len(catalogue) else "warning"
        remedy = f"fetch them; prepare refuses more than {FEW:.0%} (archives.<name>.rejects)"
        yield Finding(severity=severity, what=what, count=len(absent), remedy=remedy, names=tuple(absent))


def _unlisted(listing: pd.DataFrame, there: set[str]) -> Iterator[Finding]:
    """Images on the disk that no table lists."""
    beyond = sorted(there - set(listing["file"]))
    if beyond:
        strange = len(beyond) > MANY_UNLISTED * len(listing)
        remedy = "are tables and images of one release?" if strange else "nothing: no job reads them"
        what = f"images on the disk that no table lists: {len(beyond):,}"
        severity = "warning" if strange else "note"
        yield Finding(severity=severity, what=what, count=len(beyond), remedy=remedy, names=tuple(beyond))


def _without_beside(there: set[str], listing: pd.DataFrame, *, beside: tuple[str, ...]) -> set[str]:
    """The image files that are there without those that lie beside the listed ones by intent, such as masks."""
    listed = set(listing["file"])
    return {file for file in there if file in listed or not any(fnmatch(file, pattern) for pattern in beside)}


def _splits(catalogue: pd.DataFrame) -> list[str]:
    """The official splits that there are, in their order; "" where cases are in none."""
    return [name for name in (*SPLITS, "") if (catalogue["split"] == name).any()]


def _labels(catalogue: pd.DataFrame, *, twin: bool) -> Iterator[Finding]:
    """Labels without a positive case in a split."""
    for split in _splits(catalogue):
        part = catalogue[catalogue["split"] == split]
        lacking = [label for label in labels_of(catalogue) if not (part[TARGET + label] == 1).any()]
        if lacking:
            shown = ", ".join(lacking[:6]) + (", ..." if lacking[6:] else "")
            where = f"in {split}" if split else "of all"
            what = f"no case {where} is positive for {many(len(lacking), 'label')}: {shown}"
            remedy = f"leave them out (datasets.<name>.labels){', or make a larger twin' if twin else ''}"
            yield Finding(severity="note" if twin else "warning", what=what, count=len(lacking), remedy=remedy)


def _label_table(catalogue: pd.DataFrame) -> pd.DataFrame:
    """For each label: positive cases of the known ones in each split, and the share of unknown ones in all."""
    parts = {split.capitalize() or "All": catalogue[catalogue["split"] == split] for split in _splits(catalogue)}
    rows = []
    for label in labels_of(catalogue):
        known = {name: part[TARGET + label].dropna() for name, part in parts.items()}
        borne = {name: f"{int((target == 1).sum()):,} / {len(target):,}" for name, target in known.items()}
        rows.append(
            {"Label": label, **borne, "Unknown": _share(int(catalogue[TARGET + label].isna().sum()), len(catalogue))}
        )
    return pd.DataFrame(rows)


def _persons(catalogue: pd.DataFrame, *, patients: bool) -> Iterator[str]:
    """How many cases there are, of whom, and how they were taken."""
    splits = [f"{name} {(catalogue['split'] == name).sum():,}" for name in _splits(catalogue) if name]
    of = f" of {catalogue['patient'].nunique():,} patients" if patients else "; the archive does not tell of patients"
    many = len(catalogue)
    yield f"Cases        {many:,}{of}; official splits: {', '.join(splits) or 'none'}"
    sexes = catalogue["sex"]
    told = {"F": sexes == "F", "M": sexes == "M", "unknown": sexes == "", "other": ~sexes.isin(["F", "M", ""])}
    shares = ", ".join(f"{name} {_share(int(which.sum()), many)}" for name, which in told.items() if which.any())
    yield f"Sex, age     {shares}; age unknown in {_share(int(catalogue['age'].isna().sum()), many)}"
    yield f"Projections  {_counted(catalogue['view'].replace('', 'unknown'))}"


def _counted(words: Iterable[str]) -> str:
    """How often each word occurs, unless there are too many to be words."""
    counts = Counter(words)
    if len(counts) > MOST_WORDS:
        return f"more than {MOST_WORDS} different ones, which are not shown"
    return "; ".join(f"{count:,} {word}" for word, count in counts.most_common())


def _share(part: int, whole: int) -> str:
    """A share in percent, in which some is never shown as none, nor almost all as all."""
    if not whole or not part:
        return "0 %"
    if part == whole:
        return "100 %"
    return f"{min(max(100 * part / whole, 0.1), 99.9):.1f} %"


# images


def _pictures(folder: Path) -> set[str]:
    """Image files below a folder, and below what it links to, by their path in it."""
    found, walked = set(), set()
    for place, below, files in os.walk(folder, followlinks=True):
        here = os.path.realpath(place)
        if here in walked:
            below.clear()
            continue
        walked.add(here)
        inside = Path(place).relative_to(folder)
        found |= {str(inside / file) for file in files if file.lower().endswith(PICTURES)}
    return found


def _pool(catalogue: pd.DataFrame | None, there: set[str] | None) -> list[dict[str, Any]]:
    """The cases that a sample is drawn from: those listed and there; without a catalogue, what lies on the disk."""
    if catalogue is None:
        return [{"case": Path(file).stem, "file": file, "split": ""} for file in sorted(there or ())]
    rows = catalogue if there is None else catalogue[catalogue["file"].isin(there)]
    return rows[["case", "file", "split"]].to_dict("records")


def _of_specimens(looked: list[Specimen], *, files: list[str]) -> Iterator[Finding]:
    """What reading the sample tells."""
    total = len(looked)
    for problem, names in _by(zip((one.problem for one in looked), files, strict=True)).items():
        if problem:
            severity = "error" if len(names) > FEW * total else "warning"
            what = f"images of the sample that cannot be used: {len(names):,} of {total:,} ({problem})"
            remedy = f"fetch them again; prepare refuses more than {FEW:.0%} of all (archives.<name>.rejects)"
            yield Finding(severity=severity, what=what, count=len(names), remedy=remedy, names=tuple(names))
    for which, what, remedy in (
        ([one.blank for one in looked], "have one grey value throughout", "look at them; they teach nothing"),
        ([one.strange_age for one in looked], "tell an age that makes no sense in their header", "it is unknown then"),
    ):
        names = tuple(file for file, hit in zip(files, which, strict=True) if hit)
        if names:
            what = f"images of the sample that {what}: {len(names):,} of {total:,}"
            yield Finding(severity="warning", what=what, count=len(names), remedy=remedy, names=names)


def _by(pairs: Iterable[tuple[str, Any]]) -> dict[str, list]:
    """What goes with each key."""
    groups: dict[str, list] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def _alike(looked: list[Specimen], rows: list[dict[str, Any]]) -> Iterator[Finding]:
    """Images that have the same pixels, and those of them that are in two splits."""
    pairs = [(one.digest, row) for one, row in zip(looked, rows, strict=True) if one.digest and not one.blank]
    groups = [group for group in _by(pairs).values() if len(group) > 1]
    across = [group for group in groups if len({row["split"] for row in group}) > 1]
    within = [group for group in groups if group not in across]
    for kind, severity, where, remedy in (
        (within, "warning", "", "they count twice; leave one of each"),
        (across, "error", " in another split", "what is trained on would be tested on; take one of each away"),
    ):
        names = tuple(row["file"] for group in kind for row in group)
        if names:
            what = f"images of the sample with the pixels of another one{where}: {len(names):,} of {len(looked):,}"
            yield Finding(severity=severity, what=what, count=len(names), remedy=remedy, names=names)


def _forms(looked: list[Specimen], *, many: int) -> Iterator[str]:
    """How many images were read, and in which forms and sizes they are."""
    yield f"Sample       {len(looked):,} of {many:,} images read"
    if forms := [one.form for one in looked if one.form]:
        yield f"Kept as      {_counted(forms)}"
    if shapes := [one.shape for one in looked if one.shape]:
        heights, widths = ([shape[side] for shape in shapes] for side in (0, 1))
        common, count = Counter(shapes).most_common(1)[0]
        size = f"width {min(widths)} to {max(widths)}, height {min(heights)} to {max(heights)}"
        coloured = sum(len(shape) == 3 for shape in shapes)
        yield f"Pixels       {size}; {count:,} are {common[1]} x {common[0]}; {coloured:,} in colour"


# the page


def _page(found: Examination, *, listed: bool) -> Page:
    """What was found, the worst first."""
    counts = {name: sum(finding.severity == name for finding in found.findings) for name in reversed(SEVERITIES)}
    verdict = ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items())
    worst = sorted(found.findings, key=lambda finding: -SEVERITIES.index(finding.severity))
    lines = [line for finding in worst for line in _lines(finding, listed=listed)]
    parts = [("Findings", lines or ["none"]), ("What there is", found.seen)]
    parts += [("Labels: cases with a finding / cases in which it is known", found.labels)] if len(found.labels) else []
    parts += [("Not checked", found.unchecked)] if found.unchecked else []
    return Page(title=found.title, summary=[f"{verdict[0].upper()}{verdict[1:]}."], parts=parts)


def _lines(finding: Finding, *, listed: bool) -> Iterator[str]:
    """A finding, and below it what to do."""
    where = "the list says which" if listed else "--list FILE writes which"
    yield f"{finding.severity.upper()}: {finding.what}"
    yield f"    {finding.remedy}" + (f" ({where})" if finding.names else "")


def _names(found: Examination) -> pd.DataFrame:
    """Which cases, patients, files or lines the findings are about."""
    rows = [(finding.what, name) for finding in found.findings for name in finding.names]
    return pd.DataFrame(rows, columns=["finding", "name"])
