"""An own folder: columns of any name, four file formats, and one line for each mistake in the table."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from archives_made import SAMPLES, write_dicom
from headwater.core.errors import UserError
from headwater.data import cards, integrity
from headwater.data.datasets.own_folder import Options, card, labels, read_cases, read_pixels
from headwater.data.index import CATALOGUE
from headwater.data.leakage import LEDGER
from headwater.data.tables import TARGET
from headwater.planning import preflight
from headwater.stages.ledger import ledger
from headwater.stages.prepare import prepare
from headwater.study import config
from headwater.study.archive import Archive
from headwater.study.leaks import Leaks, Learned, Overlaps

HOSPITALS = SAMPLES / "faults" / "two_hospitals"

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5

ROWS = """file,patient,series,position,split,sex,age,site,view,Fracture,Cast
a/one.png,7,s1,1.5,train,F,061Y,Ulm,PA,1,0
a/two.JPG,7,s1,-2,train,f,61,Ulm,PA,0,
three.tif,8,,,val,male,,Aachen,AP,1.0,1
four.dcm,9,,,test,,30,,,0.0,0
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").mkdir()
    Image.fromarray(GREY).save(tmp_path / "a" / "one.png")
    Image.fromarray(GREY).save(tmp_path / "a" / "two.JPG", quality=100)
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "three.tif")
    write_dicom(tmp_path / "four.dcm", GREY)
    (tmp_path / "cases.csv").write_text(ROWS)
    return tmp_path


def cases_of(folder, **options):
    return CATALOGUE.check(read_cases(folder, Options(**options)))


def test_columns_of_the_usual_names_are_read(folder):
    cases = cases_of(folder)
    assert cases["case"].tolist() == ["a/one.png", "a/two.JPG", "three.tif", "four.dcm"]
    assert cases["patient"].tolist() == ["7", "7", "8", "9"]
    assert cases["series"].tolist() == ["s1", "s1", "", ""]
    assert cases["position"].tolist()[:2] == [1.5, -2] and cases["position"].isna().tolist()[2:] == [True, True]
    assert cases["split"].tolist() == ["train", "train", "validation", "test"]
    assert cases["sex"].tolist() == ["F", "F", "M", ""]
    assert cases["age"].fillna(-1).tolist() == [61, 61, -1, 30]
    assert (cases["site"].tolist(), cases["view"].tolist()) == (["Ulm", "Ulm", "Aachen", ""], ["PA", "PA", "AP", ""])
    assert labels(folder, Options()) == ("Fracture", "Cast")
    assert cases[TARGET + "Fracture"].tolist() == [1, 0, 1, 0]
    assert cases[TARGET + "Cast"].fillna(-1).tolist() == [0, -1, 1, 0]


def test_columns_may_have_any_name(folder):
    table = pd.read_csv(folder / "cases.csv", dtype=str, keep_default_na=False)
    spelt = {"file": "path", "patient": "MRN", "sex": "gender", "split": "fold", "series": "uid", "position": "z"}
    table.rename(columns=spelt).assign(note="of no use").to_csv(folder / "mine.csv", index=False)
    told = cases_of(folder, table="mine.csv", labels=["Cast", "Fracture"], **spelt)
    usual = cases_of(folder)
    pd.testing.assert_frame_equal(told[usual.columns], usual)
    assert cases_of(folder, labels=["Cast"]).columns[-1] == TARGET + "Cast"


def test_nobody_may_know_the_patients(folder):
    cases = cases_of(folder, patient="", labels=["Cast"])
    assert cases["patient"].tolist() == cases["file"].tolist()
    assert not card(Options(patient="")).patients and card(Options()).patients
    mine = Archive(name="mine", kind={"name": "own_folder", "patient": "", "title": "Ulm, 2019", "modality": "CT"})
    told = cards.card(mine)
    assert (told.title, told.modality, told.patients, told.hosted_logging) == ("Ulm, 2019", "CT", False, False)


def test_the_doctor_judges_a_folder_by_its_own_card(folder):
    options = Options(patient="", labels=["Cast"], title="Ulm, 2019")
    found = integrity.examine("own_folder", folder, options=options, workers=0)
    assert found.title == "Ulm, 2019" and any("does not tell of patients" in line for line in found.seen)


def test_one_column_may_name_the_class(folder):
    (folder / "cases.csv").write_text("file,patient,kind\na/one.png,1,wrist\na/two.JPG,2,knee\nthree.tif,3,knee\n")
    cases = cases_of(folder, classes="kind")
    assert labels(folder, Options(classes="kind")) == ("knee", "wrist")
    assert cases[[TARGET + "knee", TARGET + "wrist"]].to_numpy().tolist() == [[0, 1], [1, 0], [1, 0]]
    assert cases_of(folder, classes="kind", labels=["wrist", "knee", "hip"])[TARGET + "hip"].sum() == 0
    with pytest.raises(UserError, match=r"line 2, column 'kind': 'wrist'; use knee, hip"):
        cases_of(folder, classes="kind", labels=["knee", "hip"])


def test_a_class_that_nobody_knows_is_unknown(folder):
    (folder / "cases.csv").write_text("file,patient,kind\na/one.png,1,wrist\na/two.JPG,2,\nthree.tif,3,knee\n")
    for chosen in ({}, {"labels": ["knee", "wrist"]}):
        read = cases_of(folder, classes="kind", **chosen)[[TARGET + "knee", TARGET + "wrist"]].to_numpy()
        np.testing.assert_array_equal(read, [[0, 1], [np.nan, np.nan], [1, 0]])


def test_several_columns_may_name_classes_beside_columns_of_labels(folder):
    lines = ["file,patient,kind,sort,Cast", "a/one.png,1,wrist,b,1", "a/two.JPG,2,,a,", "three.tif,3,knee,a,0"]
    (folder / "cases.csv").write_text("\n".join(lines))
    options = {"classes": {"part": "kind", "grade": "sort"}, "labels": ["Cast"]}
    names = ("Cast", "part=knee", "part=wrist", "grade=a", "grade=b")
    assert labels(folder, Options(**options)) == names
    read = cases_of(folder, **options)[[TARGET + name for name in names]].to_numpy()
    nobody = np.nan
    np.testing.assert_array_equal(read, [[1, 0, 1, 0, 1], [nobody, nobody, nobody, 1, 0], [0, 1, 0, 1, 0]])
    assert labels(folder, Options(classes=options["classes"])) == names[1:]
    with pytest.raises(UserError, match="gives two labels the name 'a=b=c'"):
        (folder / "cases.csv").write_text("file,patient,x,y\na/one.png,1,b=c,c\n")
        labels(folder, Options(classes={"a": "x", "a=b": "y"}))


def test_a_path_from_the_root_on_may_lie_below_the_folder(folder):
    (folder / "cases.csv").write_text(ROWS.replace("a/one.png", f"{folder}/a/one.png"))
    assert cases_of(folder)["case"][0] == "a/one.png"
    (folder / "link").symlink_to(folder)
    assert cases_of(folder / "link")["case"][0] == "a/one.png"


def test_pixels_are_those_of_the_files(folder):
    read = [read_pixels(folder, case) for case in cases_of(folder).to_dict("records")]
    assert [pixels.dtype for pixels in read] == [np.uint8] * 4
    assert np.array_equal(read[0], GREY) and np.array_equal(read[2], GREY)
    assert np.abs(read[1].astype(int) - GREY).max() <= 4
    # without a window the lowest value becomes black and the highest white
    stretched = np.rint(GREY.astype(float) / GREY.max() * 255)
    assert np.abs(read[3] - stretched).max() <= 1


def test_pictures_of_several_pages_or_of_floats_are_refused(folder):
    pages = [Image.fromarray(GREY), Image.fromarray(GREY)]
    pages[0].save(folder / "pages.tif", save_all=True, append_images=pages[1:])
    Image.fromarray(GREY.astype(np.float32)).save(folder / "floats.tif")
    for name, said in (("pages", "2 pages of mode L"), ("floats", "1 pages of mode F")):
        with pytest.raises(UserError, match=said):
            read_pixels(folder, {"file": f"{name}.tif"})


BROKEN = [
    ("a/one.png,7", "/etc/one.png,7", "line 2, column 'file': '/etc/one.png' is outside of"),
    ("a/one.png,7", "../one.png,7", r"line 2, column 'file': '\.\./one.png' is outside of"),
    ("four.dcm", "four.bmp", r"line 5, column 'file': 'four.bmp' has no suffix of an image; use one of \.png, "),
    ("four.dcm", "", "line 5 has no file"),
    ("three.tif,8", "three.tif,", "line 4 has no patient"),
    # lines are those of the file, blank ones among them
    ("three.tif,8", "\nthree.tif,", "line 5 has no patient"),
    ("a/one.png,7", "\n\n/etc/one.png,7", "line 4, column 'file': '/etc/one.png' is outside of"),
    ("three.tif", "four.dcm", r"four.dcm is listed more than once"),
    (",val,", ",dev,", "line 4, column 'split': 'dev'; use 'test', 'train', 'val', 'valid', 'validation'"),
    (",val,", ",,", "line 4 has no split"),
    ("male", "unknown", "line 4, column 'sex': 'unknown'; use 'f', 'female', 'm', 'male', 'w' or nothing"),
    (",30,", ",300,", "line 5, column 'age': '300'; use a plausible number, or nothing"),
    (",-2,", ",top,", "line 3, column 'position': 'top'"),
    ("Ulm,PA,0", "Ulm,PA,2", "line 3, column 'Fracture': '2'; use 1, 0 or nothing, or list the columns"),
    ("file,patient", "path,patient", r"line 1 has no column 'file', which the option `file` names; set file: COLUMN"),
]


@pytest.mark.parametrize(("old", "new", "said"), BROKEN)
def test_a_mistake_in_the_table_is_told_in_one_line(folder, old, new, said):
    assert old in ROWS
    (folder / "cases.csv").write_text(ROWS.replace(old, new, 1))
    with pytest.raises(UserError, match=said) as refused:
        read_cases(folder, Options())
    assert "cases.csv" in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sex": "gender"}, r"has no column 'gender', which the option `sex` names; set sex: COLUMN"),
        ({"labels": ["Fractur"]}, r"has no column 'Fractur'; did you mean 'Fracture'\?"),
        ({"table": "mine.csv"}, r"mine\.csv: is not there; give the name of your CSV by the option `table`"),
    ],
)
def test_a_column_that_an_option_names_must_be_there(folder, options, said):
    with pytest.raises(UserError, match=said):
        read_cases(folder, Options(**options))


def test_a_table_whose_paths_start_elsewhere_is_refused(folder, tmp_path):
    for name in ("a/one.png", "a/two.JPG", "three.tif", "four.dcm"):
        (folder / name).unlink()
    with pytest.raises(
        UserError, match=r"line 2, column 'file': 'a/one.png' does not exist, nor does any of the 4 images"
    ):
        read_cases(folder, Options())


def test_labels_are_checked_before_the_first_job(folder):
    def wanting(*asked):
        content = {
            "seeds": [0],
            "archives": {"mine": {"kind": "own_folder", "folder": str(folder)}},
            "sources": {"random": {}, "other": {}},
            "datasets": {"mine": {"labels": list(asked)}},
            "recipes": {"full": {"training": {"steps": 2}}},
        }
        # how few cases this table has is told as well
        return [line for line in preflight.mistakes(config.load(content)) if "no label has positive" not in line]

    assert wanting("Cast") == []
    assert wanting("Cost") == ["datasets.mine.labels: mine has no 'Cost'; did you mean 'Cast'?"]


def test_each_folder_numbers_its_own_patients_unless_the_config_says_who_does():
    def numbering(folder, **options):
        return Archive(name="a", kind={"name": "own_folder", **options}, folder=folder).numbering

    assert numbering("/data/a") != numbering("/data/b")
    # two entries of one folder are one hospital, whatever table either reads
    assert numbering("/data/a") == numbering("/data/a/") == numbering("/data/a", table="others.csv")
    assert numbering("/data/a", numbering="Ulm") == numbering("/data/b", numbering="Ulm") == "Ulm"
    # the patients of a twin follow from its seed and their numbers
    twins = [Archive(name="a", kind="own_folder", folder=name, twin={"cases": 8}) for name in ("a", "b")]
    assert twins[0].numbering == twins[1].numbering
    assert Archive(name="a", kind="padchest", folder="a").numbering == "padchest"


@pytest.mark.skipif(not HOSPITALS.is_dir(), reason="the tables of two hospitals are not there")
def test_two_hospitals_that_both_count_from_1_share_no_patient(tmp_path):
    def ledger_of(*names, **options):
        archives = []
        for number, name in enumerate(names):
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            table = pd.read_csv(HOSPITALS / f"hosp{name[0]}.csv", dtype=str)
            table.to_csv(folder / "cases.csv", index=False)
            for row, file in enumerate(table["file"]):
                chance = np.random.default_rng([number, row])
                Image.fromarray(chance.integers(0, 255, (32, 32), np.uint8)).save(folder / file)
            kind = {"name": "own_folder", "labels": ["x"], **options}
            archives.append(Archive(name=name, kind=kind, folder=str(folder), size=32, rejects=0))
            out = tmp_path / "out" / name
            files = {table: out / f"{table}.parquet" for table in ("cases", "rejects", "labels")}
            files |= {"images": out / "images.npy", "hashes": out / "hashes.npy", "split": out / "split.json"}
            prepare(archive=archives[-1], workers=0, **files)
        splits = ("train", "validation", "test")
        learned = [Learned(archive=one.name, splits=splits, numbering=one.numbering) for one in archives]
        folders = [tmp_path / "out" / one.name for one in archives]
        ledger(
            overlaps=Overlaps(leaks=Leaks(distance=0), archives=tuple(learned)),
            cases=[folder / "cases.parquet" for folder in folders],
            hashes=[folder / "hashes.npy" for folder in folders],
            ledger=tmp_path / "out" / "ledger.parquet",
            readable=tmp_path / "out" / "ledger.csv",
        )
        return LEDGER.read(tmp_path / "out" / "ledger.parquet")

    found = ledger_of("A", "B")
    assert not found.loc[found["kind"] == "patients", "cases"].any()
    with pytest.raises(UserError, match=r"share patients: .*archives\.A\.kind\.numbering"):
        ledger_of("A", "B", numbering="Ulm")


def test_a_column_that_an_option_is_called_like_is_no_label_by_itself(folder):
    assert labels(folder, Options(patient="")) == labels(folder, Options(site="view")) == ("Fracture", "Cast")
    assert TARGET + "patient" not in cases_of(folder, patient="")
    assert labels(folder, Options(patient="", labels=["patient"])) == ("patient",)


def test_one_file_in_two_spellings_is_one_file(folder):
    lines = ROWS.replace("a/one.png", "./a//one.png")
    (folder / "cases.csv").write_text(lines)
    assert cases_of(folder)["case"].tolist()[0] == cases_of(folder)["file"].tolist()[0] == "a/one.png"
    (folder / "cases.csv").write_text(lines + "a/one.png,7,s1,9,train,F,61,Ulm,PA,1,0\n")
    with pytest.raises(UserError, match="is listed more than once"):
        cases_of(folder)
