import numpy as np
import pandas as pd
import pytest

import volumes_made
from headwater.core.errors import UserError
from headwater.core.records import Choice
from headwater.data.perceptual_hash import KINDS, LEDGER, WORDS
from headwater.data.reduction import MANIFEST, ROWS
from headwater.data.store import CASES, digest
from headwater.stages.reduce import reduce


@pytest.fixture
def prepared(tmp_path):
    """12 training images of four patients whose rows lie mixed, two validation and two test images."""
    patients = ["d", "c", "b", "a"] * 3 + ["v", "v", "t", "t"]
    splits = ["train"] * 12 + ["validation"] * 2 + ["test"] * 2
    cases = pd.DataFrame(
        {
            "row": range(16),
            "case": [f"case{row}" for row in range(16)],
            "patient": patients,
            "study": "",
            "site": "",
            "file": "x.png",
            "split": splits,
            "sex": "",
            "age": np.nan,
            "view": "",
            "pixels": digest(np.zeros((1, 8, 8), np.uint8)),
            "target:A": 0.0,
        }
    )
    CASES.write(cases, tmp_path / "cases.parquet")
    np.save(tmp_path / "images.npy", np.zeros((16, 1, 8, 8), np.uint8))
    np.save(tmp_path / "hashes.npy", np.zeros((16, WORDS), np.uint64))
    files = {name: tmp_path / f"{name}.npy" for name in ("images", "hashes")}
    return files | {name: tmp_path / f"{name}.parquet" for name in ("cases", "rows", "manifest")}


def test_only_training_images_enter_patient_by_patient(prepared, capsys):
    reduce(reduction=Choice(name="everything"), **prepared)
    rows = ROWS.read(prepared["rows"])
    assert rows["row"].tolist() == [3, 7, 11, 2, 6, 10, 1, 5, 9, 0, 4, 8]
    assert rows["case"].tolist() == [f"case{row}" for row in rows["row"]]
    assert "12 of 12 training images of 4 patients kept (100.0%) in" in capsys.readouterr().out


def test_every_n_counts_over_the_whole_corpus(prepared, capsys):
    reduce(reduction=Choice(name="every_n", options={"n": 5}), **prepared)
    assert ROWS.read(prepared["rows"])["row"].tolist() == [3, 10, 4]
    assert "3 of 12" in capsys.readouterr().out


def test_nothing_left_is_refused(prepared):
    with pytest.raises(UserError, match="keeps none of 12"):
        reduce(reduction=Choice(name="random", options={"share": 0.01}), **prepared)
    assert not prepared["rows"].exists()


def test_an_archive_without_training_images_is_refused(prepared):
    cases = CASES.read(prepared["cases"])
    CASES.write(cases.assign(split="test"), prepared["cases"])
    with pytest.raises(UserError, match="no image is in the train split"):
        reduce(reduction=Choice(name="everything"), **prepared)


def test_images_of_another_preparation_are_refused(prepared):
    np.save(prepared["images"], np.zeros((3, 1, 4, 4), np.uint8))
    with pytest.raises(UserError, match=r"holds 3 images, but .* lists 16"):
        reduce(reduction=Choice(name="everything"), **prepared)


def test_hashes_of_another_preparation_are_refused(prepared):
    np.save(prepared["hashes"], np.zeros((15, WORDS), np.uint64))
    with pytest.raises(UserError, match=r"hashes.npy: holds 15 images, but .* lists 16"):
        reduce(reduction=Choice(name="everything"), **prepared)
    np.save(prepared["hashes"], np.zeros((16, LEDGER), np.uint64))
    with pytest.raises(UserError, match=r"hashes.npy: has 4 words for each image, not 7; run prepare again"):
        reduce(reduction=Choice(name="everything"), **prepared)


def hashed(prepared: dict, kind: str, words: list[int]) -> None:
    """Give the archive's images these hashes of one kind; all others are alike."""
    hashes = np.zeros((len(words), WORDS), np.uint64)
    hashes[:, LEDGER + KINDS.index(kind)] = words
    np.save(prepared["hashes"], hashes)


def test_the_manifest_tells_of_each_image_what_stands_for_it(prepared):
    # rows 3, 7, 11 are those of patient a; 2, 6, 10 those of b
    hashed(prepared, "average", [0, 0, 0xFF, 0b1, 0, 0, 0, 0b111, 0, 0, 0x1FE, 0b11, 0, 0, 0, 0])
    reduce(reduction=Choice(name="hash", options={"of": "average", "distance": 1}), **prepared)
    manifest = MANIFEST.read(prepared["manifest"])
    assert manifest["row"].tolist() == [3, 7, 11, 2, 6, 10, 1, 5, 9, 0, 4, 8]
    assert manifest["volume"].tolist() == manifest["patient"].tolist()
    told = manifest.set_index("row")
    assert told.loc[[3, 7, 11], "kept"].tolist() == [True, True, False]
    # two bits from the first kept image and one from the second: the last near one leads
    assert told.loc[11, ["leader", "leader_row", "distance"]].tolist() == ["case7", 7, 1.0]
    assert told.loc[[2, 6, 10], "leader_row"].tolist() == [2, 6, 10]
    rows = ROWS.read(prepared["rows"])
    assert rows["row"].tolist() == manifest.loc[manifest["kept"], "row"].tolist()
    assert (told.loc[manifest["leader_row"], "kept"]).all()
    assert (manifest.loc[manifest["kept"], "distance"] == 0).all()


def test_dropped_images_of_a_random_choice_have_no_leader(prepared):
    reduce(reduction=Choice(name="random", options={"share": 0.5}), **prepared)
    manifest = MANIFEST.read(prepared["manifest"])
    dropped = manifest[~manifest["kept"]]
    assert len(dropped) == 6
    assert set(dropped["leader"]) == {""} and set(dropped["leader_row"]) == {-1}
    assert manifest["distance"].isna().all()


def test_as_many_images_as_another_reduction_keeps(prepared, tmp_path):
    hashed(prepared, "difference", [row % 5 * 0xFFF for row in range(16)])
    reduce(reduction=Choice(name="hash", options={"distance": 6}), **prepared)
    many = len(ROWS.read(prepared["rows"]))
    assert 0 < many < 12
    control = {**prepared, "rows": tmp_path / "control.parquet", "manifest": tmp_path / "control.manifest.parquet"}
    reduce(reduction=Choice(name="random", options={"like": "hash6", "seed": 1}), like=prepared["rows"], **control)
    assert len(ROWS.read(control["rows"])) == many


def test_slices_go_along_the_volume_whatever_their_files_are_called(prepared):
    """Named and listed otherwise, the same slices are kept."""
    cases = CASES.read(prepared["cases"])
    train = cases["split"] == "train"
    patient = ["p", "q"] * 6 + ["v", "v", "t", "t"]
    along = cases.assign(patient=patient, series=np.where(train, np.array(patient) + pd.Series(patient), ""))
    along["position"] = np.where(train, -2.5 * np.arange(16), np.nan)
    words = np.bitwise_xor.accumulate(1 << np.random.default_rng(0).integers(0, 8, 16)).tolist()
    kept = []
    for order in (np.arange(16), np.random.default_rng(1).permutation(16)):
        shuffled = along.iloc[order].assign(row=range(16), case=[f"slice_{name}" for name in np.argsort(order)])
        CASES.write(shuffled, prepared["cases"])
        hashed(prepared, "difference", [words[slice_] for slice_ in order])
        reduce(reduction=Choice(name="hash", options={"distance": 2}), **prepared)
        manifest = MANIFEST.read(prepared["manifest"])
        assert manifest["position"].tolist() == sorted(along["position"][:12:2]) + sorted(along["position"][1:12:2])
        assert set(manifest["volume"]) == {"pp", "qq"}
        kept.append(manifest.loc[manifest["kept"], ["patient", "position"]].to_numpy().tolist())
    assert kept[0] == kept[1]
    assert 2 < len(kept[0]) < 12


def test_the_same_inputs_give_the_same_bytes(prepared):
    written = []
    for _ in range(2):
        reduce(reduction=Choice(name="hash"), **prepared)
        written.append((prepared["rows"].read_bytes(), prepared["manifest"].read_bytes()))
    assert written[0] == written[1]


def test_volumes_are_reduced_by_rules_that_look_at_no_pixels(tmp_path):
    made = volumes_made.archive(tmp_path, cases=10)
    np.save(tmp_path / "hashes.npy", np.zeros((10, WORDS), np.uint64))
    files = {"cases": made.cases, "images": made.images, "hashes": tmp_path / "hashes.npy"}
    files |= {name: tmp_path / f"{name}.parquet" for name in ("rows", "manifest")}
    reduce(reduction=Choice(name="everything"), **files)
    training = CASES.read(made.cases).query("split == 'train'")["row"]
    assert sorted(ROWS.read(files["rows"])["row"]) == sorted(training)
    with pytest.raises(UserError, match="hash compares pictures, not volumes"):
        reduce(reduction=Choice(name="hash", options={"distance": 3}), **files)
