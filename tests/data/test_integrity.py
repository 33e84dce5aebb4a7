"""The doctor finds each planted problem and no other, and its page names no case or patient."""

import csv
import gzip
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image

import deadly_specimen
from archives_made import SAMPLES, edit, picture
from headwater.core import registry
from headwater.core.command_line import door
from headwater.core.errors import UserError
from headwater.core.page import as_html, as_text
from headwater.core.process_pool import in_order
from headwater.data import image_sample, integrity
from headwater.data.image_sample import Specimen, spread
from headwater.data.integrity_checks.findings import SEVERITIES, Examination, as_finding, tally
from headwater.data.integrity_checks.images import problems

CASES = 40
TWINS = [name for name in registry.names("twins") if registry.load("datasets", name).CARD.ndim == 2]
"""Archives with a table of images and a file for each; those of CT have tests of their own below."""
ROOT = Path(__file__).parents[2]
Rows = list[list[str]]


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A twin of each archive, made once."""
    home = tmp_path_factory.mktemp("clean")

    @cache
    def make(archive: str) -> Path:
        # numbers that no page would hold by chance
        registry.load("twins", archive).make(home / archive, cases=CASES, seed=1, first_patient=712_345, size=32)
        return home / archive

    return make


@pytest.fixture(scope="module")
def of_clean(clean):
    """What is found in the clean twin of each archive."""
    return cache(lambda archive: findings(examined(archive, clean(archive))))


@pytest.fixture
def copy(clean, tmp_path):
    """A twin that a test may spoil."""
    return lambda archive: shutil.copytree(clean(archive), tmp_path / archive)


def examined(archive: str, folder: Path, **options) -> Examination:
    chosen = registry.options("datasets", archive)(**options)
    return integrity.examine(archive, folder, options=chosen, workers=0)


def findings(found: Examination) -> set[tuple[str, str]]:
    return {(finding.severity, finding.what) for finding in found.findings}


def cases_of(archive: str, folder: Path) -> pd.DataFrame:
    return registry.load("datasets", archive).read_cases(folder, registry.options("datasets", archive)())


def assert_nameless(found: Examination, cases: pd.DataFrame) -> None:
    """No case, patient, examination or file stands on the page."""
    page = integrity._page(found, listed=False)
    text = as_text(page) + as_html(page) + "".join(finding.remedy for finding in found.findings)
    names = {name for column in ("case", "patient", "file") for name in cases[column]}
    names |= {Path(file).name for file in cases["file"]} | set(cases["study"]) - {""}
    assert not [name for name in names if len(name) > 4 and name in text]


def change(path: Path, edit: Callable[[Rows], object]) -> None:
    """Edit the rows of a table, the first of which is its header, in place."""
    packed = path.suffix == ".gz"
    content = gzip.decompress(path.read_bytes()).decode() if packed else path.read_text()
    rows = list(csv.reader(io.StringIO(content)))
    edit(rows)
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    path.write_bytes(gzip.compress(out.getvalue().encode()) if packed else out.getvalue().encode())


def put(line: int, column: str, word: str) -> Callable[[Rows], object]:
    """Writes a word into the cell of a line, counted from the header's 1."""

    def edit(rows: Rows) -> None:
        rows[line - 1][rows[0].index(column)] = word

    return edit


TABLES = {
    "chestxray14": "Data_Entry_2017_v2020.csv",
    "chexpert": "train.csv",
    "mimic_cxr": "mimic-cxr-2.0.0-split.csv.gz",
    "padchest": "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",
    "uka_cxr": "uka_cxr.csv",
    "vindr": "annotations/image_labels_train.csv",
}

COLUMNS = {
    "chestxray14": "Patient ID",
    "chexpert": "Sex",
    "mimic_cxr": "subject_id",
    "padchest": "PatientID",
    "uka_cxr": "patient_id",
    "vindr": "rad_id",
}


# clean copies


@pytest.mark.parametrize("archive", TWINS)
def test_a_twin_is_clean(clean, archive):
    found = examined(archive, clean(archive))
    assert (found.code, found.unchecked) == (0, [])
    assert {finding.severity for finding in found.findings} == {"note"}
    assert "synthetic twin, measured against its stamp" in found.findings[0].what
    assert f"{CASES} of {CASES} images read" in "\n".join(found.seen)
    assert_nameless(found, cases_of(archive, clean(archive)))
    assert max(map(len, as_text(integrity._page(found, listed=False)).splitlines())) <= 120


def test_photographs_of_the_software_are_clean():
    found = integrity.examine(
        "natural_photographs",
        Path(),
        options=registry.options("datasets", "natural_photographs")(),
        sample=3,
        workers=0,
    )
    assert (found.code, found.findings) == (0, [])
    assert found.unchecked == ["images on the disk: these come with the software"]


# one trap at a time


def plant_duplicate(archive: str, folder: Path, cases: pd.DataFrame, *, across: bool) -> None:
    """One image in place of another, of another split or of its own."""
    one = cases.iloc[0]
    other = cases[(cases["split"] != one["split"]) == across].iloc[-1]
    shutil.copyfile(folder / one["file"], folder / other["file"])


@pytest.mark.parametrize("archive", list(TABLES))
class TestEveryArchive:
    def diagnosed(
        self, archive: str, folder: Path, *, clean: Path, before: set, refused: bool = False
    ) -> tuple[str, str]:
        """The one finding that a spoilt folder has beyond those of its clean twin."""
        found = examined(archive, folder)
        cases = cases_of(archive, clean)
        assert_nameless(found, cases)
        new, gone = findings(found) - before, before - findings(found)
        if refused:
            assert integrity.BY_CATALOGUE in found.unchecked[-1]
            assert all("positive" in what or "no table lists" in what for _, what in gone)
        else:
            assert found.unchecked == []
            assert gone == set()
        (only,) = new
        assert found.code == SEVERITIES.index(only[0])
        return only

    def test_a_table_that_is_absent(self, clean, of_clean, copy, archive):
        folder = copy(archive)
        (folder / TABLES[archive]).unlink()
        told = self.diagnosed(archive, folder, clean=clean(archive), before=of_clean(archive), refused=True)
        assert told == ("error", f"{Path(TABLES[archive]).name}: is not there")

    def test_a_column_of_another_name(self, clean, of_clean, copy, archive):
        folder = copy(archive)
        change(folder / TABLES[archive], put(1, COLUMNS[archive], COLUMNS[archive] + "s"))
        told = self.diagnosed(archive, folder, clean=clean(archive), before=of_clean(archive), refused=True)
        assert told == ("error", f"{Path(TABLES[archive]).name}: has no column {COLUMNS[archive]!r}")
        assert "did you mean" in examined(archive, folder).findings[-1].remedy

    def test_a_table_without_its_header_shows_no_case(self, clean, of_clean, copy, archive):
        folder = copy(archive)
        change(folder / TABLES[archive], lambda rows: rows.pop(0))
        severity, what = self.diagnosed(archive, folder, clean=clean(archive), before=of_clean(archive), refused=True)
        assert (severity, "has no column" in what) == ("error", True)

    def test_a_table_without_a_row(self, clean, of_clean, copy, archive):
        folder = copy(archive)
        change(folder / TABLES[archive], lambda rows: rows.__delitem__(slice(1, None)))
        told = self.diagnosed(archive, folder, clean=clean(archive), before=of_clean(archive), refused=True)
        assert told == ("error", f"{Path(TABLES[archive]).name}: has a header but no rows")

    def test_a_row_that_stands_there_twice(self, clean, of_clean, copy, archive):
        folder = copy(archive)
        change(folder / TABLES[archive], lambda rows: rows.append(rows[5]))
        told = self.diagnosed(archive, folder, clean=clean(archive), before=of_clean(archive), refused=True)
        assert told == ("error", f"{Path(TABLES[archive]).name}: entries listed more than once: 1")

    def test_an_image_that_is_absent(self, clean, of_clean, copy, archive):
        folder = copy(archive)
        (folder / cases_of(archive, folder)["file"][3]).unlink()
        told = self.diagnosed(archive, folder, clean=clean(archive), before=of_clean(archive))
        assert told == ("error", f"listed images that are not on the disk: 1 of {CASES}")

    def test_an_image_that_is_cut_off(self, clean, of_clean, copy, archive):
        folder = copy(archive)
        file = folder / cases_of(archive, folder)["file"][3]
        file.write_bytes(file.read_bytes()[:-700])
        told = self.diagnosed(archive, folder, clean=clean(archive), before=of_clean(archive))
        kind = "is cut off" if archive == "vindr" else "is no whole PNG or JPEG"
        assert told == ("error", f"images of the sample that cannot be used: 1 of {CASES} ({kind})")

    def test_images_that_no_table_lists(self, clean, of_clean, copy, archive):
        folder = copy(archive)
        file = folder / cases_of(archive, folder)["file"][3]
        for number in range(2):
            Image.fromarray(picture(number)).save(file.with_name(f"other{number}.png"))
        unlisted = 2 + (archive == "padchest")
        new = findings(examined(archive, folder)) - of_clean(archive)
        assert new == {("note", f"images on the disk that no table lists: {unlisted}")}
        for number in range(5):
            Image.fromarray(picture(number)).save(file.with_name(f"other{number}.png"))
        assert examined(archive, folder).code == 1

    def test_the_same_pixels_twice_in_a_split(self, clean, of_clean, copy, archive):
        folder = copy(archive)
        plant_duplicate(archive, folder, cases_of(archive, folder), across=False)
        told = self.diagnosed(archive, folder, clean=clean(archive), before=of_clean(archive))
        assert told == ("warning", f"images of the sample with the pixels of another one: 2 of {CASES}")

    def test_the_same_pixels_in_two_splits(self, clean, of_clean, copy, archive):
        folder = copy(archive)
        if set(cases_of(archive, folder)["split"]) == {""}:
            pytest.skip("this archive has no official splits")
        plant_duplicate(archive, folder, cases_of(archive, folder), across=True)
        told = self.diagnosed(archive, folder, clean=clean(archive), before=of_clean(archive))
        where = "in another split"
        assert told == ("error", f"images of the sample with the pixels of another one {where}: 2 of {CASES}")

    def test_an_image_of_one_grey(self, clean, of_clean, copy, archive):
        folder = copy(archive)
        file = folder / cases_of(archive, folder)["file"][3]
        if archive == "vindr":
            dataset = pydicom.dcmread(file)
            dataset.PixelData = bytes(len(dataset.PixelData))
            dataset.save_as(file)
        else:
            Image.fromarray(np.zeros((32, 32), np.uint8)).save(file)
        told = self.diagnosed(archive, folder, clean=clean(archive), before=of_clean(archive))
        assert told == ("warning", f"images of the sample that have one grey value throughout: 1 of {CASES}")

    def test_counts_that_are_not_those_of_the_stamp(self, clean, of_clean, copy, archive):
        folder = copy(archive)
        stamp = json.loads((folder / "twin.json").read_text())
        (folder / "twin.json").write_text(json.dumps(stamp | {"cases": 1234}))
        told = self.diagnosed(archive, folder, clean=clean(archive), before=of_clean(archive))
        assert told == ("warning", f"counts are not those of its stamp: {CASES} of 1,234 cases")

    def test_what_is_no_twin_is_measured_against_the_card(self, clean, copy, archive):
        folder = copy(archive)
        (folder / "twin.json").unlink()
        found = examined(archive, folder)
        assert found.code == 1
        counts = [what for severity, what in findings(found) if "counts are not those of the published archive" in what]
        assert f"{CASES} of {registry.load('datasets', archive).CARD.expected['cases']:,} cases" in counts[0]
        assert {severity for severity, what in findings(found) if "positive" in what} <= {"warning"}
        assert_nameless(found, cases_of(archive, folder))

    def test_a_twin_of_another_archive(self, clean, of_clean, copy, archive):
        folder = copy(archive)
        (folder / "twin.json").write_text('{"archive": "another", "cases": 40}')
        new = findings(examined(archive, folder)) - of_clean(archive)
        assert new == {("error", "this is a synthetic twin of another archive")}

    def test_no_images_at_all(self, clean, copy, archive):
        folder = copy(archive)
        for file in cases_of(archive, folder)["file"]:
            (folder / file).unlink()
        for file in folder.rglob("*.png"):
            file.unlink()
        found = examined(archive, folder)
        assert found.code == 2
        assert any("has no images" in what or f"not on the disk: {CASES}" in what for _, what in findings(found))
        assert_nameless(found, cases_of(archive, clean(archive)))


STRANGE_WORDS = {
    "chestxray14": ("Finding Labels", "Masss", "line 4 names an unknown finding (1 such lines)"),
    "chexpert": ("Edema", "7.125", "line 4 says an unknown word for 'Edema' (1 such lines)"),
    "padchest": ("Labels", "['mass", "line 4 has no list of findings (1 such lines)"),
    "uka_cxr": ("congestion", "94321", "line 4 says an unknown word for 'congestion' (1 such lines)"),
    "vindr": ("Edema", "77123", "line 4 says an unknown word for 'Edema' (1 such lines)"),
}


@pytest.mark.parametrize("archive", STRANGE_WORDS)
def test_an_unknown_label_value(clean, of_clean, copy, archive):
    folder, (column, word, told) = copy(archive), STRANGE_WORDS[archive]
    change(folder / TABLES[archive], put(4, column, word))
    found = examined(archive, folder)
    new = findings(found) - of_clean(archive)
    assert new == {("error", f"{Path(TABLES[archive]).name}: {told}")}
    assert word not in as_text(integrity._page(found, listed=False))
    assert_nameless(found, cases_of(archive, clean(archive)))


def test_an_unknown_label_value_in_a_table_of_reports(clean, of_clean, copy):
    folder = copy("mimic_cxr")
    change(folder / "mimic-cxr-2.0.0-chexpert.csv.gz", put(4, "Edema", "2.0"))
    new = findings(examined("mimic_cxr", folder)) - of_clean("mimic_cxr")
    told = "mimic-cxr-2.0.0-chexpert.csv.gz: line 4 says an unknown word for 'Edema' (1 such lines)"
    assert new == {("error", told)}
    # the other program's labels are whole
    assert examined("mimic_cxr", folder, labeller="negbio").code == 0


EMPTY = {
    "chestxray14": ("Finding Labels", "line 4 has no findings (1 such lines)"),
    "vindr": ("Edema", "line 4 has no Edema (1 such lines)"),
}


@pytest.mark.parametrize("archive", EMPTY)
def test_an_empty_label_is_refused(clean, of_clean, copy, archive):
    folder, (column, told) = copy(archive), EMPTY[archive]
    change(folder / TABLES[archive], put(4, column, ""))
    new = findings(examined(archive, folder)) - of_clean(archive)
    assert new == {("error", f"{Path(TABLES[archive]).name}: {told}")}


@pytest.mark.parametrize(
    ("archive", "column", "label", "shown"),
    [
        ("chexpert", "Edema", "Edema", "Cells missing"),
        ("padchest", "Labels", "normal", "Unknown"),
        ("uka_cxr", "congestion", "congestion", "Unknown"),
    ],
)
def test_an_empty_label_is_counted(clean, copy, archive, column, label, shown):
    folder = copy(archive)
    before = examined(archive, clean(archive)).labels.set_index("Label").loc[label, shown]
    rows: Rows = []
    change(folder / TABLES[archive], rows.extend)
    line = next(number for number, row in enumerate(rows) if number and row[rows[0].index(column)])
    change(folder / TABLES[archive], put(line + 1, column, ""))
    after = examined(archive, folder).labels.set_index("Label").loc[label, shown]
    assert float(after.split()[0]) - float(before.split()[0]) == pytest.approx(100 / CASES)


AGES = {
    "chestxray14": ("Patient Age", "412"),
    "chexpert": ("Age", "412"),
    "padchest": ("PatientBirth", "1602.0"),
    "uka_cxr": ("age", "412"),
}


@pytest.mark.parametrize("archive", AGES)
def test_an_impossible_age(clean, of_clean, copy, archive):
    folder = copy(archive)
    change(folder / TABLES[archive], put(4, *AGES[archive]))
    found = examined(archive, folder)
    new = findings(found) - of_clean(archive)
    told = "ages below 0, above 110 or no number: 1, first in line 4"
    assert new == {("warning", f"{Path(TABLES[archive]).name}: {told}")}
    assert "412" not in as_text(integrity._page(found, listed=False))
    edit(folder / TABLES[archive], old="\n", new="\n\n")
    assert told.replace("line 4", "line 5") in "".join(what for _, what in findings(examined(archive, folder)))


def test_an_impossible_age_in_a_header(clean, of_clean, copy):
    folder = copy("vindr")
    file = folder / cases_of("vindr", folder)["file"][3]
    dataset = pydicom.dcmread(file)
    dataset.PatientAge = "412Y"
    dataset.save_as(file)
    new = findings(examined("vindr", folder)) - of_clean("vindr")
    told = f"images of the sample that tell an age that makes no sense in their header: 1 of {CASES}"
    assert new == {("warning", told)}


def move_a_patient(archive: str, folder: Path) -> None:
    """One image of a patient into another split than the others."""
    cases = cases_of(archive, folder)
    several = cases[cases["patient"].duplicated(keep=False) & cases["split"].isin(["train", ""])]
    case = several.iloc[0]
    if archive == "chestxray14":
        train, test = (folder / name for name in ("train_val_list.txt", "test_list.txt"))
        train.write_text(train.read_text().replace(case["case"] + "\n", ""))
        test.write_text(test.read_text() + case["case"] + "\n")
    elif archive == "chexpert":
        moved = f"valid/{case['patient']}/study1/view9_frontal.jpg"
        (folder / moved).parent.mkdir(parents=True)
        (folder / case["file"]).rename(folder / moved)
        rows: Rows = []
        change(folder / "train.csv", lambda table: rows.append(table.pop(1 + int(case.name))))
        change(folder / "valid.csv", lambda table: table.append([moved, *rows[0][1:5], *["0.0"] * 14]))
    elif archive == "mimic_cxr":
        change(folder / TABLES[archive], put(2 + int(case.name), "split", "test"))
    else:
        last = cases["patient"].iloc[-1]
        for number, patient in enumerate(cases["patient"]):
            word = "test" if number == case.name else "validation" if patient == last else "train"
            change(folder / TABLES[archive], put(2 + number, "split", word))


@pytest.mark.parametrize("archive", ["chestxray14", "chexpert", "mimic_cxr", "uka_cxr"])
def test_a_patient_in_two_splits(clean, of_clean, copy, archive):
    folder = copy(archive)
    move_a_patient(archive, folder)
    found = examined(archive, folder)
    new = {finding for finding in findings(found) - of_clean(archive) if "note" not in finding}
    ((severity, what),) = new
    many = 2 if archive == "uka_cxr" and what.endswith("2") else 1
    assert (severity, what) == ("error", f"patients with cases in more than one official split: {many}")
    assert_nameless(found, cases_of(archive, clean(archive)))


def test_an_image_in_training_and_test(clean, of_clean, copy):
    folder = copy("vindr")
    case = cases_of("vindr", folder)["case"][0]
    change(folder / "annotations/image_labels_test.csv", put(2, "image_id", case))
    new = findings(examined("vindr", folder)) - of_clean("vindr")
    told = "image_labels_test.csv: an image of it is also in image_labels_train.csv (1 such images)"
    assert new == {("error", told)}


def test_the_tables_of_another_archive(clean, copy):
    folder = copy("padchest")
    (folder / "twin.json").unlink()
    told = findings(examined("chestxray14", folder))
    assert told == {
        ("error", "Data_Entry_2017_v2020.csv: is not there"),
        ("note", "the tables of padchest lie here"),
    }


def test_a_refusal_that_nobody_made_nameless_is_not_shown():
    shown = as_finding(UserError("patient anna is ill", file="anna/list.csv", remedy="call anna"))
    assert "anna" not in shown.what + shown.remedy
    assert shown.what.startswith("list.csv: is refused")
    assert shown.names == ("anna/list.csv: patient anna is ill; call anna",)
    assert "anna" not in str(shown)


# the sample


def test_a_sample_is_spread_and_always_the_same():
    assert spread(112_120, sample=5) == [0, 28_030, 56_060, 84_089, 112_119]
    assert spread(3, sample=200) == [0, 1, 2]
    assert spread(0, sample=200) == spread(9, sample=0) == []


def test_a_decoder_that_crashes_costs_one_image():
    rows = [{"file": f"{number}.png"} for number in range(3)]
    looked = list(in_order(deadly_specimen.work, rows, lost=image_sample._lost, workers=1))
    assert [one.problem for one in looked] == ["", image_sample.CRASHED, ""]
    (found,) = problems(looked, files=[row["file"] for row in rows])
    assert found.what == "images of the sample that cannot be used: 1 of 3 (crashes its decoder)"


def test_few_broken_images_are_a_warning():
    looked = [Specimen(problem="is broken"), *[Specimen(digest=str(number)) for number in range(199)]]
    rows = [{"file": f"{number}.png"} for number in range(200)]
    (found,) = problems(looked, files=[row["file"] for row in rows])
    assert found.severity == "warning"


def test_words_that_may_be_names_are_not_shown():
    assert tally(["AP", "PA", "AP"]) == "2 AP; 1 PA"
    assert "anna" not in tally([f"anna{number}" for number in range(31)])


# the door


def called(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "scripts/doctor.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_the_door(copy, tmp_path):
    folder = copy("chexpert")
    file = cases_of("chexpert", folder)["file"][3]
    (folder / file).unlink()
    written = ["--page", tmp_path / "page.html", "--list", tmp_path / "which.csv"]
    done = called("chexpert", folder, "--sample", 4, "--options", '{"uncertain": "positive"}', *written)
    assert done.returncode == 2
    assert "ERROR: listed images that are not on the disk: 1 of 40" in done.stdout
    assert "Traceback" not in done.stderr
    page = (tmp_path / "page.html").read_text()
    assert "listed images that are not on the disk" in page
    which = pd.read_csv(tmp_path / "which.csv")
    assert which.to_dict("list") == {"finding": ["listed images that are not on the disk: 1 of 40"], "name": [file]}
    assert Path(file).name not in done.stdout + done.stderr + page


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["chexpert", "nowhere"], "there is no such folder"),
        (["chexprt", "docs"], "did you mean 'chexpert'"),
        (["chexpert", "docs", "--options", "{"], "--options is not valid JSON"),
        (["chexpert", "docs", "--options", "[]"], "--options must be a JSON object"),
        (["chexpert", "docs", "--options", '{"uncertian": "positive"}'], "did you mean 'uncertain'"),
        (["chexpert", "docs", "--sample", "-1"], "--sample must be >= 0 (got -1)"),
        (["chexpert", "docs", "--list", "README.md/x.csv"], "README.md"),
    ],
)
def test_a_wrong_call_is_one_line(monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(ROOT)

    with pytest.raises(SystemExit) as ended:
        door(integrity.doctor, arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the real radiographs are not on this machine")
def test_the_real_sample():
    folder = SAMPLES / "chestxray14_64px"
    found = examined("chestxray14", folder)
    assert (found.code, found.unchecked) == (1, [])
    assert findings(found) == {
        (
            "warning",
            "counts are not those of the published archive: 1,000 of 112,120 cases, 264 of 30,805 patients,"
            " 735 of 86,524 train cases, 265 of 25,596 test cases",
        ),
        ("warning", "no case in test is positive for 1 label: Hernia"),
    }
    seen = "\n".join(found.seen)
    assert "199 PNG colour, 8 bits; 1 PNG colour with transparency, 8 bits" in seen
    assert "637 PA; 363 AP" in seen
    assert_nameless(found, cases_of("chestxray14", folder))
    assert not re.search(r"\d{8}", as_text(integrity._page(found, listed=False)))


# archives of CT


@pytest.mark.parametrize(("archive", "pattern"), [("fdg_petct", "*/*/*/CT.nii.gz"), ("ct_ich", "ct_scans/*.nii")])
def test_a_volume_that_is_absent_and_one_that_is_cut_off(clean, copy, archive, pattern):
    folder = copy(archive)
    gone, short = sorted(folder.glob(pattern))[:2]
    gone.unlink()
    short.write_bytes(short.read_bytes()[: short.stat().st_size // 2])
    found = examined(archive, folder)
    said = {what for severity, what in findings(found) - findings(examined(archive, clean(archive)))}
    assert any("listed images that are not on the disk: 1 of" in what for what in said) == (archive == "fdg_petct")
    assert any("is not a readable volume" in what for what in said)
    assert_nameless(found, cases_of(archive, clean(archive)))


@pytest.mark.parametrize("archive", ["lidc", "rsna_ich"])
def test_a_slice_that_is_cut_off_or_all_air(clean, copy, archive):
    folder = copy(archive)
    cases = cases_of(archive, folder)
    short, air = (folder / cases["file"].iloc[place] for place in (2, 5))
    short.write_bytes(short.read_bytes()[:-1000])
    dataset = pydicom.dcmread(air)
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(air)
    said = findings(examined(archive, folder)) - findings(examined(archive, clean(archive)))
    assert {severity for severity, _ in said} == {"error", "warning"}
    assert any("one grey value throughout: 1 of 40" in what for _, what in said)
    assert any("cannot be used: 1 of 40 (is not a readable CT slice)" in what for _, what in said)


def test_a_ct_is_told_by_its_form(clean):
    seen = "\n".join(examined("fdg_petct", clean("fdg_petct")).seen)
    assert "40 NIfTI int16" in seen
    assert "official splits: none" in seen
