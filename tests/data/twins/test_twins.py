from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.data import twin_folder
from headwater.data.splits import with_splits
from headwater.data.tables import SPLITS, labels_of
from headwater.data.twins import _anatomy, _patients, _radiograph, _signs, chestxray14, vindr

CASES = 20

ENDINGS = (".png", ".jpg", ".tif", ".dicom", ".dcm", ".npz", "CT.nii.gz")

PICTURES = [name for name in registry.names("twins") if registry.load("datasets", name).CARD.ndim == 2]
"""Twins of archives of pictures and slices; those of volumes have tests of their own."""

NAMED_BY_PLACE = ("organsmnist",)
"""Archives whose images have no name but their place."""


@pytest.fixture(scope="module", params=PICTURES)
def archive(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(archive, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("twins") / archive
    registry.load("twins", archive).make(folder, cases=CASES, seed=3, size=32)
    return folder


@pytest.fixture(scope="module")
def chest(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("twins") / "chest"
    chestxray14.make(folder, cases=150, seed=3, size=32)
    return folder


@pytest.fixture(scope="module")
def hanoi(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("twins") / "hanoi"
    vindr.make(folder, cases=150, seed=3, size=32)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def read(archive: str, folder: Path) -> pd.DataFrame:
    options = registry.options("datasets", archive)()
    return registry.load("datasets", archive).read_cases(folder, options)


def in_all_splits(cases: pd.DataFrame) -> bool:
    drawn = with_splits(cases, validation=0.1, test=0.2, seed=0, files={})
    return set(drawn["split"]) == set(SPLITS)


def test_same_seed_same_bytes_and_another_seed_other_pictures(archive, folder, tmp_path):
    make = registry.load("twins", archive).make
    make(tmp_path / "again", cases=CASES, seed=3, size=32)
    make(tmp_path / "other", cases=CASES, seed=4, size=32)
    assert content(tmp_path / "again") == content(folder)
    other = content(tmp_path / "other")
    assert not {held for name, held in content(folder).items() if name.endswith(ENDINGS)} & set(other.values())


def test_another_first_patient_shares_no_patient_and_no_image(archive, folder, tmp_path):
    registry.load("twins", archive).make(tmp_path / "far", cases=CASES, seed=3, size=32, first_patient=1001)
    here, there = read(archive, folder), read(archive, tmp_path / "far")
    pictures = [
        {registry.load("datasets", archive).read_pixels(place, case).tobytes() for case in cases.to_dict("records")}
        for place, cases in ((folder, here), (tmp_path / "far", there))
    ]
    assert not pictures[0] & pictures[1]
    if archive not in NAMED_BY_PLACE:
        assert not set(here["patient"]) & set(there["patient"])
        assert not set(here["case"]) & set(there["case"])


def test_the_archive_is_read_without_complaint(archive, folder):
    cases = read(archive, folder)
    assert len(cases) == CASES
    assert in_all_splits(cases)
    plugin = registry.load("datasets", archive)
    for case in cases.to_dict("records"):
        pixels = plugin.read_pixels(folder, case)
        kind = np.int16 if plugin.CARD.window else np.uint8
        assert (pixels.dtype, pixels.shape[:2]) == (kind, (32, 32))
        assert pixels.std() > 10


def test_a_failure_leaves_nothing_behind(archive, tmp_path, monkeypatch):
    def broken(*arguments, **options):
        raise OSError("disk full")

    # the stamp is the last thing that every twin writes
    monkeypatch.setattr(twin_folder.files, "write_json", broken)
    with pytest.raises(OSError, match="disk full"):
        registry.load("twins", archive).make(tmp_path / "twin", cases=8, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_what_lies_there_is_never_overwritten(archive, tmp_path):
    (tmp_path / "mine.txt").write_text("years of work")
    with pytest.raises(UserError, match="already exists"):
        registry.load("twins", archive).make(tmp_path, cases=8, seed=0)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_the_smallest_twin_has_all_splits(archive, tmp_path):
    registry.load("twins", archive).make(tmp_path / "small", cases=8, seed=0, size=32)
    cases = read(archive, tmp_path / "small")
    assert len(cases) == 8
    assert in_all_splits(cases)


def test_every_label_of_the_archive_but_those_that_follow_from_others_is_drawn(archive, folder):
    dataset, twin = (registry.load(family, archive) for family in ("datasets", "twins"))
    follow = {
        "No Finding",
        "No finding",
        "normal",
        "healthy",
        "NEGATIVE",
        "No_Hemorrhage",
        "any",
        *getattr(dataset, "BOTH_SIDES", ()),
    }
    assert set(labels_of(read(archive, folder))) - follow == set(twin.SIGNS)


def test_every_sign_is_used_and_every_used_sign_exists():
    used = {
        sign.looks
        for name in PICTURES
        if registry.load("datasets", name).CARD.modality == "radiograph"
        for sign in registry.load("twins", name).SIGNS.values()
    }
    assert used == set(_signs.RESHAPED) | set(_signs.PAINTED)


@pytest.mark.parametrize("sign", sorted(set(_signs.RESHAPED) | set(_signs.PAINTED)))
def test_every_sign_is_seen_and_a_strong_one_more_than_a_faint_one(sign):
    chest = _anatomy.anatomy(np.random.default_rng(1), female=False)

    def picture(findings):
        return _radiograph.draw(findings, patient=chest, places=5, rng=np.random.default_rng(2), size=96)

    healthy = picture({})
    faint, strong = (np.abs(picture({sign: strength}) - healthy).sum() for strength in (0.1, 1.0))
    assert 0 < faint < strong


@pytest.mark.parametrize("sign", ["effusion", "pneumonia", "atelectasis"])
def test_a_sign_of_one_side_is_on_that_side(sign):
    chest = _anatomy.anatomy(np.random.default_rng(1), female=False)

    def picture(findings):
        rng = np.random.default_rng(2)
        return _radiograph.draw(findings, patient=chest, places=5, rng=rng, size=96)

    for side, place in (("right", 0), ("left", 1)):
        changed = np.abs(picture({f"{sign} {side}": 0.8}) - picture({}))
        halves = [half.sum() for half in np.split(changed, 2, axis=1)]
        assert halves[place] > 4 * halves[1 - place]


def test_a_lateral_picture_is_plainly_another_view():
    chest = _anatomy.anatomy(np.random.default_rng(1), female=True)
    side = _radiograph.draw_from_side(patient=chest, rng=np.random.default_rng(2), size=96)
    front = _radiograph.draw({}, patient=chest, places=5, rng=np.random.default_rng(2), size=96)
    assert (side.dtype, side.shape) == (np.float32, (96, 96))
    assert np.abs(side - front).mean() > 0.05


def test_the_published_header_of_chestxray14_stands_unchanged(chest):
    first = (chest / "Data_Entry_2017_v2020.csv").read_text().splitlines()[0]
    assert first == (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    )


def test_chestxray14_patients_keep_their_sex_age_and_split(chest):
    table = pd.read_csv(chest / "Data_Entry_2017_v2020.csv")
    assert len(table.columns) == 11
    by_patient = table.groupby("Patient ID")
    assert by_patient.size().max() > 3
    assert by_patient["Patient Gender"].nunique().eq(1).all()
    assert by_patient["Patient Age"].apply(lambda ages: ages.is_monotonic_increasing).all()
    assert by_patient["Follow-up #"].apply(lambda visits: list(visits) == list(range(len(visits)))).all()
    lists = [(chest / name).read_text().split() for name in ("train_val_list.txt", "test_list.txt")]
    assert sorted(lists[0] + lists[1]) == sorted(table["Image Index"])
    assert not {name[:8] for name in lists[0]} & {name[:8] for name in lists[1]}
    assert 0.2 < len(lists[1]) / len(table) < 0.35


def test_chestxray14_labels_agree_with_what_its_reader_gives(chest):
    table = pd.read_csv(chest / "Data_Entry_2017_v2020.csv").set_index("Image Index")
    cases = read("chestxray14", chest).set_index("case")
    for label in chestxray14.SIGNS:
        named = table["Finding Labels"].str.split("|").apply(lambda findings, label=label: label in findings)
        assert (cases[f"target:{label}"] == named).all()
    assert 0.25 < (table["Finding Labels"] == "No Finding").mean() < 0.65


def test_chestxray14_images_lie_in_numbered_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(chestxray14, "IMAGES_PER_FOLDER", 10)
    chestxray14.make(tmp_path / "twin", cases=25, seed=0, size=32)
    parts = {f"images_{number:03d}": count for number, count in ((1, 10), (2, 10), (3, 5))}
    found = {name: len(list((tmp_path / "twin" / name / "images").glob("????????_???.png"))) for name in parts}
    assert found == parts
    with Image.open(tmp_path / "twin/images_001/images/00000001_000.png") as picture:
        assert picture.size == (32, 32)


def test_findings_stay_over_follow_ups():
    people = _patients.patients("x", {"A": _patients.Sign(looks="mass", share=0.3)}, cases=800, seed=0, first=1)
    courses = [[bool(visit.findings) for visit in patient.visits] for patient in people]
    after_present = [now for course in courses for then, now in pairwise(course) if then]
    after_absent = [now for course in courses for then, now in pairwise(course) if not then]
    assert np.mean(after_present) > 0.65
    assert np.mean(after_absent) < 0.2


def test_vindr_images_are_as_different_as_detectors_make_them(hanoi):
    files = [pydicom.dcmread(file) for file in hanoi.glob("t*/*.dicom")]
    assert len(files) == 150
    assert {file.PhotometricInterpretation for file in files} == {"MONOCHROME1", "MONOCHROME2"}
    assert {file.BitsStored for file in files} == {12, 14, 16}
    assert {"WindowCenter" in file for file in files} == {True, False}
    assert {file.PatientSex for file in files} == {"", "F", "M"}
    assert {"PatientAge" in file for file in files} == {True, False}
    assert all(file.pixel_array.max() < 2**file.BitsStored for file in files)
    assert len({file.SOPInstanceUID for file in files}) == 150


def test_vindr_training_images_have_three_readers_who_sometimes_disagree(hanoi):
    table = pd.read_csv(hanoi / "annotations/image_labels_train.csv")
    assert list(table.columns) == ["image_id", "rad_id", *vindr.SIGNS, "No finding"]
    assert table["image_id"].str.fullmatch("[0-9a-f]{32}").all()
    assert table.groupby("image_id")["rad_id"].nunique().eq(3).all()
    assert set(table["rad_id"]) == {f"R{number}" for number in range(1, 18)}
    shared = table.groupby("image_id")["Pleural effusion"].mean()
    assert {0.0, 1.0} < set(shared.round(2))
    assert ((table[list(vindr.SIGNS)].sum(axis=1) == 0) == (table["No finding"] == 1)).all()


def test_vindr_test_images_have_one_reading_and_the_singular_column(hanoi):
    table = pd.read_csv(hanoi / "annotations/image_labels_test.csv")
    assert "rad_id" not in table.columns
    assert "Other disease" in table.columns
    assert "Other diseases" not in table.columns
    assert len(table) == 30
    assert {f"{name}.dicom" for name in table["image_id"]} == {file.name for file in (hanoi / "test").iterdir()}


def test_vindr_labels_agree_with_what_its_reader_gives(hanoi):
    cases = read("vindr", hanoi).set_index("case")
    table = pd.read_csv(hanoi / "annotations/image_labels_train.csv")
    majority = table.groupby("image_id")["Cardiomegaly"].sum() >= 2
    assert (cases.loc[majority.index, "target:Cardiomegaly"] == majority).all()
    consensus = pd.read_csv(hanoi / "annotations/image_labels_test.csv").set_index("image_id")["Other disease"]
    assert (cases.loc[consensus.index, "target:Other diseases"] == consensus).all()


def test_inverted_files_show_the_same_chest(hanoi):
    cases = read("vindr", hanoi)
    plugin = registry.load("datasets", "vindr")
    centre, corners = [], []
    for case in cases.to_dict("records"):
        pixels = plugin.read_pixels(hanoi, case).astype(float)
        centre.append(pixels[24:30, 12:20].mean())
        corners.append(pixels[-8:, [0, -1]].mean())
    # the abdomen is bright and the air beside it dark, however the file stores them
    assert np.mean(np.array(centre) > np.array(corners)) > 0.99


def test_records_refuse_what_no_twin_can_be(tmp_path):
    assert issubclass(chestxray14.Twin, Record)
    with pytest.raises(ValueError, match="greater than or equal to 8"):
        chestxray14.make(tmp_path / "twin", cases=3, seed=0)
