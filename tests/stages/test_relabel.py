"""A second reading of an archive's labels: the same images, cases and splits, and other targets."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from archives_made import make_chestxray14, picture
from declared_tables import declared_tables
from headwater.core.errors import UserError
from headwater.core.files import read_json
from headwater.data.store import CASES
from headwater.data.tables import TARGET, labels_of
from headwater.data.twins import vindr as twin
from headwater.stages.prepare import prepare
from headwater.stages.relabel import relabel
from headwater.study.archive import Archive

FIRST = {"size": 16, "validation": 0.3, "split_seed": 3}


def with_two_projections(folder):
    """An archive in which every second image is AP."""
    table = make_chestxray14(folder) / "Data_Entry_2017_v2020.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(line.replace(",PA,", ",AP,") if row % 2 else line for row, line in enumerate(lines)))
    return folder


def first_reading(folder, out, **settings):
    """The cases of an archive whose images are prepared, in a folder of that name."""
    archive = Archive(name="first", folder=str(folder), **FIRST | settings)
    place = out / "first"
    prepare(
        archive=archive,
        workers=0,
        cases=place / "cases.parquet",
        images=place / "images.npy",
        hashes=place / "hashes.npy",
        rejects=place / "rejects.parquet",
        labels=place / "labels.parquet",
        split=place / "split.json",
    )
    return archive


def second_reading(first, out, **settings):
    """The tables of another reading of it."""
    archive = Archive(**{**first.model_dump(), "name": "second", "images_of": "first", **settings})
    place = out / "second"
    relabel(
        archive=archive,
        first=out / "first" / "cases.parquet",
        first_rejects=out / "first" / "rejects.parquet",
        cases=place / "cases.parquet",
        rejects=place / "rejects.parquet",
        labels=place / "labels.parquet",
        split=place / "split.json",
    )
    return {name: declared_tables()[name].read(place / f"{name}.parquet") for name in ("cases", "rejects", "labels")}


def test_another_policy_changes_the_cells_that_it_is_about_and_no_others(tmp_path):
    twin.make(tmp_path / "archive", cases=60, seed=1, size=32)
    first = first_reading(tmp_path / "archive", tmp_path, kind={"name": "vindr"})
    after = second_reading(first, tmp_path, kind={"name": "vindr", "readers": "any"})["cases"]
    before = CASES.read(tmp_path / "first" / "cases.parquet")
    targets = [TARGET + label for label in labels_of(before)]
    pd.testing.assert_frame_equal(after.drop(columns=targets), before.drop(columns=targets))
    changed = (after[targets] != before[targets]).to_numpy()
    assert changed.any()
    # what most readers saw, any saw; "No finding" may be what one of them saw, too
    assert (after[targets].to_numpy()[changed] == 1).all()
    # the test images come with a consensus, which no policy changes
    assert not changed[before["split"] == "test"].any()


def test_a_narrower_reading_keeps_the_rows_and_leaves_cases_out(tmp_path, capsys):
    folder = with_two_projections(tmp_path / "archive")
    first = first_reading(folder, tmp_path, kind="chestxray14")
    before = CASES.read(tmp_path / "first" / "cases.parquet")
    view = before["view"].iloc[0]
    out = before["view"] != view
    assert out.any()
    after = second_reading(first, tmp_path, projections=(view,))["cases"]
    assert after["row"].tolist() == before["row"].tolist()
    assert (after.loc[out, "split"] == "").all()
    assert after.loc[out, [TARGET + label for label in labels_of(after)]].isna().all(axis=None)
    pd.testing.assert_frame_equal(after[~out], before[~out])
    assert f"labels of {(~out).sum()} cases read anew, {out.sum()} cases left out" in capsys.readouterr().out


def test_a_reading_that_lists_more_than_was_prepared_is_refused(tmp_path):
    folder = with_two_projections(tmp_path / "archive")
    first = first_reading(folder, tmp_path, kind="chestxray14", projections=("PA",))
    with pytest.raises(UserError, match=r"cases\.parquet: has no image .*let archives\.first include all"):
        second_reading(first, tmp_path, projections=())
    assert not (tmp_path / "second").exists()


def test_a_projection_that_no_image_has_is_refused(tmp_path):
    folder = with_two_projections(tmp_path / "archive")
    with pytest.raises(UserError, match=r"archives\.first\.projections: no image is 'PAA'; did you mean 'PA'"):
        first_reading(folder, tmp_path, kind="chestxray14", projections=("PAA",))


def test_projections_that_lose_an_official_split_are_refused(tmp_path):
    folder = make_chestxray14(tmp_path / "archive")
    table, tested = folder / "Data_Entry_2017_v2020.csv", (folder / "test_list.txt").read_text().split()
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(line.replace(",PA,", ",AP,") if line.split(",")[0] in tested else line for line in lines))
    with pytest.raises(UserError, match=r"projections: no image of the official test split is PA; add AP"):
        first_reading(folder, tmp_path, kind="chestxray14", projections=("PA",))


def test_unreadable_images_stay_unreadable(tmp_path):
    folder = make_chestxray14(tmp_path / "archive")
    broken = next(iter(sorted(folder.glob("images_001/images/*.png"))))
    broken.write_bytes(broken.read_bytes()[:40])
    first = first_reading(folder, tmp_path, kind="chestxray14", rejects=0.1)
    second = second_reading(first, tmp_path)
    assert second["rejects"]["case"].tolist() == [broken.name]
    assert broken.name not in set(second["cases"]["case"])
    assert np.array_equal(second["cases"]["row"], np.arange(len(second["cases"])))


def test_another_reading_of_the_same_cases_has_the_same_splits(tmp_path):
    folder = make_chestxray14(tmp_path / "archive")
    second_reading(first_reading(folder, tmp_path, kind="chestxray14"), tmp_path)
    first, second = (read_json(tmp_path / name / "split.json") for name in ("first", "second"))
    assert (first["digest"], first["splits"]) == (second["digest"], second["splits"])
    assert second["made"] == "as of first"


def test_another_reading_of_fewer_cases_has_other_splits(tmp_path):
    folder = with_two_projections(tmp_path / "archive")
    second_reading(first_reading(folder, tmp_path, kind="chestxray14"), tmp_path, projections=("PA",))
    first, second = (read_json(tmp_path / name / "split.json") for name in ("first", "second"))
    assert first["digest"] != second["digest"]
    assert sum(part["cases"] for part in second["splits"].values()) == 18


def own_table(folder):
    """Twelve pictures of six patients in a folder, and the table of them."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    names = [f"pictures/{number:02d}.png" for number in range(12)]
    for number, name in enumerate(names):
        Image.fromarray(picture(number)).save(folder / name)
    table = pd.DataFrame({"file": names, "patient": [f"p{number // 2}" for number in range(12)]})
    table["split"] = np.repeat(["train", "validation", "test"], 4)
    return table.assign(sign=[number % 2 for number in range(12)])


def own_reading(folder, table, *, name="first.csv", **options):
    table.to_csv(folder / name, index=False)
    return {"name": "own_folder", "table": name, "labels": ("sign",), **options}


CONTRADICTIONS = {
    "patients": (
        lambda table: table.assign(patient=table["patient"].iloc[::-1].values),
        "12 cases have another patient",
    ),
    "a patient": (
        lambda table: table.assign(patient=["p9", "p9", *table["patient"].iloc[2:]]),
        "2 cases have another p",
    ),
    "splits": (
        lambda table: table.assign(split=table["split"].replace({"train": "test", "test": "train"})),
        "8 cases have another split",
    ),
    "validation": (
        lambda table: table.assign(split=np.repeat(["train", "test"], [4, 8])),
        "4 cases have another split",
    ),
}


@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_a_reading_that_contradicts_the_first_is_refused(tmp_path, kind):
    change, said = CONTRADICTIONS[kind]
    folder, table = tmp_path / "archive", own_table(tmp_path / "archive")
    first = first_reading(folder, tmp_path, kind=own_reading(folder, table))
    with pytest.raises(UserError, match=rf"second\.csv: archives\.second: {said}.* than in archives\.first, such as"):
        second_reading(first, tmp_path, kind=own_reading(folder, change(table), name="second.csv"))
    assert not (tmp_path / "second").exists()


AGREEING = {
    "no split": (lambda table: table.drop(columns="split"), {}),
    "no validation": (lambda table: table.assign(split=table["split"].replace("validation", "train")), {}),
    "no patient": (lambda table: table.drop(columns="patient"), {"patient": ""}),
    "other rows": (lambda table: table.iloc[[11, 3, 5, 1, 0, 8, 4]], {}),
}


@pytest.mark.parametrize("kind", AGREEING)
def test_a_reading_that_says_less_than_the_first_is_taken(tmp_path, kind):
    change, options = AGREEING[kind]
    folder, table = tmp_path / "archive", own_table(tmp_path / "archive")
    first = first_reading(folder, tmp_path, kind=own_reading(folder, table))
    less = change(table)
    cases = second_reading(first, tmp_path, kind=own_reading(folder, less, name="second.csv", **options))["cases"]
    assert cases["patient"].tolist() == table["patient"].tolist()
    inside = cases[cases["case"].isin(less["file"])]
    assert inside["split"].tolist() == table.loc[table["file"].isin(less["file"]), "split"].tolist()


def test_a_reading_that_leaves_a_split_empty_is_named(tmp_path):
    folder, table = tmp_path / "archive", own_table(tmp_path / "archive")
    first = first_reading(folder, tmp_path, kind=own_reading(folder, table))
    untaught = own_reading(folder, table[table["split"] != "train"], name="second.csv")
    with pytest.raises(
        UserError, match=r"second\.csv: no case is left for the train split of 8 cases, 4 patients; add"
    ):
        second_reading(first, tmp_path, kind=untaught)
