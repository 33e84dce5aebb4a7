"""Doctor: problems of a copy of an archive, each with its remedy, on a page that names no patient.

The page has counts and the names of tables, columns and labels. The cases, patients and files that a problem concerns
appear only in the file that `--list` names.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from headwater.core import files as core_files
from headwater.core import registry
from headwater.core.destinations import as_csv
from headwater.core.errors import UserError
from headwater.core.page import Page, as_html, as_text
from headwater.core.records import Choice, Record
from headwater.data import image_sample, twin_folder, volume_sample
from headwater.data.datasets import pixel_options, structures_of
from headwater.data.image_sample import Specimen
from headwater.data.index import CATALOGUE
from headwater.data.integrity_checks.catalogue import check_catalogue, without_beside
from headwater.data.integrity_checks.findings import SEVERITIES, STRANGE, Examination, Finding
from headwater.data.integrity_checks.images import (
    as_listed,
    candidates,
    descriptions,
    duplicates,
    image_files,
    problems,
    ranges,
)
from headwater.data.integrity_checks.sheets import check_sheets
from headwater.data.tables import TARGET

OPTIONS_EXAMPLE = """for example '{"uncertain": "positive"}'"""

UNLIKELY_TWIN = "it says nothing about the real archive"


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
    examination = examine(archive, folder, options=_options(archive, options), sample=sample, workers=workers)
    shown = _page(examination, listed=list is not None)
    print(as_text(shown))
    if page:
        _write(as_html(shown), page)
    if list:
        _write(as_csv(_names(examination)), list)
    sys.exit(examination.code)


def _write(text: str, file: Path) -> None:
    """Write text to a file that the user named."""
    try:
        # file names on Linux are bytes, which need not be valid UTF-8
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
    """Check an archive's folder: its tables, its catalogue and a sample of its images."""
    plugin = registry.load("datasets", archive)
    if not folder.is_dir():
        raise UserError("there is no such folder", file=folder, remedy="name the folder of the archive")
    card = plugin.card(options) if hasattr(plugin, "card") else plugin.CARD
    examination = Examination(title=card.title)
    stamp = examination.tried(lambda: _stamp(folder, archive), otherwise="what the twin was made from")
    examination.findings += _of_twin(stamp, archive=archive)
    files = examination.tried(
        lambda: plugin.label_files(folder, options), otherwise="cells of the tables, " + BY_CATALOGUE
    )
    examination.findings += _of_another(archive, folder) if files is None and stamp is None else []
    examination.findings += _of_options(plugin, options)
    catalogue = None
    if files is not None:
        check_sheets(examination, plugin, folder, options)
        catalogue = examination.tried(lambda: _catalogue(plugin, folder, options), otherwise=BY_CATALOGUE)
    is_inside = files is None or all(file.is_relative_to(folder) for file in files)
    there = examination.tried(lambda: image_files(folder), otherwise="images on the disk") if is_inside else None
    if catalogue is not None:
        listing = _listing(plugin, folder, options, catalogue)
        if there is not None:
            there -= plugin.beside(folder, options) if hasattr(plugin, "beside") else set()
            there = without_beside(there, listing, beside=getattr(plugin, "BESIDE", ()))
            there = as_listed(there, listing, folder=folder)
        expected = {"cases": stamp["cases"]} if stamp and isinstance(stamp.get("cases"), int) else card.expected
        # whether a mask has a structure is known when volumes are prepared
        unknown = [TARGET + name for name in structures_of(plugin, folder, options)]
        catalogue = catalogue.drop(columns=unknown, errors="ignore")
        check_catalogue(examination, catalogue, listing, there, expected=expected, twin=bool(stamp), card=card)
    pool = candidates(catalogue, there)
    rows = [pool[position] for position in image_sample.spread(len(pool), sample=sample)] if pool else []
    how, sampled = pixel_options(plugin, options), [row["file"] for row in rows]
    specimens, described = _specimens(rows, archive=archive, folder=folder, options=options, workers=workers)
    examination.findings += problems(specimens, files=sampled)
    examination.findings += ranges(specimens, bits=how.get("bits", getattr(plugin, "BITS", "guessed")), files=sampled)
    examination.findings += duplicates(specimens, rows) if catalogue is not None else []
    examination.seen += described(specimens, many=len(pool))
    return examination


def _specimens(
    rows: list[dict[str, Any]], *, archive: str, folder: Path, options: Record, workers: int
) -> tuple[list[Specimen], Callable[..., Iterator[str]]]:
    """The specimens of a sample of an archive, and what describes them."""
    plugin, where = registry.load("datasets", archive), {"archive": archive, "folder": folder, "workers": workers}
    if plugin.CARD.ndim == 3:
        chosen = options.model_dump()
        return (volume_sample.examined(rows, options=chosen, **where) if rows else []), volume_sample.descriptions
    how = pixel_options(plugin, options)
    return (image_sample.examined(rows, how=how, **where) if rows else []), descriptions


BY_CATALOGUE = "counts, splits, labels, sex, age, projections, which images are listed, identical images"
"""What cannot be checked without a catalogue."""


def _stamp(folder: Path, archive: str) -> dict | None:
    """The stamp of a twin: what it was made from; none for other folders."""
    file = folder / twin_folder.STAMP
    if not file.is_file():
        return None
    stamp = core_files.read_json(file)
    if not isinstance(stamp, dict):
        raise UserError(
            "is not a twin's stamp", file=file, remedy="make the twin again", nameless="is not a twin's stamp"
        )
    return stamp


def _of_twin(stamp: dict | None, *, archive: str) -> Iterator[Finding]:
    """A finding if the folder is a twin: a note, or an error if it is a twin of another archive."""
    if stamp is None:
        return
    if stamp.get("archive") == archive:
        what = f"this is a synthetic twin, measured against its stamp ({twin_folder.STAMP}), not the published counts"
        yield Finding(severity="note", what=what, count=1, remedy=UNLIKELY_TWIN)
    else:
        what, remedy = "this is a synthetic twin of another archive", "name the archive that its stamp names"
        yield Finding(severity="error", what=what, count=1, remedy=remedy)


def _of_options(plugin: ModuleType, options: Record) -> Iterator[Finding]:
    """A warning for each thing that may surprise in the choice of options."""
    for note in plugin.notes(options) if hasattr(plugin, "notes") else ():
        what, _, remedy = note.rpartition("; ")
        yield Finding(severity="warning", what=what, count=1, remedy=remedy)


def _of_another(archive: str, folder: Path) -> Iterator[Finding]:
    """A finding for each other archive whose tables are in the folder."""
    for name in registry.names("datasets"):
        try:
            files = registry.load("datasets", name).label_files(folder, registry.options("datasets", name)())
        except (UserError, OSError):
            continue
        if name != archive and all(file.is_relative_to(folder) for file in files):
            yield Finding(severity="note", what=f"the tables of {name} lie here", count=1, remedy="name that archive")


def _catalogue(plugin: ModuleType, folder: Path, options: Record) -> pd.DataFrame:
    """All cases that the archive lists under these options."""
    return CATALOGUE.check(plugin.read_cases(folder, options), file=folder)


def _listing(plugin: ModuleType, folder: Path, options: Record, catalogue: pd.DataFrame) -> pd.DataFrame:
    """All cases, also those that options leave out; if they cannot be read, the cases under these options."""
    defaults = type(options)()
    every = options.model_copy(update={name: getattr(defaults, name) for name in getattr(plugin, "FEWER_CASES", ())})
    if options == every:
        return catalogue
    try:
        return _catalogue(plugin, folder, every)
    except (UserError, *STRANGE):
        return catalogue


def _page(examination: Examination, *, listed: bool) -> Page:
    """The page of an examination, the most severe findings first."""
    counts = {name: sum(finding.severity == name for finding in examination.findings) for name in reversed(SEVERITIES)}
    verdict = ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items())
    worst = sorted(examination.findings, key=lambda finding: -SEVERITIES.index(finding.severity))
    lines = [line for finding in worst for line in _lines(finding, listed=listed)]
    parts = [("Findings", lines or ["none"]), ("What there is", examination.seen)]
    parts += (
        [("Labels: cases with a finding / cases in which it is known", examination.labels)]
        if len(examination.labels)
        else []
    )
    parts += [("Not checked", examination.unchecked)] if examination.unchecked else []
    return Page(title=examination.title, summary=[f"{verdict[0].upper()}{verdict[1:]}."], parts=parts)


def _lines(finding: Finding, *, listed: bool) -> Iterator[str]:
    """A finding, and below it the remedy."""
    where = "the list says which" if listed else "--list FILE writes which"
    yield f"{finding.severity.upper()}: {finding.what}"
    yield f"    {finding.remedy}" + (f" ({where})" if finding.names else "")


def _names(examination: Examination) -> pd.DataFrame:
    """The cases, patients, files or lines that the findings concern."""
    rows = [(finding.what, name) for finding in examination.findings for name in finding.names]
    return pd.DataFrame(rows, columns=["finding", "name"])
