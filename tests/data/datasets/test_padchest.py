import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from archives_made import PADCHEST, edit, make_padchest, picture, write_picture
from headwater.core.errors import UserError
from headwater.data.datasets import padchest
from headwater.data.datasets.padchest import CARD, Options, label_files, read_cases, read_pixels
from headwater.data.index import CATALOGUE
from headwater.data.tables import TARGET

TARGETS = [TARGET + label for label in CARD.labels]

FINDINGS = [
    "['normal']",
    "['pleural effusion', ' cardiomegaly ', \"suture material'\", '']",
    "['laminar atelectasis', 'alveolar pattern']",
    "['hydropneumothorax', 'COPD  signs']",
    "",
    "['unchanged']",
    "['exclude', 'pneumonia']",
    "['unchanged', 'kyphosis']",
    "[]",
    "['subcutaneous emphysema']",
]

TOLD = [
    {"normal"},
    {"pleural effusion", "cardiomegaly"},
    {"atelectasis", "infiltrates"},
    {"pleural effusion", "pneumothorax", "COPD signs"},
    None,
    None,
    None,
    {"kyphosis"},
    None,
    set(),
]
"""Which labels hold by these lists; none where a list tells nothing."""


@pytest.fixture
def folder(tmp_path):
    return make_padchest(tmp_path / "archive", FINDINGS)


def cases_of(folder, **options):
    return CATALOGUE.check(read_cases(folder, Options(**options)))


def refusal_of(folder, **options):
    with pytest.raises(UserError) as refused:
        read_cases(folder, Options(**options))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_catalogue(folder):
    cases = cases_of(folder)
    assert list(cases["case"]) == [f"image{number}.png" for number in range(10)]
    second = cases.iloc[1]
    assert (second["file"], second["patient"], second["study"]) == ("1/image1.png", "patient0", "study1")
    assert (second["sex"], second["age"], second["view"]) == ("M", 73, "AP_horizontal")
    assert set(cases["site"]) == {"ImagingDynamicsCompanyLtd"}
    assert set(cases["split"]) == {""}
    assert set(cases["view"]) == {"PA", "AP_horizontal", "L", "COSTAL", "EXCLUDE"}
    assert list(cases["sex"][:3]) == ["F", "M", ""]
    assert [column for column in cases if column.startswith(TARGET)] == TARGETS
    assert (CARD.patients, CARD.hosted_logging) == (True, False)


def test_a_label_holds_where_it_or_a_term_below_it_is_named(folder):
    for told, row in zip(TOLD, cases_of(folder)[TARGETS].to_numpy(), strict=True):
        expected = [np.nan if told is None else float(label in told) for label in CARD.labels]
        np.testing.assert_array_equal(row, expected)


def test_no_term_counts_for_a_label_that_is_not_there():
    assert set(padchest.BELOW) <= set(CARD.labels)


@pytest.mark.parametrize("listed", ["['normal'", "normal", "{'normal'}", "[1]", "__import__('os').abort()", "[x]"])
def test_what_is_no_list_of_words_is_refused_and_never_run(tmp_path, listed):
    folder = make_padchest(tmp_path / "archive", ["['normal']", listed])
    assert f"{PADCHEST}: line 3 has no list of findings but {listed!r}" in refusal_of(folder)
    edit(folder / PADCHEST, old="\n", new="\n\n")
    assert f"{PADCHEST}: line 4 has no list of findings" in refusal_of(folder)


def test_only_the_cases_of_physicians(folder):
    every, cases = cases_of(folder), cases_of(folder, labelled_by="physician")
    assert list(cases["case"]) == [f"image{number}.png" for number in range(0, 10, 2)]
    pd.testing.assert_frame_equal(cases, every.iloc[::2].reset_index(drop=True))


def test_no_case_of_a_physician_is_refused(folder):
    text = (folder / PADCHEST).read_text()
    (folder / PADCHEST).write_text(text.replace("Physician", "Manual"))
    assert "has no row whose MethodLabel is Physician (but Manual, RNN_model)" in refusal_of(
        folder, labelled_by="physician"
    )
    assert len(cases_of(folder)) == 10


@pytest.mark.parametrize("name", [f"{PADCHEST}.gz", padchest.TABLES[1], "PADCHEST_my_labels.csv"])
def test_the_table_may_bear_other_names_and_lack_its_first_column(folder, name):
    expected = cases_of(folder)
    content = pd.read_csv(folder / PADCHEST, dtype=str, keep_default_na=False, index_col=0).to_csv(index=False).encode()
    (folder / PADCHEST).unlink()
    (folder / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert label_files(folder, Options()) == [folder / name]
    pd.testing.assert_frame_equal(cases_of(folder), expected)


@pytest.mark.parametrize("place", ["images/{1}/{0}", "{0}", "padchest/images/{0}"])
def test_images_may_lie_in_other_folders(folder, place):
    for file in sorted(folder.glob("*/*.png")):
        moved = folder / place.format(file.name, file.parent.name)
        moved.parent.mkdir(parents=True, exist_ok=True)
        file.rename(moved)
    cases = cases_of(folder)
    assert cases["file"][3] == place.format("image3.png", "1")
    assert read_pixels(folder, cases.iloc[3].to_dict()).shape == (24, 20)


def test_sixteen_bits_are_scaled_to_eight(folder):
    case = cases_of(folder).iloc[2].to_dict()
    np.testing.assert_array_equal(read_pixels(folder, case), picture(2))


def test_a_damaged_an_absent_and_an_unlisted_image(folder):
    write_picture(folder / "0/other.png", picture(1))
    damaged = folder / "0/image0.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    (folder / "1/image1.png").unlink()
    cases = cases_of(folder)
    assert len(cases) == 10
    assert cases["file"][1] == "1/image1.png"
    with pytest.raises(UserError, match=r"image0\.png: is no whole PNG"):
        read_pixels(folder, cases.iloc[0].to_dict())
    with pytest.raises(UserError, match=r"image1\.png: is not there"):
        read_pixels(folder, cases.iloc[1].to_dict())


@pytest.mark.parametrize(
    ("date", "birth", "age"),
    [
        ("20140915", "1940.0", 74),
        ("20140915.0", "1940", 74),
        ("20140915", "2014.0", 0),
        ("20140915", "", np.nan),
        ("", "1940.0", np.nan),
        ("20140915", "2020.0", np.nan),
        ("20140915", "1880.0", np.nan),
        ("2014", "unknown", np.nan),
    ],
)
def test_ages_are_years_from_birth_to_study(date, birth, age):
    (found,) = padchest._ages(pd.Series([date]), pd.Series([birth]))
    assert found == pytest.approx(age, nan_ok=True)


def test_a_folder_without_table_or_images_is_refused(folder):
    assert f"{PADCHEST}: is not there; fetch it from the BIMCV" in refusal_of(folder / "0")
    for file in sorted(folder.glob("*/*.png")):
        file.unlink()
    assert f"{folder}: has no images; unpack them to 0/, 1/" in refusal_of(folder)


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("MethodLabel", "MethodOfLabel", "no column 'MethodLabel'; did you mean 'MethodOfLabel'?"),
        ("Labels", "Label", "no column 'Labels'"),
        ("image1.png", "image0.png", "image0.png is listed more than once"),
        (",image2.png", ",", "line 4 has no case"),
        (",patient1,", ",,", "line 4 has no patient"),
    ],
)
def test_broken_tables_are_refused(folder: Path, old, new, wanted):
    edit(folder / PADCHEST, old=old, new=new)
    line = refusal_of(folder)
    assert str(folder / PADCHEST) in line
    assert wanted in line
