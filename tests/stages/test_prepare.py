import hashlib
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import deadly_worker
from archives_made import SAMPLES, edit, make_chestxray14, make_vindr, picture, write_labels
from declared_tables import declared_tables
from headwater.core.errors import UserError
from headwater.core.files import read_json
from headwater.core.process_pool import CHUNK, in_order
from headwater.data import preparation
from headwater.data.datasets import vindr
from headwater.data.index import label_counts
from headwater.data.perceptual_hash import every
from headwater.data.resizing import fitted
from headwater.data.shelf import Shelf
from headwater.data.splits import digests
from headwater.data.store import REJECTS, read_hashes
from headwater.stages import prepare
from headwater.study.archive import Archive

NAMES = {key: f"{key}.parquet" for key in ("cases", "rejects", "labels")} | {
    "images": "images.npy",
    "hashes": "hashes.npy",
    "split": "split.json",
}


def prepared(folder, out, *, kind="chestxray14", workers=0, **settings):
    archive = Archive(
        name="mine", kind=kind, folder=str(folder), **{"size": 16, "validation": 0.3, "split_seed": 3} | settings
    )
    files = {key: out / name for key, name in NAMES.items()}
    prepare.prepare(archive=archive, workers=workers, **files)
    return {
        "images": np.load(files["images"], mmap_mode="r"),
        **{key: declared_tables()[key].read(files[key]) for key in ("cases", "rejects", "labels")},
    }


def refusal_of(folder, out, **settings):
    with pytest.raises(UserError) as refused:
        prepared(folder, out, **settings)
    assert "\n" not in str(refused.value)
    assert not (out / "images.npy").exists()
    return str(refused.value)


@pytest.fixture
def folder(tmp_path):
    return make_chestxray14(tmp_path / "archive")


def test_rows_pixels_and_counts_agree(folder, tmp_path, capsys):
    made = prepared(folder, tmp_path / "out")
    cases, images = made["cases"], made["images"]
    assert images.shape == (36, 1, 16, 16)
    assert list(cases["row"]) == list(range(36))
    for row, case in cases.iterrows():
        read = np.asarray(Image.open(folder / case["file"]))
        np.testing.assert_array_equal(images[row], fitted(read, size=16, resize="pad"))
        assert case["pixels"] == hashlib.blake2b(images[row].tobytes(), digest_size=8).hexdigest()
    hashes = read_hashes(tmp_path / "out" / "hashes.npy", cases=made["cases"], table=tmp_path / "out" / "cases.parquet")
    # of the pictures as they are: one hash at every size
    np.testing.assert_array_equal(hashes, [every(np.asarray(Image.open(folder / file))) for file in cases["file"]])
    assert (cases.groupby("patient")["split"].agg(set).map(len) == 1).all()
    counts = made["labels"].set_index(["label", "split"]).loc[("Mass", "test")]
    assert counts.to_dict() == {
        "positives": 6,
        "negatives": 6,
        "unknown": 0,
        "positive_patients": 3,
        "negative_patients": 3,
    }
    assert made["rejects"].empty
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("mine: 36 cases of 18 patients prepared (train 18 of 9, validation 6 of 3, test 12 of 6)")
    assert last.endswith("0 rejected, 14 labels")


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_files(folder, tmp_path):
    for workers in (0, 3):
        prepared(folder, tmp_path / str(workers), workers=workers)
    for name in NAMES.values():
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "3" / name).read_bytes()


def test_a_label_absent_from_a_split_is_told_in_one_line(folder, tmp_path, capsys):
    table = folder / "Data_Entry_2017_v2020.csv"
    for patient in (14, 16, 18):
        for visit in range(2):
            findings = "Mass|Effusion" if patient == 18 else "Mass"
            new = "Effusion" if patient == 18 else "No Finding"
            edit(table, old=f"{patient:08d}_{visit:03d}.png,{findings},", new=f"{patient:08d}_{visit:03d}.png,{new},")
    prepared(folder, tmp_path / "out")
    lines = [line for line in capsys.readouterr().out.splitlines() if "Mass" in line]
    assert lines == [
        f"mine: Mass has no positive case in the test split ({folder}/test_list.txt); it is left out of the macro"
    ]


def test_labels_of_one_class_in_test_are_refused_before_a_pixel_is_read(tmp_path, monkeypatch):
    folder = make_vindr(tmp_path / "archive")
    rows = [{"image_id": f"test{n:02d}", **dict.fromkeys(vindr.CARD.labels, 0), "No finding": 1} for n in range(6)]
    write_labels(folder / "annotations/image_labels_test.csv", rows, test=True)
    monkeypatch.setattr(preparation, "in_order", None)
    line = refusal_of(folder, tmp_path / "out", kind="vindr")
    assert str(folder / "annotations/image_labels_test.csv") in line
    assert "archives.mine: no label has positive and negative cases both in train and in test" in line


def spoil(folder, patient):
    """Cut one image of a patient in half and take the other away."""
    one, other = sorted((folder / "images_001/images").glob(f"{patient:08d}_*.png"))
    one.write_bytes(one.read_bytes()[:200])
    other.unlink()


def test_a_few_bad_images_are_recorded_and_left_out(folder, tmp_path, capsys):
    whole = prepared(folder, tmp_path / "whole")
    spoil(folder, 2)
    made = prepared(folder, tmp_path / "out", rejects=0.1)
    assert list(made["rejects"]["case"]) == ["00000002_000.png", "00000002_001.png"]
    assert "no whole PNG or JPEG" in made["rejects"]["reason"][0]
    assert "is not there" in made["rejects"]["reason"][1]
    left = whole["cases"].drop(index=[2, 3])
    np.testing.assert_array_equal(made["images"], whole["images"][left.index])
    columns = ["case", "split", "pixels"]
    pd.testing.assert_frame_equal(made["cases"][columns], left[columns].reset_index(drop=True))
    assert list(made["cases"]["row"]) == list(range(34))
    said = capsys.readouterr().out
    assert "mine: rejected: " in said
    assert "2 rejected" in said


def test_too_many_bad_images_stop_it_and_stay_on_record(folder, tmp_path, capsys):
    spoil(folder, 2)
    out = tmp_path / "out"
    line = refusal_of(folder, out, rejects=0.05)
    for words in ("2 of 36 images cannot be read", "0.05", "00000002_000.png", "archives.mine.rejects"):
        assert words in line
    assert str(out / "rejects.csv") in line
    assert len(REJECTS.read(out / "rejects.parquet")) == 2
    assert len(pd.read_csv(out / "rejects.csv")) == 2
    assert capsys.readouterr().out.count("mine: rejected: ") == 2
    prepared(folder, out, rejects=0.1)
    assert not (out / "rejects.csv").exists()


def test_a_split_that_loses_all_its_images_is_refused(folder, tmp_path):
    for patient in range(13, 19):
        spoil(folder, patient)
    assert "no case is left for the test split" in refusal_of(folder, tmp_path / "out", rejects=1)


def test_a_missing_folder_and_a_missing_table_are_refused(folder, tmp_path):
    line = refusal_of(tmp_path / "nowhere", tmp_path / "out")
    assert line == f"{tmp_path}/nowhere: there is no such folder; correct archives.mine.folder"
    (folder / "test_list.txt").unlink()
    assert "test_list.txt: is not there" in refusal_of(folder, tmp_path / "out")


def test_a_patient_in_both_lists_is_refused_by_both_names(folder, tmp_path):
    edit(folder / "train_val_list.txt", old="00000002_001.png\n", new="")
    edit(folder / "test_list.txt", old="00000013_000.png", new="00000002_001.png\n00000013_000.png")
    line = refusal_of(folder, tmp_path / "out")
    for words in ("patient 2 ", str(folder / "train_val_list.txt"), str(folder / "test_list.txt"), "1 such"):
        assert words in line


def test_dicom_headers_fill_in_sex_and_age(tmp_path):
    made = prepared(make_vindr(tmp_path / "archive"), tmp_path / "out", kind="vindr")
    assert made["images"].shape == (18, 1, 16, 16)
    assert (made["cases"]["age"] == 45).all()
    assert list(made["cases"]["sex"][:2]) == ["F", "M"]


def test_one_image_in_colour_gives_all_three_channels(folder, tmp_path):
    grey = prepared(folder, tmp_path / "grey")
    colour = picture(1, shape=(24, 20, 3))
    Image.fromarray(colour).save(folder / "images_001/images/00000004_001.png")
    made = prepared(folder, tmp_path / "colour")
    assert made["images"].shape == (36, 3, 16, 16)
    np.testing.assert_array_equal(made["images"][7], fitted(colour, size=16, resize="pad"))
    rest = np.arange(36) != 7
    np.testing.assert_array_equal(made["images"][rest], np.repeat(grey["images"][rest], 3, axis=1))
    for row, image in enumerate(made["images"]):
        assert made["cases"]["pixels"][row] == hashlib.blake2b(image.tobytes(), digest_size=8).hexdigest()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(8, 32))
def test_padding_keeps_the_shape_and_squashing_fills_the_square(height, width, size):
    white = np.full((height, width), 255, np.uint8)
    padded = fitted(white, size=size, resize="pad")
    assert padded.shape == (1, size, size)
    filled = [max(1, round(side * size / max(height, width))) for side in (height, width)]
    assert (padded[0] > 0).any(axis=1).sum() == filled[0]
    assert (padded[0] > 0).any(axis=0).sum() == filled[1]
    rows = np.flatnonzero((padded[0] > 0).any(axis=1))
    assert abs(rows[0] - (size - 1 - rows[-1])) <= 1
    assert (fitted(white, size=size, resize="squash") == 255).all()


def test_shrinking_smooths():
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    assert 120 < fitted(stripes, size=8, resize="pad").mean() < 135
    assert fitted(stripes, size=8, resize="pad").std() < 10


@pytest.mark.parametrize("space", [(8, 8), (5, 7), (4, 8, 6)])
def test_the_shelf_holds_what_was_put_on_it(tmp_path, space):
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (channels, *space), dtype=np.uint8) for channels in (1, 1, 3, 1, 3)]
    with Shelf(tmp_path / "images.npy", space=space) as shelf:
        for image in images:
            shelf.add(image)
    expected = np.stack([np.broadcast_to(image, (3, *space)) for image in images])
    np.testing.assert_array_equal(np.load(tmp_path / "images.npy"), expected)


def test_a_process_that_dies_costs_one_case():
    cases = [{"file": f"{number}.dcm"} for number in range(CHUNK + 1)]
    deadly = f"{CHUNK - 1}.dcm"
    results = in_order(partial(deadly_worker.work, deadly={deadly}), cases, lost=preparation.lost, workers=2)
    for case, result in zip(cases, results, strict=True):
        crashed = f"{deadly}: its decoder crashed; fetch it again"
        assert result.reason == (crashed if case["file"] == deadly else case["file"])


def test_counts_know_the_unknown():
    cases = pd.DataFrame(
        {
            "patient": ["anna", "anna", "bert", "carl"],
            "split": ["train", "train", "train", "test"],
            "target:Mass": [1.0, 0.0, np.nan, 1.0],
        }
    )
    counts = label_counts(cases).set_index("split")
    assert counts.loc["train"].to_dict() == {
        "label": "Mass",
        "positives": 1,
        "negatives": 1,
        "unknown": 1,
        "positive_patients": 1,
        "negative_patients": 1,
    }
    assert (counts.loc["test", "positives"], counts.loc["validation", "unknown"]) == (1, 0)


@pytest.mark.slow
def test_the_door_says_no_in_one_line(folder, tmp_path):
    (folder / "train_val_list.txt").unlink()
    archive = json.dumps({"name": "mine", "kind": "chestxray14", "folder": str(folder)})
    door = Path(__file__).parents[2] / "scripts" / "prepare.py"
    files = [word for key, name in NAMES.items() for word in (f"--{key}", str(tmp_path / name))]
    done = subprocess.run(
        [sys.executable, str(door), "--archive", archive, *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "train_val_list.txt: is not there" in done.stderr


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the real radiographs are not on this machine")
def test_the_real_sample(tmp_path, capsys):
    made = prepared(SAMPLES / "chestxray14_64px", tmp_path, size=64, workers=2)
    cases, images = made["cases"], made["images"]
    assert images.shape == (1000, 1, 64, 64)
    assert cases["patient"].nunique() == 264
    assert (cases["split"] == "test").sum() == 265
    assert made["rejects"].empty
    first = Image.open(SAMPLES / "chestxray14_64px" / cases["file"][0]).convert("L")
    np.testing.assert_array_equal(images[0, 0], np.asarray(first))
    positives = made["labels"].set_index(["label", "split"])["positives"]
    assert positives["Hernia"].sum() == 9
    assert positives["Pneumonia"].sum() == 11
    assert positives["Hernia", "test"] == 0
    said = capsys.readouterr().out.splitlines()
    for label, split in made["labels"].query("positives == 0")[["label", "split"]].itertuples(index=False):
        assert sum(line.startswith(f"mine: {label} has no positive case in the {split} split (") for line in said) == 1


def test_the_splits_are_stored_with_their_digests(folder, tmp_path):
    made = prepared(folder, tmp_path)
    told = read_json(tmp_path / "split.json")
    assert told["digest"] == digests(made["cases"])["all"] and set(told["splits"]) == {"train", "validation", "test"}
    assert told["made"]["test"] == {"made": "official"} and told["made"]["train"] == {"made": "what is left"}
    assert told["made"]["validation"] == {"made": "drawn by patient", "share": 0.3, "seed": 3}
