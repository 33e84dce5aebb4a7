"""Own volumes: NIfTI and DICOM alike, masks in any orientation, folds, the published tables, mistakes in one line."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dicom_made import write_enhanced
from nibabel.freesurfer.mghformat import MGHImage

from headwater.core.errors import UserError
from headwater.core.page import as_text
from headwater.core.records import Choice
from headwater.data import cards, integrity
from headwater.data.datasets.own_volumes import (
    UNKNOWN_PATIENTS,
    Options,
    card,
    labels,
    read_cases,
    read_mask,
    read_volume,
)
from headwater.data.index import CATALOGUE
from headwater.data.io.dicom_writing import write_mr_series, write_slice
from headwater.data.io.nifti_writing import write_volume
from headwater.data.store import CASES, REJECTS
from headwater.data.tables import NUMBERS, TARGET
from headwater.data.twins import own_volumes as twins
from headwater.data.volumes import read_volumes
from headwater.planning import preflight
from headwater.stages.prepare_volumes import prepare_volumes
from headwater.study import config
from headwater.study.archive import Archive, window_of
from headwater.study.ct_windows import WINDOWS
from headwater.study.intensity import Intensity

SHAPE = (12, 14, 10)
SPACING = (2.0, 1.5, 1.0)
STRUCTURES = ("core", "shell")

ROWS = """file,mask,patient,split,sex,age,site,stage,gender,Cyst,Effusion,score
one.nii.gz,one_mask.nii.gz,7,train,F,061Y,Ulm,early,f,1,0,2.5
two,two_mask.nii,7,train,f,61,Ulm,,f,0,,
three.nii,,8,val,male,,Aachen,late,m,,1,3
four.nii,,9,test,,30,,late,,0.0,0,-1
"""

COLUMNS = {"labels": ["Cyst", "Effusion"], "classes": {"stage": "stage", "sex": "gender"}, "numbers": ["score"]}
KNOWN = {"patient": "patient", "structures": list(STRUCTURES), **COLUMNS}


def values(seed: int) -> np.ndarray:
    """Whole numbers uint16 (x, y, z), above 0."""
    return np.random.default_rng(seed).integers(1, 2000, SHAPE).astype(np.uint16)


def outline(seed: int) -> np.ndarray:
    return np.random.default_rng([9, seed]).integers(0, 3, SHAPE).astype(np.uint8)


def as_nifti(voxels: np.ndarray, path: Path, *, order=(0, 1, 2), flips=()) -> None:
    """Voxels (x, y, z) with their axes in another order, some of them from end to begin."""
    affine = np.diag([*SPACING, 1.0])
    for axis in flips:
        affine[axis, 3] = SPACING[axis] * (voxels.shape[axis] - 1)
        affine[axis, axis] *= -1
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(np.flip(voxels, flips).transpose(order), path, affine=affine[:, [*order, 3]])


def as_series(voxels: np.ndarray, place: Path, *, series: str = "1.2.3", description: str = "T1") -> None:
    """Voxels (x, y, z) as sagittal slices, whose files are not named in their order."""
    place.mkdir(parents=True, exist_ok=True)
    x = np.arange(len(voxels))
    across, down, up = SPACING
    positions = np.stack([-across * x, 0 * x - down * (SHAPE[1] - 1), 0 * x + up * (SHAPE[2] - 1)], axis=1)
    write_mr_series(
        voxels[:, ::-1, ::-1].transpose(0, 2, 1),
        [place / f"{number * 5 % len(voxels):03d}" for number in x],
        patient="p",
        study="1.2",
        series=series,
        positions=positions,
        orientation=(0, 1, 0, 0, 0, -1),
        spacing=(up, down),
        SeriesDescription=description,
    )


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    as_nifti(values(1), folder / "one.nii.gz", order=(2, 0, 1), flips=(1,))
    as_series(values(2), folder / "two")
    as_nifti(values(3), folder / "three.nii", flips=(0, 2))
    as_nifti(values(4), folder / "four.nii")
    as_nifti(outline(1), folder / "one_mask.nii.gz", order=(1, 0, 2), flips=(0,))
    as_nifti(outline(2), folder / "two_mask.nii", flips=(0, 1, 2))
    return folder


@pytest.fixture
def folder(original, tmp_path):
    for entry in original.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / "cases.csv").write_text(ROWS)
    return tmp_path


def cases_of(folder: Path, **options) -> pd.DataFrame:
    return CATALOGUE.check(read_cases(folder, Options(**options)))


def test_labels_classes_numbers_and_persons_stand_side_by_side(folder):
    cases = cases_of(folder, **KNOWN)
    names = ("Cyst", "Effusion", "stage=early", "stage=late", "sex=f", "sex=m")
    assert labels(folder, Options(**KNOWN)) == (*names, *STRUCTURES)
    nobody = np.nan
    np.testing.assert_array_equal(
        cases[[TARGET + name for name in names]].to_numpy(),
        [
            [1, 0, 1, 0, 1, 0],
            [0, nobody, nobody, nobody, 1, 0],
            [nobody, 1, 0, 1, 0, 1],
            [0, 0, 0, 1, nobody, nobody],
        ],
    )
    np.testing.assert_array_equal(cases[NUMBERS + "score"], [2.5, nobody, 3, -1])
    assert cases[[TARGET + name for name in STRUCTURES]].isna().all(axis=None)
    assert cases["case"].tolist() == cases["file"].tolist() == ["one.nii.gz", "two", "three.nii", "four.nii"]
    assert cases["split"].tolist() == ["train", "train", "validation", "test"]
    assert (cases["patient"].tolist(), cases["sex"].tolist()) == (["7", "7", "8", "9"], ["F", "F", "M", ""])
    assert cases["age"].fillna(0).tolist() == [61, 61, 0, 30] and cases["site"].tolist() == ["Ulm", "Ulm", "Aachen", ""]


@pytest.mark.parametrize(("row", "seed"), [(0, 1), (1, 2)])
def test_volumes_and_masks_lie_where_their_files_say(folder, row, seed):
    options = Options(**KNOWN)
    case = cases_of(folder, **KNOWN).to_dict("records")[row]
    volume = read_volume(folder, case, options).turned("RAS")
    mask = read_mask(folder, case, options).turned("RAS")
    np.testing.assert_array_equal(volume.voxels, values(seed))
    np.testing.assert_array_equal(mask.voxels, outline(seed))
    np.testing.assert_allclose(volume.affine, mask.affine, atol=1e-5)
    assert read_mask(folder, {"file": "three.nii"}, options) is None


def prepared(archive: Archive, out: Path):
    out.mkdir(parents=True)
    tables = {name: out / f"{name}.parquet" for name in ("cases", "rejects", "labels", "ceilings")}
    arrays = {name: out / f"{name}.npy" for name in ("images", "masks", "references", "hashes")}
    prepare_volumes(archive=archive, **tables, **arrays, split=out / "split.json", workers=0)
    flat = {name: (tables | arrays)[name] for name in ("cases", "images", "masks", "references")}
    return read_volumes(**flat, seen=Intensity(zscore=True), patch=archive.patch)


def test_dicom_and_nifti_of_one_volume_are_prepared_alike(tmp_path):
    lines = ["file,mask,patient,split"]
    for seed, split in enumerate(("train", "validation", "test")):
        as_series(values(seed), tmp_path / f"series{seed}" / "slices", series=f"1.2.{seed}")
        as_nifti(values(seed), tmp_path / f"file{seed}.nii.gz", order=(1, 2, 0), flips=(0, 1))
        as_nifti(outline(seed), tmp_path / f"mask{seed}.nii.gz", flips=(2,))
        as_nifti(outline(seed), tmp_path / f"other{seed}.nii.gz", order=(2, 1, 0))
        lines += [
            f"series{seed},mask{seed}.nii.gz,{seed},{split}",
            f"file{seed}.nii.gz,other{seed}.nii.gz,{seed},{split}",
        ]
    (tmp_path / "cases.csv").write_text("\n".join(lines))
    kind = Choice(name="own_volumes", options={"patient": "patient", "structures": list(STRUCTURES)})
    data = prepared(Archive(name="own", kind=kind, folder=str(tmp_path), size=8), tmp_path / "out")
    # volumes, masks and references: the digests of their voxels
    for column in ("pixels", "outline", "reference"):
        by_pair = data.cases[column].to_numpy().reshape(3, 2)
        assert (by_pair[:, 0] == by_pair[:, 1]).all() and len(set(by_pair[:, 0])) == 3, column
    for row in range(6):
        np.testing.assert_array_equal(data.images.reference(row), outline(row // 2))
        np.testing.assert_allclose(data.images.spacing(row), SPACING, rtol=1e-5)


def test_a_twin_is_prepared_with_all_that_it_tells(tmp_path):
    twins.make(tmp_path / "twin", cases=14, seed=1, size=32)
    kind = Choice(name="own_volumes", options=twins.OPTIONS)
    data = prepared(Archive(name="twin", kind=kind, folder=str(tmp_path / "twin"), size=16), tmp_path / "out")
    cases = CASES.read(tmp_path / "out" / "cases.parquet")
    assert len(cases) == 14 and REJECTS.read(tmp_path / "out" / "rejects.parquet").empty
    told = pd.read_csv(tmp_path / "twin" / "cases.csv").set_index("file")
    for row, case in enumerate(cases.to_dict("records")):
        # in thousands of voxels of 1 mm
        known = (data.images.reference(row) > 0).sum() / 1000
        unknown = pd.isna(told.loc[case["file"], "mask"])
        assert np.isnan(case[TARGET + "Anterior"]) == unknown
        assert abs(known - (0 if unknown else case[NUMBERS + "volume"])) < 5e-4 + 1e-6
    spread = cases.groupby("patient")["split"].nunique()
    assert (spread == 1).all() and spread.size == told["patient"].nunique() < 14


def test_a_twin_is_clean_and_repeats_itself(tmp_path):
    twins.make(tmp_path / "twin", cases=12, seed=2, size=32)
    twins.make(tmp_path / "again", cases=12, seed=2, size=32)
    twins.make(tmp_path / "far", cases=12, seed=2, size=32, first_patient=101)
    content = [
        {file.relative_to(place): file.read_bytes() for file in place.rglob("*") if file.is_file()}
        for place in (tmp_path / "twin", tmp_path / "again", tmp_path / "far")
    ]
    assert content[0] == content[1] and not set(content[0].values()) & set(content[2].values())
    found = integrity.examine("own_volumes", tmp_path / "twin", options=Options(**twins.OPTIONS), workers=0)
    page = as_text(integrity._page(found, listed=False))
    assert found.code == 0 and "12 on the disk, 12 listed" in page and "12 of 12 volumes read" in page
    for place in sorted((tmp_path / "twin" / "P00003").iterdir()):
        next(iter(sorted(place.iterdir()))).unlink()
    (tmp_path / "twin" / "P00001_left.nii.gz").unlink()
    found = integrity.examine("own_volumes", tmp_path / "twin", options=Options(**twins.OPTIONS), workers=0)
    page = " ".join(as_text(integrity._page(found, listed=False)).split())
    assert "not on the disk: 1 of 12" in page and "is on another grid" in page and "P0000" not in page


FOLDS = "accession_number,path,fold,V00COHORT,gender,max_val\n" + "".join(
    f"{9000 + number},{file},{fold},{cohort},{gender},255\n"
    for number, (file, fold, cohort, gender) in enumerate(
        [
            ("two", 0, "Progression", "F"),
            ("one.nii.gz", 15, "Non-exposed control group", "M"),
            ("three.nii", "16.0", "", "M"),
            ("four.nii", 19, "Progression", ""),
        ]
    )
)


def test_the_published_table_of_series_is_read_as_it_is(folder):
    (folder / "cases.csv").write_text(FOLDS)
    chosen = {"classes": {"cohort": "V00COHORT", "sex": "gender"}, "validation_folds": [16], "test_folds": [19]}
    cases = cases_of(folder, **chosen)
    assert cases["split"].tolist() == ["train", "train", "validation", "test"]
    assert cases["study"].tolist() == ["9000", "9001", "9002", "9003"]
    assert cases["patient"].tolist() == cases["case"].tolist() == ["two", "one.nii.gz", "three.nii", "four.nii"]
    names = ["cohort=Non-exposed control group", "cohort=Progression", "sex=F", "sex=M"]
    nobody = np.nan
    np.testing.assert_array_equal(
        cases[[TARGET + name for name in names]].to_numpy(),
        [[0, 1, 1, 0], [1, 0, 0, 1], [nobody, nobody, 0, 1], [0, 1, nobody, nobody]],
    )


@pytest.mark.parametrize("header", ["idx,img_path,seg_path,fold", "img_path,seg_path,fold"])
def test_the_published_table_of_masks_is_read_as_it_is(folder, header):
    lines = [
        f"{folder}/one.nii.gz,{folder}/one_mask.nii.gz,train",
        f"{folder}/two,two_mask.nii,val",
        "three.nii,,test",
    ]
    numbered = [f"{number},{line}" for number, line in enumerate(lines)] if header.startswith("idx") else lines
    (folder / "cases.csv").write_text("\n".join([header, *numbered]))
    options = Options(structures=STRUCTURES)
    cases = CATALOGUE.check(read_cases(folder, options))
    assert cases["file"].tolist() == ["one.nii.gz", "two", "three.nii"] and labels(folder, options) == STRUCTURES
    assert cases["split"].tolist() == ["train", "validation", "test"]
    masks = [read_mask(folder, case, options) for case in cases.to_dict("records")]
    assert [mask and int(mask.voxels.sum()) for mask in masks] == [int(outline(1).sum()), int(outline(2).sum()), None]


def study(folder: Path, **options) -> config.Config:
    return config.load(
        {
            "seeds": [0],
            "backbone": "monai/segresnet",
            "archives": {"knees": {"kind": {"name": "own_volumes", **options}, "folder": str(folder), "size": 16}},
            "sources": {"random": {}, "other": {}},
            "datasets": {
                "knees": {
                    "targets": {
                        "cohort": {"labels": ["cohort=Progression", "cohort=Non-exposed control group"]},
                        "sex": {"labels": ["sex=F", "sex=M"]},
                    }
                }
            },
            "recipes": {"full": {"training": {"steps": 2}}},
        }
    )


def test_the_plan_takes_the_published_table_and_says_that_nobody_knows_the_patients(folder):
    (folder / "cases.csv").write_text(FOLDS)
    classes = {"cohort": "V00COHORT", "sex": "gender"}
    chosen = study(folder, classes=classes, test_folds=[19])
    found = preflight.examined(chosen)
    assert found.mistakes == [] and f"archives.knees: {UNKNOWN_PATIENTS}" in found.notes
    assert not cards.card(chosen.archives["knees"]).patients
    doctor = integrity.examine("own_volumes", folder, options=Options(classes=classes, test_folds=[19]), workers=0)
    assert any("two knees or two visits of a person" in one.what for one in doctor.findings)
    (said,) = preflight.mistakes(study(folder, classes=classes))
    assert "column 'fold' has folds, but no option says what they are for; name some of 0, 15, 16, 19 by" in said
    said = preflight.mistakes(study(folder, classes={"cohort": "V00COHORT"}, test_folds=[19]))
    assert any("knees has no 'sex=F'" in line for line in said)
    (folder / "cases.csv").write_text(FOLDS.replace("two,0", "too,0").replace("four.nii", "fore.nii"))
    (said,) = preflight.mistakes(study(folder, classes=classes, test_folds=[19]))
    assert "at least 2 of 4 listed images are not there" in said
    assert card(Options(patient="MRN")).patients
    assert chosen.archives["knees"].numbering == f"own_volumes in {folder}"


BROKEN = [
    ("one.nii.gz,one", "/etc/one.nii.gz,one", {}, "line 2, column 'file': '/etc/one.nii.gz' is outside of"),
    ("two,two", "../two,two", {}, r"line 3, column 'file': '\.\./two' is outside of"),
    ("four.nii", "four.png", {}, "line 5, column 'file': 'four.png' is a picture, not a volume; .* read by own_folder"),
    ("four.nii", "", {}, "line 5 has no file"),
    ("three.nii", "./two/", {}, "two is listed more than once"),
    ("four.nii,", "four.nii,one_mask.nii.gz", {}, "one_mask.nii.gz is listed more than once"),
    ("two_mask.nii", "../two_mask.nii", {}, "line 3, column 'mask': '../two_mask.nii' is outside of"),
    ("two_mask.nii", "two_mask.png", {}, "line 3, column 'mask': 'two_mask.png' is no NIfTI file"),
    ("_mask", "_mosk", {}, "line 2, column 'mask': 'one_mosk.nii.gz' does not exist, nor does any of the 2 masks"),
    ("three.nii,,8", "three.nii,,", {}, "line 4 has no patient"),
    (",val,", ",dev,", {}, "line 4, column 'split': 'dev'; use 'test'"),
    (",val,", ",,", {}, "line 4 has no split"),
    ("male", "unknown", {}, "line 4, column 'sex': 'unknown'"),
    (",30,", ",300,", {}, "line 5, column 'age': '300'"),
    (",1,0,2.5", ",1,2,2.5", {}, "line 2, column 'Effusion': '2'; use 1, 0 or nothing"),
    ("2.5", "much", {}, "line 2, column 'score': 'much'; use a plausible number"),
    (
        "",
        "",
        {"classes": {"stage": "stages"}},
        "line 1 has no column 'stages', which the option `classes` names; .* did you mean 'stage'",
    ),
    ("", "", {"labels": ["Cyst", "core"]}, "structures: 'core' is the name of two structures, or of a label"),
    ("", "", {"structures": []}, "line 1 has the column 'mask' of masks; name the values of masks from 1 on by"),
    ("mask,", "outline,", {}, "line 1 has no column of masks, but the option `structures` names what they outline"),
    ("", "", {"patient": None}, "line 1 has the column 'patient', which no option names; set patient: patient, or"),
    ("", "", {"fold": "site"}, "has the columns 'split' and 'site', which both say the split; set split"),
    ("", "", {"test_folds": [1]}, "has no folds, but the options `test_folds` or `validation_folds` name some"),
    ("split", "fold", {"test_folds": [1]}, "line 2, column 'fold': 'train'; use whole numbers in all lines, or 'test'"),
]


@pytest.mark.parametrize(("old", "new", "options", "said"), BROKEN)
def test_a_mistake_in_the_table_of_volumes_is_told_in_one_line(folder, old, new, options, said):
    assert old in ROWS
    (folder / "cases.csv").write_text(ROWS.replace(old, new) if old else ROWS)
    chosen = {name: value for name, value in (KNOWN | options).items() if value is not None}
    with pytest.raises(UserError, match=said) as refused:
        read_cases(folder, Options(**chosen))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("folds", "options", "said"),
    [
        ("0 1 2 3", {"test_folds": [7]}, "column 'fold': fold 7 is in no line; .* folds are 0, 1, 2, 3"),
        ("0 1 2 3", {"test_folds": [1], "validation_folds": [1]}, "column 'fold': fold 1 is named twice"),
        ("0 1 two 3", {"test_folds": [1]}, "line 4, column 'fold': 'two'; use whole numbers in all lines"),
        ("0 1 -2 3", {"test_folds": [1]}, "line 4, column 'fold': '-2'"),
        ("train val test tset", {}, "line 5, column 'fold': 'tset'; use 'test', 'train'"),
    ],
)
def test_folds_that_make_no_sense_are_refused(folder, folds, options, said):
    files = ("one.nii.gz", "two", "three.nii", "four.nii")
    lines = [f"{file},{fold}" for file, fold in zip(files, folds.split(), strict=True)]
    (folder / "cases.csv").write_text("\n".join(["path,fold", *lines]))
    with pytest.raises(UserError, match=said):
        read_cases(folder, Options(**options))


def test_a_folder_that_is_not_one_whole_series_is_refused_by_name(tmp_path):
    def said(name: str, **options) -> str:
        with pytest.raises(UserError) as refused:
            read_volume(tmp_path, {"file": name}, Options(**options))
        assert "\n" not in str(refused.value)
        return str(refused.value)

    as_series(values(1), tmp_path / "both" / "a", series="1.2.1", description="T1")
    as_series(values(2), tmp_path / "both" / "b", series="1.2.2", description="DESS")
    assert "both: holds 2 series, not one: DESS, T1; give each series a folder" in said("both")
    as_series(values(1), tmp_path / "gap")
    (tmp_path / "gap" / "005").unlink()
    assert "is followed by a gap of 4.00 mm" in said("gap")
    as_series(values(1), tmp_path / "more")
    (tmp_path / "more" / "notes.txt").write_text("of no use")
    (tmp_path / "more" / "._000").write_bytes(b"left by macOS")
    assert "more/notes.txt: is no slice of a series: " in said("more") and "take it out of the folder" in said("more")
    (tmp_path / "empty").mkdir()
    assert "empty: holds 0 series, not one" in said("empty") and "gone: is not there; fetch it" in said("gone")
    assert "hounsfield" in said("both/a", hounsfield=True)


def test_volumes_come_in_other_forms_and_under_any_name(tmp_path):
    as_series(values(1), tmp_path / "scan.nii")
    MGHImage(values(2).astype("f4"), np.diag([*SPACING, 1.0])).to_filename(tmp_path / "scan.mgz")
    frames = np.stack([100 * number + np.arange(30, dtype=np.uint16).reshape(5, 6) for number in range(4)])
    write_enhanced(tmp_path / "frames", frames, heights=[0, 2, 4, 6], slopes=[1] * 4)
    (tmp_path / "cases.csv").write_text("file\nscan.nii\nscan.mgz\nframes\n")
    options = {"scan.nii": Options(), "scan.mgz": Options(), "frames": Options(hounsfield=True)}
    read = {file: read_volume(tmp_path, {"file": file}, options[file]).turned("RAS").voxels for file in options}
    np.testing.assert_array_equal(read["scan.nii"], values(1))
    np.testing.assert_array_equal(read["scan.mgz"], values(2))
    # from RAS to slices whose rows grow to the back and columns to the left
    np.testing.assert_array_equal(read["frames"][::-1, ::-1].T, frames - 1024.0)


def test_hounsfield_units_must_be_called_so(tmp_path):
    for number in range(4):
        (tmp_path / "ct").mkdir(exist_ok=True)
        where = {"patient": "p", "study": "1.2", "series": "1.2.9", "position": (0, 0, 2.0 * number)}
        pixels = np.full((6, 5), 10 * number, np.int16)
        write_slice(pixels, tmp_path / "ct" / f"{number}.dcm", spacing=(1, 1), number=number, **where)
    volume = read_volume(tmp_path, {"file": "ct"}, Options(hounsfield=True))
    assert volume.voxels.max() == 30 and volume.unit == "HU"
    with pytest.raises(UserError, match="ct: has Hounsfield units; set the option hounsfield: true"):
        read_volume(tmp_path, {"file": "ct"}, Options())
    archive = Archive(name="own", kind={"name": "own_volumes", "hounsfield": True}, folder="x")
    assert window_of(archive) == WINDOWS["chest"] and card(Options(hounsfield=True)).modality == "CT"


def test_a_mask_with_other_values_or_that_is_gone_is_refused(folder):
    options = Options(**(KNOWN | {"structures": ["core"]}))
    with pytest.raises(UserError, match="has values that stand for no structure, such as 2; values are 0 and 1"):
        read_mask(folder, {"file": "one.nii.gz"}, options)
    (folder / "two_mask.nii").unlink()
    with pytest.raises(UserError, match=r"two_mask\.nii"):
        read_mask(folder, {"file": "two"}, Options(**KNOWN))
