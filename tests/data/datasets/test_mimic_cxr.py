import gzip
import random

import numpy as np
import pandas as pd
import pytest

from archives_made import chexpert_cells, edit, edit_compressed, make_mimic_cxr, write_compressed
from headwater.core.errors import UserError
from headwater.data.datasets.mimic_cxr import CARD, FILES, Options, label_files, read_cases, read_pixels
from headwater.data.index import CATALOGUE
from headwater.data.tables import TARGET

TARGETS = [TARGET + label for label in CARD.labels]
SPLIT, METADATA, CHEXPERT = (f"{FILES[name]}.gz" for name in ("split", "metadata", "chexpert"))


@pytest.fixture
def folder(tmp_path):
    return make_mimic_cxr(tmp_path / "archive")


def cases_of(folder, **options):
    return CATALOGUE.check(read_cases(folder, Options(**options)))


def refusal_of(folder, **options):
    with pytest.raises(UserError) as refused:
        read_cases(folder, Options(**options))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def lines_of(path):
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def test_the_catalogue(folder):
    cases = cases_of(folder)
    assert cases["split"].value_counts().to_dict() == {"train": 14, "test": 4, "validation": 2}
    first = cases.iloc[0]
    assert (first["case"], first["patient"], first["study"]) == ("00000000-pa", "10000000", "50000000")
    assert first["file"] == "files/p10/p10000000/s50000000/00000000-pa.jpg"
    assert cases["file"].iloc[-1] == "files/p19/p19000000/s50000009/00000009-lateral.jpg"
    assert list(cases["view"][:2]) == ["PA", "LATERAL"]
    assert set(cases["sex"]) == {""}
    assert cases["age"].isna().all()
    assert [column for column in cases if column.startswith(TARGET)] == TARGETS
    assert (len(TARGETS), CARD.patients, CARD.hosted_logging) == (14, True, False)
    assert read_pixels(folder, first.to_dict()).shape == (24, 20)


def test_labels_are_those_of_the_study_whatever_the_order_of_rows_and_columns(folder):
    expected = cases_of(folder)
    values = {"1.0": 1, "0.0": 0, "-1.0": 0, "": 0}
    for case, row in expected.set_index("case")[TARGETS].iterrows():
        np.testing.assert_array_equal(row, [values[cell] for cell in chexpert_cells(int(case[:8]))])
    for name in (METADATA, CHEXPERT):
        rows = [line.split(",") for line in lines_of(folder / name)]
        order = list(range(len(rows[0])))
        random.Random(3).shuffle(order)
        shuffled = [",".join(row[place] for place in order) for row in rows]
        write_compressed(folder / name, [shuffled[0], *random.Random(4).sample(shuffled[1:], len(rows) - 1)])
    pd.testing.assert_frame_equal(cases_of(folder), expected)


def test_tables_may_be_unpacked(folder):
    expected = cases_of(folder)
    for file in sorted(folder.glob("*.gz")):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    pd.testing.assert_frame_equal(cases_of(folder), expected)
    assert [file.suffix for file in label_files(folder, Options())] == [".csv"] * 3


def test_release_2_0_0_says_the_same(folder, tmp_path):
    older = make_mimic_cxr(tmp_path / "older", release="2.0.0")
    pd.testing.assert_frame_equal(cases_of(older), cases_of(folder))
    assert len(label_files(folder, Options(test_labels="radiologists"))) == 4
    line = refusal_of(older, test_labels="radiologists")
    assert "mimic-cxr-2.1.0-test-set-labeled.csv.gz: is not there; fetch release 2.1.0, or set" in line


def changed(cases, others):
    """Where two catalogues have other targets; all else must be equal."""
    pd.testing.assert_frame_equal(cases.drop(columns=TARGETS), others.drop(columns=TARGETS))
    one, other = cases[TARGETS], others[TARGETS]
    return ~((one == other) | (one.isna() & other.isna())).to_numpy()


def cells_of(cases, *, shift=0):
    """What a program says of each image and label."""
    return np.array([chexpert_cells(int(case[:8]) + shift) for case in cases["case"]])


@pytest.mark.parametrize(
    ("options", "word", "value"),
    [
        ({"uncertain": "positive"}, "-1.0", 1.0),
        ({"uncertain": "ignored"}, "-1.0", np.nan),
        ({"missing": "ignored"}, "", np.nan),
    ],
)
def test_a_policy_changes_its_own_cells_only(folder, options, word, value):
    default, cases = cases_of(folder), cases_of(folder, **options)
    expected = cells_of(default) == word
    np.testing.assert_array_equal(changed(default, cases), expected)
    np.testing.assert_array_equal(cases[TARGETS].to_numpy()[expected], value)


def test_the_other_labeller_changes_what_it_reads_otherwise(folder):
    default, cases = cases_of(folder), cases_of(folder, labeller="negbio")
    positive, other = (cells_of(default, shift=shift) == "1.0" for shift in (0, 1))
    np.testing.assert_array_equal(changed(default, cases), positive != other)
    (folder / CHEXPERT).unlink()
    pd.testing.assert_frame_equal(cases_of(folder, labeller="negbio"), cases)
    assert f"{CHEXPERT}: is not there" in refusal_of(folder)


def test_radiologists_label_the_test_images_only(folder):
    default, cases = cases_of(folder), cases_of(folder, test_labels="radiologists")
    test = (default["split"] == "test").to_numpy()
    assert not changed(default, cases)[~test].any()
    # the table has another order of columns, and another word for Lung Opacity
    read = dict(zip(reversed(CARD.labels), [1, 0] * 7, strict=True))
    assert (cases.loc[test, TARGETS] == [read[label] for label in CARD.labels]).all(axis=None)
    table = folder / FILES["radiologists"]
    assert "Airspace Opacity" in table.read_text()
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    fewer = cases_of(folder, test_labels="radiologists")
    unread = (fewer["study"] == "50000009").to_numpy()
    assert fewer.loc[unread, TARGETS].isna().all(axis=None)
    assert not changed(cases, fewer)[~unread].any()


def test_a_study_without_labels_is_unknown_whatever_the_policy(folder):
    lines = [line for line in lines_of(folder / CHEXPERT) if ",50000003," not in line]
    write_compressed(folder / CHEXPERT, lines)
    for missing in ("negative", "ignored"):
        cases = cases_of(folder, missing=missing)
        unknown = cases["study"] == "50000003"
        assert unknown.sum() == 2
        assert cases.loc[unknown, TARGETS].isna().all(axis=None)
    assert cases_of(folder).loc[~unknown, TARGETS].notna().all(axis=None)


def test_views_are_told_as_they_are_and_may_be_empty(folder):
    edit_compressed(folder / METADATA, old=",PA,", new=",AP AXIAL,")
    edit_compressed(folder / METADATA, old=",LATERAL,", new=",,")
    assert cases_of(folder)["view"].value_counts().to_dict() == {"PA": 9, "LATERAL": 9, "AP AXIAL": 1, "": 1}


@pytest.mark.parametrize("name", [SPLIT, METADATA])
def test_an_absent_table_is_refused(folder, name):
    (folder / name).unlink()
    assert f"{folder / name}: is not there; fetch it from PhysioNet" in refusal_of(folder)
    with pytest.raises(UserError, match="is not there"):
        label_files(folder, Options())


def test_a_folder_without_labels_is_refused(folder):
    for name in ("chexpert", "negbio"):
        (folder / f"{FILES[name]}.gz").unlink()
        with pytest.raises(UserError, match=rf"{name}\.csv\.gz: is not there"):
            label_files(folder, Options(labeller=name))


def test_tables_that_do_not_count_are_not_asked_for(folder):
    (folder / f"{FILES['negbio']}.gz").unlink()
    before = label_files(folder, Options())
    (folder / f"{FILES['negbio']}.gz").write_text("fetched later")
    assert label_files(folder, Options()) == before


@pytest.mark.parametrize(
    ("name", "old", "new", "wanted"),
    [
        (CHEXPERT, "Pleural Other", "Pleural Athor", "no column 'Pleural Other'; did you mean 'Pleural Athor'?"),
        (CHEXPERT, "Lung Opacity", "Opacity", "no column 'Lung Opacity' or 'Airspace Opacity'"),
        (CHEXPERT, ",1.0,", ",yes,", "says 'yes' for"),
        (CHEXPERT, "50000001", "50000002", "50000002 is listed more than once"),
        (SPLIT, "00000000-lateral", "00000000-pa", "00000000-pa is listed more than once"),
        (SPLIT, "validate", "valid", "line 16 says 'valid' for 'split'; did you mean 'validate'?"),
        (SPLIT, "00000003-pa,50000003,", "00000003-pa,,", "line 8 has no study"),
        (METADATA, "00000003-pa", "99999999-pa", "lacks 00000003-pa, which is in mimic-cxr-2.0.0-split.csv.gz (1 such"),
        (METADATA, "ViewPosition", "Position", "no column 'ViewPosition'; did you mean 'Position'?"),
    ],
)
def test_broken_tables_are_refused(folder, name, old, new, wanted):
    edit_compressed(folder / name, old=old, new=new)
    line = refusal_of(folder)
    assert str(folder / name) in line
    assert wanted in line


def test_an_image_that_is_described_but_in_no_split_is_refused(folder):
    write_compressed(folder / SPLIT, lines_of(folder / SPLIT)[:-1])
    assert f"{SPLIT}: lacks 00000009-lateral, which is in {METADATA}" in refusal_of(folder)


def test_labels_of_another_archive_are_refused(folder):
    write_compressed(folder / CHEXPERT, [line.replace(",500000", ",510000") for line in lines_of(folder / CHEXPERT)])
    assert "labels no study of these images; use the tables of one release" in refusal_of(folder)


def test_a_table_that_is_cut_off_is_refused(folder):
    content = (folder / CHEXPERT).read_bytes()
    (folder / CHEXPERT).write_bytes(content[: len(content) // 2])
    assert f"{CHEXPERT}: is not a readable CSV" in refusal_of(folder)


def test_a_broken_table_of_the_radiologists_is_refused(folder):
    edit(folder / FILES["radiologists"], old="50000009", new="50000008")
    assert "50000008 is listed more than once" in refusal_of(folder, test_labels="radiologists")
