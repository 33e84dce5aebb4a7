"""The ledger tells what any two parts of a grid share, and stops a grid whose test split is not apart."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from archives_made import SAMPLES
from headwater.core.errors import UserError
from headwater.data import perceptual_hash
from headwater.data.dropping import DROPPED
from headwater.data.leakage import LEDGER, leaks
from headwater.data.splits import by_fold
from headwater.data.store import CASES
from headwater.stages.ledger import ledger
from headwater.stages.prepare import prepare
from headwater.study.archive import Archive
from headwater.study.folds import Folds
from headwater.study.leaks import Declared, Excuse, Leaks, Learned, Overlaps

SAMPLE = SAMPLES / "chestxray14_64px"
SPLITS = ("train", "validation", "test")


def overlaps(*archives: str, distance: int = 4, excused: tuple = (), resolve: tuple = (), **others) -> Overlaps:
    """All splits of these archives, each with patients of its own numbering unless said otherwise."""
    numbering = {name: name for name in archives} | others
    learned = [Learned(archive=name, splits=SPLITS, numbering=numbering[name]) for name in archives]
    resolve = dict.fromkeys(resolve, "drop_from_training")
    return Overlaps(leaks=Leaks(distance=distance, excused=excused, resolve=resolve), archives=tuple(learned))


def archive(folder: Path, *, seed: int, changes: dict | None = None, count: int = 30) -> pd.DataFrame:
    """An archive's cases and hashes, all different; five of ten patients train, each with three images."""
    chance = np.random.default_rng(seed)
    patient = np.arange(count) // 3
    split = np.array(["train", "train", "validation", "test", "train"])[patient % 5]
    frame = pd.DataFrame({"row": np.arange(count), "case": [f"{folder.name}{row:02d}.png" for row in range(count)]})
    frame = frame.assign(patient=patient.astype(str), study=[f"s{row}" for row in range(count)], split=split)
    frame = frame.assign(file=frame["case"], sex="", age=np.nan, view="", site="")
    frame["pixels"] = [f"{seed}-{row}" for row in range(count)]
    for (row, column), value in (changes or {}).items():
        frame.loc[row, column] = value
    hashes = chance.integers(0, 2**64, (count, 4), dtype=np.uint64)
    folder.mkdir(parents=True)
    CASES.write(frame, folder / "cases.parquet")
    np.save(folder / "hashes.npy", hashes)
    return frame


def written(root: Path, looked_at: Overlaps) -> pd.DataFrame:
    """The ledger of the archives below `root`."""
    names = [learned.archive for learned in looked_at.archives]
    ledger(
        overlaps=looked_at,
        cases=[root / name / "cases.parquet" for name in names],
        hashes=[root / name / "hashes.npy" for name in names],
        ledger=root / "ledger.parquet",
        readable=root / "ledger.csv",
        dropped=[root / name / "dropped.parquet" for name in names] if looked_at.leaks.resolve else None,
    )
    return LEDGER.read(root / "ledger.parquet")


def shared(found: pd.DataFrame) -> dict[tuple[str, str, str], tuple[int, int]]:
    """What is shared, by kind and parts: cases of either."""
    some = found[found["cases"] > 0]
    named = zip(some["kind"], some["part"], some["other"], strict=True)
    return dict(zip(named, zip(some["cases"], some["other_cases"], strict=True), strict=True))


def pairs_of(root: Path) -> list[tuple[str, ...]]:
    """The pairs of the private file: kind, case, other case, and what is done about them."""
    told = pd.read_csv(root / "private" / "leaks.csv", dtype=str)
    return list(told[["kind", "case", "other_case", "handling"]].itertuples(index=False, name=None))


def turned(hashes: np.ndarray, bits: int) -> np.ndarray:
    """A hash with some bits turned, spread over all its words."""
    other = hashes.copy()
    for bit in range(bits):
        other[bit % 4] ^= np.uint64(1) << np.uint64(5 * (bit // 4))
    return other


def test_what_is_apart_is_told_too(tmp_path, capsys):
    archive(tmp_path / "one", seed=1)
    archive(tmp_path / "two", seed=2)
    found = written(tmp_path, overlaps("one", "two"))
    assert shared(found) == {}
    # six parts: of each kind 15 pairs, and images that stand in one part twice
    assert found["kind"].value_counts().to_dict() == {
        "patients": 15,
        "studies": 15,
        "identical": 21,
        "near-identical": 21,
    }
    assert found["must_be_apart"].sum() == 4 * 2 * 4
    assert "60 cases in 6 parts, 0 excused leaks" in capsys.readouterr().out
    shown = pd.read_csv(tmp_path / "ledger.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(shown, found.drop(columns=["example", "other_example"]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        # row 9 is the first test image, row 0 the first training image
        (
            {(9, "patient"): "0"},
            "one train and one test share patients: 3 cases of 1 patient and 1 case, such as one00",
        ),
        (
            {(9, "pixels"): "1-0"},
            "share identical images: 1 case of 1 patient and 1 case, such as one00.png and one09.png",
        ),
        (
            {(9, "patient"): "0", (9, "study"): "s1"},
            "2 leaks into test splits: one train and one test share patients",
        ),
        ({(9, "pixels"): "1-6"}, "one validation and one test share identical"),
    ],
)
def test_a_leak_into_a_test_split_is_refused_with_both_cases_named(tmp_path, changes, said):
    archive(tmp_path / "one", seed=1, changes=changes)
    with pytest.raises(UserError) as refused:
        written(tmp_path, overlaps("one"))
    assert said in str(refused.value) and "\n" not in str(refused.value)
    assert "leaks.excused: [{kind: " in str(refused.value)
    assert not (tmp_path / "ledger.parquet").exists()
    assert len(pd.read_csv(tmp_path / "ledger.refused.csv")) == 1 + ("2 leaks" in said)
    assert str(tmp_path / "private" / "leaks.csv") in str(refused.value)


def test_archives_that_tell_no_examination_are_looked_at_too(tmp_path):
    nothing = {(row, "study"): "" for row in range(30)}
    archive(tmp_path / "one", seed=1, changes=nothing)
    assert shared(written(tmp_path, overlaps("one"))) == {}
    archive(tmp_path / "two", seed=2, changes=nothing | {(9, "pixels"): "2-0"})
    with pytest.raises(UserError, match="two train and two test share identical images"):
        written(tmp_path, overlaps("one", "two"))


def test_an_examination_is_one_whoever_its_patient_is_said_to_be(tmp_path):
    archive(tmp_path / "one", seed=1, changes={(9, "study"): "s0"})
    with pytest.raises(UserError, match="one train and one test share studies: 1 case of 1 patient and 1 case"):
        written(tmp_path, overlaps("one"))


def test_a_former_refusal_does_not_outlive_its_reason(tmp_path):
    archive(tmp_path / "one", seed=1, changes={(9, "patient"): "0"})
    with pytest.raises(UserError):
        written(tmp_path, overlaps("one"))
    assert (tmp_path / "ledger.refused.csv").exists()
    excuse = Excuse(kind="patients", between=("one test", "one train"), reason="known to all who use it")
    written(tmp_path, overlaps("one", excused=(excuse,)))
    assert not (tmp_path / "ledger.refused.csv").exists()


def test_images_that_look_alike_are_near_up_to_the_distance(tmp_path):
    archive(tmp_path / "one", seed=1)
    hashes = np.load(tmp_path / "one" / "hashes.npy")
    hashes[9] = turned(hashes[1], 4)
    np.save(tmp_path / "one" / "hashes.npy", hashes)
    with pytest.raises(UserError, match=r"share near-identical images: 1 case .* such as one01\.png and one09\.png"):
        written(tmp_path, overlaps("one"))
    assert shared(written(tmp_path, overlaps("one", distance=3))) == {}


def test_an_excused_leak_is_told_with_its_reason(tmp_path, capsys):
    archive(tmp_path / "one", seed=1, changes={(9, "patient"): "0"})
    why = "the official lists part one patient"
    excuse = Excuse(kind="patients", between=("one test", "one train"), reason=why)
    found = written(tmp_path, overlaps("one", excused=(excuse,)))
    assert found.loc[found["cases"] > 0, "excuse"].tolist() == [why]
    assert "1 excused leaks" in capsys.readouterr().out


def test_other_overlaps_are_told_and_stop_nothing(tmp_path):
    archive(tmp_path / "one", seed=1)
    # the same pictures twice in training; a training image of one archive in the training of the other
    archive(tmp_path / "two", seed=2, changes={(1, "pixels"): "2-0", (3, "pixels"): "1-3"})
    assert shared(written(tmp_path, overlaps("one", "two"))) == {
        ("identical", "two train", "two train"): (2, 2),
        ("identical", "one train", "two train"): (1, 1),
    }


def test_a_number_is_one_patient_within_one_numbering_only(tmp_path):
    archive(tmp_path / "one", seed=1)
    others = {(row, "patient"): f"x{row // 3}" for row in range(30)}
    archive(tmp_path / "two", seed=2, changes=others | {(9, "patient"): "0"})
    assert shared(written(tmp_path, overlaps("one", "two"))) == {}
    with pytest.raises(UserError, match="one train and two test share patients"):
        written(tmp_path, overlaps("one", "two", two="one"))


def test_every_leaking_case_is_in_a_private_file_that_stays(tmp_path):
    # patient 0 (rows 0 to 2) trains and has two test images; row 10 also is a copy of row 6, which validates
    archive(tmp_path / "one", seed=1, changes={(9, "patient"): "0", (10, "patient"): "0", (10, "pixels"): "1-6"})
    with pytest.raises(UserError):
        written(tmp_path, overlaps("one"))
    told = pd.read_csv(tmp_path / "private" / "leaks.csv", dtype=str)
    names = ["kind", "part", "case", "patient", "other", "other_case", "other_patient", "edit", "handling"]
    assert list(told.columns) == names
    assert told.pop("edit").isna().all()
    assert told.apply(tuple, axis=1).tolist() == [
        ("patients", "one train", "one00.png", "0", "one test", "one09.png", "0", "refused"),
        ("patients", "one train", "one01.png", "0", "one test", "one09.png", "0", "refused"),
        ("patients", "one train", "one02.png", "0", "one test", "one09.png", "0", "refused"),
        ("patients", "one train", "one00.png", "0", "one test", "one10.png", "0", "refused"),
        ("identical", "one validation", "one06.png", "2", "one test", "one10.png", "0", "refused"),
    ]
    between = ("one train", "one test"), ("one validation", "one test")
    excused = tuple(
        Excuse(kind=kind, between=both, reason="known to all who use it")
        for kind, both in zip(("patients", "identical"), between, strict=True)
    )
    written(tmp_path, overlaps("one", excused=excused))
    assert {pair[3] for pair in pairs_of(tmp_path)} == {"excused"}
    # no reader of what is meant to be shared sees a name
    assert "one0" not in (tmp_path / "ledger.csv").read_text()
    archive(tmp_path / "again" / "one", seed=1)
    (tmp_path / "again" / "private").mkdir()
    (tmp_path / "again" / "private" / "leaks.csv").write_text("of a former run")
    written(tmp_path / "again", overlaps("one"))
    assert not (tmp_path / "again" / "private" / "leaks.csv").exists()


def test_the_private_file_says_how_an_edited_copy_differs(tmp_path):
    frame = archive(tmp_path / "one", seed=1)
    detail = np.random.default_rng(0).normal(size=(30, 40, 40))
    shown = [np.asarray(Image.fromarray(noise.astype(np.float32)).resize((160, 160))) for noise in detail]
    shown = [np.clip(128 + 60 * each, 0, 255).astype(np.uint8) for each in shown]
    # row 0 trains; rows 9 and 10 are tested
    assert frame["split"].iloc[[0, 9, 10]].tolist() == ["train", "test", "test"]
    shown[9] = 255 - shown[0][:, ::-1]
    np.save(tmp_path / "one" / "hashes.npy", np.array([perceptual_hash.every(image) for image in shown]))
    looked_at = overlaps("one", distance=16)
    looked_at = looked_at.model_copy(update={"leaks": Leaks(distance=16, edited_copies=True)})
    with pytest.raises(UserError, match="near-identical images"):
        written(tmp_path, looked_at)
    told = pd.read_csv(tmp_path / "private" / "leaks.csv", dtype=str, keep_default_na=False)
    columns = ["kind", "case", "other_case", "edit", "handling"]
    assert told[columns].to_numpy().tolist() == [
        ["near-identical", "one00.png", "one09.png", "mirrored, inverted", "refused"]
    ]


def test_many_images_of_one_patient_give_a_row_a_case_not_a_row_a_pair(tmp_path):
    count = 3000
    everyone = {(row, "patient"): "0" for row in range(count)}
    archive(tmp_path / "one", seed=1, changes={}, count=count)
    frame = CASES.read(tmp_path / "one" / "cases.parquet")
    for (row, column), value in everyone.items():
        frame.loc[row, column] = value
    frame["pixels"] = "the same"
    CASES.write(frame, tmp_path / "one" / "cases.parquet")
    with pytest.raises(UserError):
        written(tmp_path, overlaps("one"))
    told = pd.read_csv(tmp_path / "private" / "leaks.csv", dtype=str)
    split = frame.set_index("case")["split"]
    for kind in ("patients", "identical"):
        rows = told[told["kind"] == kind]
        assert set(rows["case"]) | set(rows["other_case"]) == set(frame["case"])
        assert len(rows) < 2 * count
        assert (split[rows["case"]].to_numpy() != split[rows["other_case"]].to_numpy()).all()


def test_leaks_are_dropped_from_training_and_never_from_test(tmp_path, capsys):
    # row 0 and row 6 are copies of test images; row 4 looks like test image 10; row 12 (train) like row 0
    archive(tmp_path / "one", seed=1, changes={(0, "pixels"): "1-9", (6, "pixels"): "1-24"})
    hashes = np.load(tmp_path / "one" / "hashes.npy")
    hashes[[0, 6, 4]] = hashes[9], hashes[24], turned(hashes[10], 3)
    np.save(tmp_path / "one" / "hashes.npy", hashes)
    with pytest.raises(UserError, match=r"or let the study do so: leaks\.resolve: \{identical: drop_from_training\}"):
        written(tmp_path, overlaps("one"))
    with pytest.raises(UserError, match="1 leak into test splits: one train and one test share near-identical"):
        written(tmp_path, overlaps("one", resolve=("identical",)))
    assert ("near-identical", "one04.png", "one10.png", "refused") in pairs_of(tmp_path)

    found = written(tmp_path, overlaps("one", resolve=("identical", "near-identical")))
    assert "3 cases dropped from training, 0 excused leaks" in capsys.readouterr().out
    listed = DROPPED.read(tmp_path / "one" / "dropped.parquet").apply(tuple, axis=1).tolist()
    assert listed == [
        ("one00.png", "train", "identical", "one test"),
        ("one04.png", "train", "near-identical", "one test"),
        ("one06.png", "validation", "identical", "one test"),
    ]
    assert not leaks(found)["cases"].any()
    some = found[found["dropped"] > 0].set_index(["kind", "part", "other"])["dropped"].to_dict()
    assert some == {
        ("identical", "one train", "one test"): 1,
        ("identical", "one validation", "one test"): 1,
        ("near-identical", "one train", "one test"): 1,
    }
    assert {pair[3] for pair in pairs_of(tmp_path)} == {"dropped from training"}
    assert "dropped" in pd.read_csv(tmp_path / "ledger.csv").columns


def test_a_patient_is_dropped_from_every_part_that_learns_and_an_excuse_keeps_it(tmp_path):
    archive(tmp_path / "one", seed=1, changes={(9, "patient"): "0", (6, "patient"): "0"})
    archive(tmp_path / "two", seed=2, changes={(3, "patient"): "0"})
    both = {"one": "same", "two": "same", "resolve": ("patients",)}
    others = {(row, "patient"): f"x{row // 3}" for row in range(30) if row != 3}
    archive(tmp_path / "b" / "two", seed=2, changes=others | {(3, "patient"): "0"})
    for name in ("cases.parquet", "hashes.npy"):
        (tmp_path / "two" / name).write_bytes((tmp_path / "b" / "two" / name).read_bytes())
    written(tmp_path, overlaps("one", "two", **both))
    dropped = {name: DROPPED.read(tmp_path / name / "dropped.parquet")["case"].tolist() for name in ("one", "two")}
    assert dropped == {"one": ["one00.png", "one01.png", "one02.png", "one06.png"], "two": ["two03.png"]}
    excuse = Excuse(kind="patients", between=("one test", "two train"), reason="one image of one patient")
    written(tmp_path, overlaps("one", "two", excused=(excuse,), **both))
    assert DROPPED.read(tmp_path / "two" / "dropped.parquet").empty


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ((), r"takes 3 cases out of one train, which leaves label 'Mass' no positive case; leave the label out"),
        (("Nodule",), ""),
    ],
)
def test_dropping_the_last_positive_of_a_label_is_refused(tmp_path, labels, said):
    frame = archive(tmp_path / "one", seed=1, changes={(9, "patient"): "0"})
    frame["target:Mass"] = [1.0, *[0.0] * 5, 1.0, 0.0, 0.0, 1.0, *[0.0] * 20]
    frame["target:Nodule"] = frame["row"] % 2 * 1.0
    CASES.write(frame, tmp_path / "one" / "cases.parquet")
    plan = overlaps("one", resolve=("patients",))
    plan = plan.model_copy(update={"archives": (plan.archives[0].model_copy(update={"labels": labels}),)})
    if said:
        with pytest.raises(UserError, match=said):
            written(tmp_path, plan)
    else:
        written(tmp_path, plan)


def test_dropping_all_of_a_part_is_refused(tmp_path):
    archive(tmp_path / "one", seed=1, changes={(row, "pixels"): "1-9" for row in (6, 7, 8, 21, 22, 23)})
    with pytest.raises(UserError, match=r"leaks\.resolve takes all 6 cases out of one validation; remove the overlap"):
        written(tmp_path, overlaps("one", resolve=("identical",)))


def test_two_own_folders_that_share_numbers_are_told_the_key(tmp_path):
    archive(tmp_path / "one", seed=1)
    archive(tmp_path / "two", seed=2, changes={(9, "patient"): "0"})
    with pytest.raises(UserError) as refused:
        written(tmp_path, overlaps("one", "two", one="Ulm", two="Ulm"))
    key = "say who numbered each: archives.one.kind.numbering and archives.two.kind.numbering (both 'Ulm' now)"
    assert key in str(refused.value)
    with pytest.raises(UserError) as refused:
        written(tmp_path, overlaps("one", "two", one="chestxray14", two="chestxray14"))
    assert "numbering" not in str(refused.value)


def test_images_that_look_the_same_and_have_opposite_labels_are_told(tmp_path, capsys):
    frame = archive(tmp_path / "one", seed=1, changes={(1, "pixels"): "1-0", (25, "pixels"): "1-9"})
    frame["target:Covid"] = np.where(frame["row"].isin([0, 9, 30]), 1.0, 0.0)
    frame.loc[2, "target:Covid"] = np.nan
    CASES.write(frame, tmp_path / "one" / "cases.parquet")
    hashes = np.load(tmp_path / "one" / "hashes.npy")
    hashes[1], hashes[25], hashes[7], hashes[2] = hashes[0], hashes[9], turned(hashes[0], 2), turned(hashes[0], 1)
    np.save(tmp_path / "one" / "hashes.npy", hashes)
    found = written(tmp_path, overlaps("one"))
    said = "ledger: 2 pairs of identical images and 1 pair of near-identical images have opposite labels"
    assert said in capsys.readouterr().out
    rows = found[found["kind"].str.startswith("opposite")].set_index(["kind", "part", "other"])
    assert rows[["pairs", "cases", "other_cases"]].apply(tuple, axis=1).to_dict() == {
        ("opposite labels, identical", "one test", "one test"): (1, 2, 2),
        ("opposite labels, identical", "one train", "one train"): (1, 2, 2),
        ("opposite labels, near-identical", "one train", "one validation"): (1, 1, 1),
    }
    told = pd.read_csv(tmp_path / "private" / "opposite_labels.csv", dtype=str)
    assert told[["kind", "case", "other_case", "labels"]].apply(tuple, axis=1).tolist() == [
        ("identical", "one00.png", "one01.png", "Covid"),
        ("identical", "one09.png", "one25.png", "Covid"),
        ("near-identical", "one00.png", "one07.png", "Covid"),
    ]


def test_hashes_of_another_preparation_are_refused(tmp_path):
    archive(tmp_path / "one", seed=1)
    np.save(tmp_path / "one" / "hashes.npy", np.zeros((2, 4), np.uint64))
    with pytest.raises(UserError, match=r"hashes\.npy: holds 2 images, but .*cases\.parquet lists 30"):
        written(tmp_path, overlaps("one"))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), families=st.integers(1, 12), distance=st.integers(0, 6))
def test_near_images_are_those_that_a_comparison_of_all_finds(tmp_path_factory, seed, families, distance):
    root = tmp_path_factory.mktemp("near")
    chance = np.random.default_rng(seed)
    elders = chance.integers(0, 2**64, (families, 4), dtype=np.uint64)
    hashes = np.array([turned(elders[chance.integers(families)], chance.integers(0, 9)) for _ in range(30)])
    pixels = {(row, "pixels"): f"p{chance.integers(20)}" for row in range(30)}
    frame = archive(root / "one", seed=1, changes=pixels)
    # what is identical has one hash
    first = frame.groupby("pixels")["row"].transform("first").to_numpy()
    np.save(root / "one" / "hashes.npy", hashes[first])
    away = (np.unpackbits((hashes[first][:, None] ^ hashes[first][None]).view(np.uint8), axis=2)).sum(axis=2)
    near = (away <= distance) & (first[:, None] != first[None])
    every = tuple(
        Excuse(kind=kind, between=(f"one {other}", "one test"), reason="to see all of it")
        for kind in ("identical", "near-identical")
        for other in ("train", "validation")
    )
    found = shared(written(root, overlaps("one", distance=distance, excused=every)))
    split = frame["split"].to_numpy()
    for position, one in enumerate(SPLITS):
        for other in SPLITS[position:]:
            both = (one, other), (other, one)
            expected = tuple(int(near[split == here][:, split == there].any(axis=1).sum()) for here, there in both)
            assert found.get(("near-identical", f"one {one}", f"one {other}"), (0, 0)) == expected


def sample(folder: Path) -> Path:
    """A copy of the real radiographs of some patients, with their table and lists."""
    (folder / "images_001" / "images").mkdir(parents=True)
    table = (SAMPLE / "Data_Entry_2017_v2020.csv").read_text().splitlines(keepends=True)
    kept = table[1:401]
    names = {line.split(",")[0] for line in kept}
    (folder / "Data_Entry_2017_v2020.csv").write_text(table[0] + "".join(kept))
    for name in ("train_val_list.txt", "test_list.txt"):
        listed = [line for line in (SAMPLE / name).read_text().split() if line in names]
        (folder / name).write_text("\n".join(listed) + "\n")
    for name in names:
        (folder / "images_001" / "images" / name).write_bytes((SAMPLE / "images_001" / "images" / name).read_bytes())
    return folder


def prepared(folder: Path, out: Path, *, name: str = "nih") -> None:
    """What is made of an archive in the layout of the NIH."""
    mine = Archive(name=name, kind="chestxray14", folder=str(folder), size=64, validation=0.2)
    files = {table: out / name / f"{table}.parquet" for table in ("cases", "rejects", "labels")}
    files |= {"images": out / name / "images.npy", "hashes": out / name / "hashes.npy"}
    prepare(archive=mine, workers=0, split=out / name / "split.json", **files)


def ledger_of(folder: Path, out: Path) -> pd.DataFrame:
    """The ledger of such an archive at the default distance."""
    prepared(folder, out)
    return written(out, overlaps("nih", distance=Leaks().distance))


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the sample of ChestX-ray14 is not there")
def test_real_radiographs_of_different_patients_are_apart(tmp_path):
    found = ledger_of(sample(tmp_path / "archive"), tmp_path / "out")
    assert not found.loc[found["must_be_apart"], "cases"].any()


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the sample of ChestX-ray14 is not there")
def test_a_real_radiograph_encoded_anew_is_found_in_test(tmp_path):
    folder = sample(tmp_path / "archive")
    train, test = ((folder / name).read_text().split()[0] for name in ("train_val_list.txt", "test_list.txt"))
    images = folder / "images_001" / "images"
    picture = Image.open(images / train).convert("L")
    picture.save(tmp_path / "again.jpg", quality=80)
    Image.open(tmp_path / "again.jpg").save(images / test)
    with pytest.raises(UserError) as refused:
        ledger_of(folder, tmp_path / "out")
    assert train in str(refused.value) and test in str(refused.value) and "near-identical" in str(refused.value)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the sample of ChestX-ray14 is not there")
def test_a_real_patient_in_two_parts_is_named(tmp_path):
    """Within an archive `prepare` says no, across two readings of one the ledger does."""
    folder = sample(tmp_path / "archive")
    train, test = folder / "train_val_list.txt", folder / "test_list.txt"
    trained, tested = train.read_text().split(), test.read_text().split()
    patient = tested[0].split("_")[0]
    own = [name for name in tested if name.startswith(patient)]
    assert len(own) > 1
    train.write_text("\n".join([*trained, own[0]]))
    test.write_text("\n".join(tested[1:]))
    with pytest.raises(UserError, match=f"patient {int(patient)} is in test .* and in train "):
        ledger_of(folder, tmp_path / "refused")

    train.write_text("\n".join(trained))
    test.write_text("\n".join(tested))
    prepared(folder, tmp_path / "out")
    # here the patient learns, and another tests
    others = [name for name in trained if name.startswith(trained[0].split("_")[0])]
    train.write_text("\n".join([*trained[len(others) :], *own]))
    test.write_text("\n".join([*others, *tested[len(own) :]]))
    prepared(folder, tmp_path / "out", name="again")
    looked_at = overlaps("nih", "again", distance=Leaks().distance, nih="chestxray14", again="chestxray14")
    with pytest.raises(UserError, match=r"ledger\.refused\.csv: 6 leaks"):
        written(tmp_path / "out", looked_at)
    told = pd.read_csv(tmp_path / "out" / "ledger.refused.csv").set_index(["kind", "part", "other"])
    leak = told.loc[("patients", "nih test", "again train")]
    assert leak["patients"] == 1 and leak["cases"] == leak["other_cases"] == len(own)
    assert leak["example"] in own and leak["other_example"] in own


def test_the_folds_of_an_archive_must_be_apart_from_each_other_and_from_what_is_learned(tmp_path):
    folds = Folds(folds=3)
    whole = archive(tmp_path / "own", seed=1)
    fold = by_fold(whole, folds)["split"]
    parts = (Learned(archive="own", splits=folds.names, numbering="own", folds=folds),)
    assert not shared(written(tmp_path, Overlaps(leaks=Leaks(), archives=parts)))
    # one image stands under two patients of different folds, whichever splits of the archive they are in
    first, last = fold.index[fold == "fold0"][0], fold.index[fold == "fold2"][0]
    whole.loc[last, "pixels"] = whole.loc[first, "pixels"]
    CASES.write(whole, tmp_path / "own" / "cases.parquet")
    with pytest.raises(UserError, match="own fold0 and own fold2 share identical images: 1 case of 1 patient and 1"):
        written(tmp_path, Overlaps(leaks=Leaks(), archives=parts))
    excuse = Excuse(kind="identical", between=("own fold2", "own fold0"), reason="looked at by hand")
    found = written(tmp_path, Overlaps(leaks=Leaks(excused=(excuse,)), archives=parts))
    assert shared(found) == {("identical", "own fold0", "own fold2"): (1, 1)}
    # a corpus that shares a patient with any fold
    archive(tmp_path / "corpus", seed=2)
    corpus = Learned(archive="corpus", splits=("train",), numbering="own")
    with pytest.raises(UserError, match="corpus train and own fold0 share patients"):
        written(tmp_path, Overlaps(leaks=Leaks(excused=(excuse,)), archives=(corpus, *parts)))
    declared = Declared(learned="weights", test="own test", origins=("lits",))
    kept = Overlaps(leaks=Leaks(excused=(excuse,)), archives=parts, declared=(declared,))
    with pytest.raises(UserError, match="own test and weights share the scans that they stem from: 30 cases of 10"):
        written(tmp_path, kept)
