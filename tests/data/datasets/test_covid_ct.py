"""COVID-CT: six lists, names with `%`, two tables of patients; a patient in two lists is found, grouped or excused."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from headwater.core.errors import UserError
from headwater.data import tables
from headwater.data.datasets.covid_ct import CARD, LISTS, Options, label_files, read_cases, read_pixels
from headwater.data.index import CATALOGUE
from headwater.data.store import CASES
from headwater.data.twins import covid_ct as twins
from headwater.models.tasks.classification import form
from headwater.stages.ledger import ledger
from headwater.stages.prepare import prepare
from headwater.study.archive import Archive
from headwater.study.leaks import Excuse, Leaks, Learned, Overlaps

SLICES = {
    ("COVID", "train"): ["2020.02.10.20021584-p6-52%0.png", "2020.02.10.20021584-p6-52%1.png", "kjr-21-e24-g1-l-a.jpg"],
    ("COVID", "validation"): ["2020.02.10.20021584-p6-52%2.png"],
    ("COVID", "test"): ["Fig 3 of a letter.JPEG"],
    ("NonCOVID", "train"): ["1%0.jpg", "2.png"],
    ("NonCOVID", "validation"): ["3.png"],
    ("NonCOVID", "test"): ["1%1.jpg"],
}
"""Two figures are cut into pieces that stand in two lists."""


@pytest.fixture
def folder(tmp_path):
    for (label, split), names in SLICES.items():
        listed = tmp_path / LISTS[label, split]
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("".join(f"{name}\n" for name in names))
        images = tmp_path / "Images-processed" / f"CT_{label}"
        images.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(names):
            Image.fromarray(np.full((8, 6, 3), 40 * number + 9, np.uint8)).save(images / name)
    return tmp_path


def table(folder, text, *, label="COVID"):
    (folder / f"{label}-CT-MetaInfo.csv").write_text(text)


def cases_of(folder, **options):
    return CATALOGUE.check(read_cases(folder, Options(**options))).set_index("case")


def test_the_catalogue(folder):
    table(
        folder, "File name,Patient ID,Age,Gender,DOI\nkjr-21-e24-g1-l-a,Patient 7,45,f,x\nunknown.png,Patient 8,,M,\n"
    )
    cases = cases_of(folder)
    assert {key: list(part.index) for key, part in cases.groupby("split")} == {
        split: [name for (_, of), names in SLICES.items() if of == split for name in names] for split in tables.SPLITS
    }
    told = cases.loc["kjr-21-e24-g1-l-a.jpg"]
    assert (told["patient"], told["age"], told["sex"], told["study"]) == ("COVID/Patient 7", 45, "F", "")
    piece = cases.loc["2020.02.10.20021584-p6-52%1.png"]
    assert piece["study"] == "COVID/2020.02.10.20021584-p6-52"
    assert piece["patient"] == "COVID/figure 2020.02.10.20021584-p6-52"
    # 1%0 of the one class and 1%1 of the other would be two figures
    assert cases.loc[["1%0.jpg", "1%1.jpg"], "patient"].tolist() == ["NonCOVID/figure 1"] * 2
    targets = cases[[tables.TARGET + label for label in CARD.labels]].to_numpy()
    assert form(targets) == "multiclass"
    assert targets[:, 0].tolist() == [1] * 5 + [0] * 4
    for case in cases.reset_index().to_dict("records"):
        assert read_pixels(folder, case).shape == (8, 6)


def test_the_other_class_spells_its_table_differently(folder):
    table(folder, "image name,patient id\n1%0.jpg,A\n1%1.jpg,B\n", label="NonCOVID")
    cases = cases_of(folder)
    assert cases.loc[["1%0.jpg", "1%1.jpg"], "patient"].tolist() == ["NonCOVID/A", "NonCOVID/B"]
    assert [file.name for file in label_files(folder, Options())][-1] == "NonCOVID-CT-MetaInfo.csv"


def test_grouped_lists_share_no_patient_and_drawn_ones_are_none(folder):
    official, grouped = cases_of(folder), cases_of(folder, splits="grouped")
    parts = official.groupby("patient")["split"].nunique()
    assert sorted(parts)[-3:] == [1, 2, 2]
    assert grouped.groupby("patient")["split"].nunique().eq(1).all()
    # two of three pieces were for training; of a tie the training keeps both
    assert grouped.loc[official["study"] != "", "split"].unique().tolist() == ["train"]
    alone = official["study"] == ""
    assert (grouped.loc[alone, "split"] == official.loc[alone, "split"]).all()
    assert set(cases_of(folder, splits="drawn")["split"]) == {""}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("File name,Patient ID\n2.png,A\n2,B\n", r"2: names two patients for one image \(1 such images\)"),
        ("File name,Age\n2.png,3\n", "has no column 'Patient ID'"),
    ],
)
def test_broken_tables_of_patients_are_refused(folder, text, said):
    table(folder, text)
    with pytest.raises(UserError, match=said):
        read_cases(folder, Options())


def test_what_stands_in_two_lists_or_nowhere_is_refused(folder):
    (folder / "COVID-CT-MetaInfo.xlsx").write_bytes(b"a workbook")
    with pytest.raises(UserError, match=r"xlsx: names the patients, .* save its sheet as COVID-CT-MetaInfo\.csv"):
        label_files(folder, Options())
    table(folder, "File name,Patient ID\n2.png,A\n")
    listed = folder / LISTS["NonCOVID", "test"]
    listed.write_text(listed.read_text() + "2.png\n")
    with pytest.raises(UserError, match=r"2\.png is also in trainCT_NonCOVID\.txt"):
        read_cases(folder, Options())
    listed.unlink()
    with pytest.raises(UserError, match=r"testCT_NonCOVID\.txt: is not there"):
        label_files(folder, Options())


def prepared(folder, out, *, apart=True, **options):
    """An archive as `prepare` writes it, and its cases."""
    kind = {"name": "covid_ct", "options": options}
    mine = Archive(name="ct", kind=kind, folder=str(folder), size=32, patients_apart=apart)
    files = {name: out / "ct" / f"{name}.parquet" for name in ("cases", "rejects", "labels")}
    others = {
        "images": out / "ct" / "images.npy",
        "hashes": out / "ct" / "hashes.npy",
        "split": out / "ct" / "split.json",
    }
    prepare(archive=mine, workers=0, **files, **others)
    return CASES.read(files["cases"])


def looked_at(out, *excused):
    """The ledger of such an archive; images are not what this is about."""
    splits = ("train", "validation", "test")
    parts = (Learned(archive="ct", splits=splits, numbering="covid_ct"),)
    overlaps = Overlaps(leaks=Leaks(distance=0, excused=excused), archives=parts)
    cases, hashes = out / "ct" / "cases.parquet", out / "ct" / "hashes.npy"
    ledger(overlaps=overlaps, cases=[cases], hashes=[hashes], ledger=out / "l.parquet", readable=out / "l.csv")
    return pd.read_csv(out / "l.csv").query("kind == 'patients' and cases > 0")


def test_the_parted_patient_of_the_official_lists_is_named_grouped_or_excused(tmp_path):
    twins.make(tmp_path / "twin", cases=120, seed=1, size=32)
    shared = cases_of(tmp_path / "twin").groupby("patient")["split"].agg(set)
    (parted,) = shared.index[shared.map(len) > 1]
    with pytest.raises(UserError, match=rf"patient {parted} is in test .*testCT_COVID.*and in train .*1 such patients"):
        prepared(tmp_path / "twin", tmp_path / "refused")

    apart = prepared(tmp_path / "twin", tmp_path / "grouped", splits="grouped")
    assert apart.groupby("patient")["split"].nunique().eq(1).all()
    assert looked_at(tmp_path / "grouped").empty
    drawn = prepared(tmp_path / "twin", tmp_path / "drawn", splits="drawn")
    assert set(drawn["split"]) == set(tables.SPLITS)

    prepared(tmp_path / "twin", tmp_path / "told", apart=False)
    with pytest.raises(UserError, match=r"leaks into test splits: ct train and ct test share patients: \d case"):
        looked_at(tmp_path / "told")
    why = "the authors' lists part this patient; see their issue 11"
    excuses = [Excuse(kind=kind, between=("ct train", "ct test"), reason=why) for kind in ("patients", "studies")]
    (row,) = looked_at(tmp_path / "told", *excuses).itertuples()
    assert (row.patients, row.other_cases, row.excuse) == (1, 1, why)
