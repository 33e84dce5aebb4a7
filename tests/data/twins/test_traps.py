"""Twins have the irregularities of the real archives, and can be prepared all the same."""

import ast
import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.records import Choice
from headwater.data import store
from headwater.data import tables as data_tables
from headwater.data.index import CATALOGUE
from headwater.data.store import REJECTS
from headwater.data.twins import _files, _reports, _scan, chexpert, mimic_cxr, padchest, uka_cxr
from headwater.stages.prepare import prepare
from headwater.study.archive import Archive

CASES = 240


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """Makes a twin once."""
    made = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp("twins") / name
            registry.load("twins", name).make(made[name], cases=CASES, seed=3, size=32)
        return made[name]

    return make


def read(name: str, folder: Path, **options) -> pd.DataFrame:
    chosen = registry.chosen("datasets", Choice(name=name, options=options))
    return CATALOGUE.check(registry.load("datasets", name).read_cases(folder, chosen))


def prepared(name: str, folder: Path, out: Path, **options) -> tuple[pd.DataFrame, pd.DataFrame]:
    files = {"cases": out / "cases.parquet", "rejects": out / "rejects.parquet", "labels": out / "labels.parquet"}
    archive = Archive(name="twin", kind=Choice(name=name, options=options), folder=str(folder), size=32)
    others = {"images": out / "images.npy", "hashes": out / "hashes.npy", "split": out / "split.json"}
    prepare(archive=archive, workers=0, **others, **files)
    return store.CASES.read(files["cases"]), REJECTS.read(files["rejects"])


@pytest.mark.parametrize("name", ["chexpert", "mimic_cxr", "padchest", "uka_cxr"])
def test_a_twin_with_its_traps_is_prepared(twin, tmp_path, name):
    cases, rejects = prepared(name, twin(name), tmp_path)
    assert (len(cases), len(rejects)) == ((CASES - 1, 1) if name == "padchest" else (CASES, 0))
    assert set(cases["split"]) == set(data_tables.SPLITS)


def test_the_cases_of_physicians_hold_no_damaged_file(twin, tmp_path):
    cases, rejects = prepared("padchest", twin("padchest"), tmp_path, labelled_by="physician")
    assert 0.15 < len(cases) / CASES < 0.45
    assert rejects.empty


def test_a_small_twin_holds_no_damaged_file(tmp_path):
    padchest.make(tmp_path / "small", cases=_files.DAMAGED_EVERY // 8, seed=1, size=32)
    plugin = registry.load("datasets", "padchest")
    for case in read("padchest", tmp_path / "small").to_dict("records"):
        plugin.read_pixels(tmp_path / "small", case)


def test_chexpert_leaves_labels_open_in_training_only(twin):
    train, valid = (pd.read_csv(twin("chexpert") / f"{part}.csv", dtype=str) for part in ("train", "valid"))
    assert ",".join(train.columns) == (
        "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,"
        "Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,"
        "Support Devices"
    )
    labels = list(_reports.SIGNS)
    assert set(train[labels].fillna("").to_numpy().ravel()) == {"1.0", "0.0", "-1.0", ""}
    assert set(valid[["No Finding", *labels]].to_numpy().ravel()) == {"1.0", "0.0"}
    assert set(train["No Finding"].dropna()) == {"1.0"}
    assert train.loc[train["Sex"] == "Unknown", "Age"].tolist() == ["0"]
    assert set(train["Sex"]) == {"Female", "Male", "Unknown"}
    laterals = train["Frontal/Lateral"] == "Lateral"
    assert train.loc[laterals, "AP/PA"].isna().all()
    assert {"AP", "PA"} < set(train.loc[~laterals, "AP/PA"]) <= {"AP", "PA", "LL", "RL"}
    study = train["Path"].str.rpartition("/")[0]
    assert train.fillna("").groupby(study)[["No Finding", *labels]].nunique().eq(1).all(axis=None)
    assert train["Path"].str.startswith(chexpert.PREFIX).all()


def test_mimic_cxr_is_joined_by_keys(twin):
    folder = twin("mimic_cxr")
    tables = {file.name[16:]: pd.read_csv(file, dtype=str) for file in sorted(folder.glob("*2.0.0*.csv.gz"))}
    assert set(tables) == {"chexpert.csv.gz", "metadata.csv.gz", "negbio.csv.gz", "split.csv.gz"}
    split, metadata, chex = (tables[f"{name}.csv.gz"] for name in ("split", "metadata", "chexpert"))
    assert ",".join(split.columns) == "dicom_id,study_id,subject_id,split"
    assert tuple(metadata.columns) == mimic_cxr.METADATA
    assert list(chex.columns) == ["subject_id", "study_id", *registry.load("datasets", "mimic_cxr").CARD.labels]
    assert set(split["split"]) == {"train", "validate", "test"}
    assert list(split["dicom_id"]) != list(metadata["dicom_id"])
    assert {"AP", "PA", "LATERAL"} < set(metadata["ViewPosition"].dropna())
    assert metadata["ViewPosition"].isna().any()
    assert 0 < split["study_id"].nunique() - len(chex) < 10
    assert split["dicom_id"].str.fullmatch("([0-9a-f]{8}-){4}[0-9a-f]{8}").all()
    read_by_people = pd.read_csv(folder / "mimic-cxr-2.1.0-test-set-labeled.csv", dtype=str)
    assert "Airspace Opacity" in read_by_people
    assert "Lung Opacity" not in read_by_people
    tested = set(split.loc[split["split"] == "test", "study_id"])
    assert set(read_by_people["study_id"]) < tested
    assert len(sorted(folder.glob("files/p1?/p1???????/s5???????/*.jpg"))) == CASES


def test_compressed_tables_bear_no_time_of_day(twin):
    for file in sorted(twin("mimic_cxr").glob("*.gz")):
        assert file.read_bytes()[4:8] == b"\0\0\0\0"
        assert gzip.decompress(file.read_bytes()).count(b"\n") > 50


def test_mimic_cxr_options_change_what_they_are_about(twin):
    default = read("mimic_cxr", twin("mimic_cxr"))
    targets = [column for column in default if column.startswith(data_tables.TARGET)]
    for options in ({"labeller": "negbio"}, {"test_labels": "radiologists"}, {"uncertain": "positive"}):
        cases = read("mimic_cxr", twin("mimic_cxr"), **options)
        pd.testing.assert_frame_equal(cases.drop(columns=targets), default.drop(columns=targets))
        changed = (cases[targets].fillna(-1) != default[targets].fillna(-1)).any(axis=1)
        assert changed.any()
        if "test_labels" in options:
            assert set(default.loc[changed, "split"]) == {"test"}


def test_padchest_lists_are_as_python_prints_them(twin):
    folder = twin("padchest")
    (file,) = folder.glob("PADCHEST*.csv")
    assert file.read_text().startswith(",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,")
    table = pd.read_csv(file, dtype=str, index_col=0)
    assert len(table.columns) == 35
    assert table["Labels"].isna().any()
    lists = table["Labels"].dropna().map(ast.literal_eval)
    terms = [term for listed in lists for term in listed]
    assert any(term != term.strip() for term in terms)
    assert {"", "suture material'", "normal", "unchanged", "exclude", "laminar atelectasis"} < set(terms)
    assert set(table["Projection"]) == {"PA", "AP", "AP_horizontal", "L", "COSTAL", "EXCLUDE"}
    assert set(table["MethodLabel"]) == {"Physician", "RNN_model"}
    assert set(table["ImageDir"]) == {"0", "1", "2"}
    assert table["PatientBirth"].isna().any()
    cases = read("padchest", folder)
    assert cases["age"].dropna().between(18, 95).all()
    assert set(cases["site"]) == set(padchest.MAKERS)
    unknown = cases["target:normal"].isna()
    assert 0 < unknown.sum() < 0.15 * CASES
    with Image.open(folder / cases["file"][0]) as picture:
        assert np.asarray(picture).max() > 20_000
    assert len(sorted(folder.rglob("*.png"))) == CASES + 1


def test_the_damaged_picture_of_padchest_is_refused(twin):
    cases = read("padchest", twin("padchest"))
    with pytest.raises(UserError, match="is no whole PNG"):
        registry.load("datasets", "padchest").read_pixels(twin("padchest"), cases.iloc[_files.DAMAGED_EVERY - 1])


def test_uka_cxr_is_graded(twin):
    table = pd.read_csv(twin("uka_cxr") / "uka_cxr.csv", dtype=str)
    assert tuple(table.columns) == uka_cxr.HEADER
    assert set(table[list(uka_cxr.SIGNS)].fillna("").to_numpy().ravel()) == {"1", "2", "3", "4", ""}
    assert table["split"].isna().all()
    assert set(read("uka_cxr", twin("uka_cxr"))["view"]) == {"AP"}


def test_the_same_finding_looks_the_same_in_every_archive():
    pictures = (name for name in registry.names("twins") if registry.load("datasets", name).CARD.ndim == 2)
    looks = {name: registry.load("twins", name).SIGNS for name in pictures}
    for finding in ("cardiomegaly", "pneumothorax", "consolidation", "pneumonia", "atelectasis"):
        assert {
            sign.looks for signs in looks.values() for label, sign in signs.items() if label.lower() == finding
        } == {finding}


CT = [name for name in registry.names("twins") if registry.load("datasets", name).CARD.window]


@pytest.mark.parametrize("looks", sorted(_scan.LOOKS))
def test_every_finding_of_a_ct_is_seen_in_some_slices_and_not_in_others(looks):
    who, part = _scan.body(np.random.default_rng(1)), "head" if "bleeding" in looks or "skull" in looks else "trunk"
    lesion = _scan.Lesion(centre=0.5, reach=0.2, side=1, size=0.5)
    for height in np.linspace(0.05, 0.95, 10):
        with_it, without = (
            _scan.draw(height, part=part, who=who, lesions=lesions, size=64, rng=np.random.default_rng(2))
            for lesions in ({looks: lesion}, {})
        )
        # a sign is drawn where its label says so, and nowhere else
        assert (with_it != without).any() == (lesion.share(height) > 0)


def test_every_look_of_a_ct_is_used():
    twins = [registry.load("twins", name) for name in CT]
    signs = [getattr(twin, "NODULES", twin.SIGNS) for twin in twins]
    assert {sign.looks for known in signs for sign in known.values()} == set(_scan.LOOKS)


@pytest.mark.parametrize("name", CT)
def test_neighbouring_slices_of_a_twin_are_more_alike_than_others(name, tmp_path):
    cases, rejects = prepared_scans(name, tmp_path)
    assert rejects.empty
    images = np.load(tmp_path / "images.npy")[:, 0].astype(float)
    for _, scan in cases.groupby("series"):
        slices = images[scan["row"].to_numpy()]
        near = np.abs(np.diff(slices, axis=0)).mean()
        assert near < np.abs(slices[:6] - slices[6:]).mean()


def prepared_scans(name: str, out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    registry.load("twins", name).make(out / "twin", cases=96, seed=3, size=64)
    files = {key: out / f"{key}.parquet" for key in ("cases", "rejects", "labels")}
    others = {"images": out / "images.npy", "hashes": out / "hashes.npy", "split": out / "split.json"}
    archive = Archive(name="twin", kind=name, folder=str(out / "twin"), size=48, validation=0.2, test=0.4)
    prepare(archive=archive, workers=0, **others, **files)
    return store.CASES.read(files["cases"]), REJECTS.read(files["rejects"])
