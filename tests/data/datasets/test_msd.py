"""Medical Segmentation Decathlon: any task by its dataset.json, folders without one, channels, and what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from headwater.core.errors import UserError
from headwater.data.cards import card
from headwater.data.datasets.msd import Options, label_files, labels, read_cases, read_mask, read_volume, structures
from headwater.data.index import CATALOGUE
from headwater.data.io.nifti_writing import write_volume
from headwater.data.tables import labels_of
from headwater.data.twins import msd as twins
from headwater.study.archive import Archive, ndim_of, window_of
from headwater.study.ct_windows import WINDOWS


@pytest.fixture(scope="module")
def twin(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("twins") / "organ"
    twins.make(folder, cases=8, seed=3, size=32)
    return folder


def described(folder: Path, **changes) -> Path:
    """A folder with this content in dataset.json."""
    content = {"labels": {"0": "background", "1": "edema"}, "modality": {"0": "FLAIR", "1": "T1w"}, "training": []}
    (folder / "imagesTr").mkdir(exist_ok=True)
    (folder / "labelsTr").mkdir(exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(content | changes))
    return folder


def test_the_catalogue_lists_each_volume_once_with_unknown_structures(twin):
    cases = CATALOGUE.check(read_cases(twin, Options()))
    assert list(cases["case"]) == [f"organ_{number:03d}" for number in range(1, 9)] == list(cases["patient"])
    assert labels_of(cases) == ["Anterior", "Posterior"] == list(labels(twin, Options()))
    assert cases[["target:Anterior", "target:Posterior"]].isna().all(axis=None)


def test_the_twin_is_read_in_one_orientation_however_it_is_stored(twin):
    stored = set()
    for case in read_cases(twin, Options()).to_dict("records"):
        volume, mask = read_volume(twin, case, Options()), read_mask(twin, case, Options())
        stored.add(volume.orientation)
        turned, outline = volume.turned("RAS"), mask.turned("RAS")
        assert mask.voxels.dtype == np.uint8 and turned.spacing == (1, 1, 1)
        front, back = (np.argwhere(outline.voxels == value)[:, 1].mean() for value in (1, 2))
        assert front > back
        around, inside = (turned.voxels[outline.voxels == value].mean() for value in (0, 1))
        assert inside > 1.3 * around
    assert len(stored) == 2


def test_the_same_arguments_make_the_same_files_and_patients_depend_on_their_number_only(twin, tmp_path):
    twins.make(tmp_path / "again", cases=8, seed=3, size=32)
    twins.make(tmp_path / "later", cases=8, seed=3, first_patient=5, size=32)
    twins.make(tmp_path / "other", cases=8, seed=4, size=32)
    for part in ("imagesTr", "labelsTr"):
        for file in (twin / part).iterdir():
            assert file.read_bytes() == (tmp_path / "again" / part / file.name).read_bytes()
            assert file.read_bytes() != (tmp_path / "other" / part / file.name).read_bytes()
        name = "organ_006.nii.gz"
        assert (twin / part / name).read_bytes() == (tmp_path / "later" / part / name).read_bytes()
    assert json.loads((tmp_path / "again" / "dataset.json").read_text())["numTraining"] == 8


def test_a_large_twin_has_a_case_without_a_mask_and_one_without_an_image(tmp_path, monkeypatch):
    monkeypatch.setattr(twins, "LONE_FROM", 8)
    twins.make(tmp_path / "organ", cases=8, seed=3, size=32)
    rows = read_cases(tmp_path / "organ", Options()).to_dict("records")
    assert len(rows) == 8
    with pytest.raises(UserError, match="organ_008 has an image but no mask; fetch it, or take the other one away"):
        read_mask(tmp_path / "organ", rows[7], Options())
    assert read_mask(tmp_path / "organ", rows[7], Options(unlabelled="kept")) is None
    with pytest.raises(UserError, match="organ_007 has a mask but no image"):
        read_volume(tmp_path / "organ", rows[6], Options())


def test_a_folder_without_a_description_is_read_by_options(twin, tmp_path):
    for part in ("imagesTr", "labelsTr"):
        shutil.copytree(twin / part, tmp_path / part.removesuffix("Tr"))
    (tmp_path / "images" / "._organ_001.nii.gz").write_bytes(b"")
    options = Options(structures=("head", "tail"), images="images", labels="labels")
    cases = read_cases(tmp_path, options)
    assert label_files(tmp_path, options) == [] and len(cases) == 8 and labels_of(cases) == ["head", "tail"]
    assert read_mask(tmp_path, cases.iloc[0].to_dict(), options).voxels.max() == 2
    with pytest.raises(UserError, match=r"dataset\.json: is not there; .*name the structures by the option"):
        label_files(tmp_path, Options())


def test_structures_are_numbered_in_the_order_of_their_values(tmp_path):
    folder = described(tmp_path, labels={"4": "late", "0": "background", "2": "early"})
    assert structures(folder, Options()) == ("early", "late")
    values = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    for name, mask in (("good", np.choose(values % 3, [0, 2, 4]).astype("u1")), ("bad", values)):
        write_volume(mask, folder / "labelsTr" / f"{name}.nii", affine=np.eye(4))
        write_volume(mask, folder / "imagesTr" / f"{name}.nii", affine=np.eye(4))
    good, bad = ({"case": name, "file": f"imagesTr/{name}.nii"} for name in ("good", "bad"))
    read = read_mask(folder, good, Options()).voxels
    np.testing.assert_array_equal(read, (values % 3).T)
    with pytest.raises(UserError, match="has values that stand for no structure, such as 6; values are 0 and 2, 4"):
        read_mask(folder, bad, Options())


@pytest.mark.parametrize(("channel", "first"), [("T1w", 100), ("1", 100), ("FLAIR", 0)])
def test_one_channel_of_several_is_chosen(tmp_path, channel, first):
    folder = described(tmp_path)
    voxels = np.stack([np.arange(8), 100 + np.arange(8)], axis=-1).reshape(2, 2, 2, 2).astype("i2")
    write_volume(voxels, folder / "imagesTr" / "brain.nii", affine=np.eye(4))
    case = {"case": "brain", "file": "imagesTr/brain.nii"}
    assert read_volume(folder, case, Options(channel=channel)).voxels.min() == first
    with pytest.raises(UserError, match="holds 2 volumes; say which"):
        read_volume(folder, case, Options())
    with pytest.raises(UserError, match="has no channel 'T1'; did you mean 'T1w'"):
        read_volume(folder, case, Options(channel="T1"))


def test_computed_tomography_must_be_called_so(tmp_path):
    folder = described(tmp_path, modality={"0": "CT"}, training=[{"image": "./imagesTr/a.nii.gz"}])
    with pytest.raises(UserError, match=r"the modality is CT; set kind: \{name: msd, hounsfield: true\}"):
        read_cases(folder, Options())
    assert list(read_cases(folder, Options(hounsfield=True))["case"]) == ["a"]
    archive = Archive(name="liver", kind={"name": "msd", "hounsfield": True}, folder="x")
    assert window_of(archive) == WINDOWS["chest"] and card(archive).modality == "CT" and ndim_of(archive) == 3


@pytest.mark.parametrize("content", ["{", "[]", '{"labels": {"one": "a"}}', '{"labels": {}, "modality": {"1": "CT"}}'])
def test_a_broken_description_is_refused(tmp_path, content):
    described(tmp_path)
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(UserError, match=r"dataset\.json: does not describe a task"):
        label_files(tmp_path, Options())


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="has no volumes; unpack the task there"):
        read_cases(described(tmp_path), Options())


def written(folder: Path, **files: int) -> None:
    """Volumes, or masks, of one value each, by their path without .nii."""
    for name, value in files.items():
        write_volume(np.full((2, 2, 2), value, np.uint8), folder / f"{name.replace('__', '/')}.nii", affine=np.eye(4))


def masked(folder: Path, options: Options) -> dict[str, tuple[int, int]]:
    """The value of the volume and of the mask of each case."""
    cases = read_cases(folder, options).to_dict("records")
    read = ((case["case"], read_volume(folder, case, options), read_mask(folder, case, options)) for case in cases)
    return {name: (int(volume.voxels.max()), int(mask.voxels.max())) for name, volume, mask in read}


def pair(image: str, mask: str) -> dict[str, str]:
    return {"image": f"./imagesTr/{image}.nii", "label": f"./labelsTr/{mask}.nii"}


STRUCTURES = {"0": "background", "1": "one", "2": "two"}


class TestPairs:
    @pytest.mark.parametrize("options", [Options(), Options(structures=("one", "two"))])
    def test_the_mask_is_the_one_that_the_description_gives(self, tmp_path, options):
        described(tmp_path, labels=STRUCTURES, training=[pair("a", "b"), pair("b", "a"), pair("c", "c_mask")])
        written(tmp_path, imagesTr__a=10, imagesTr__b=20, imagesTr__c=30)
        written(tmp_path, labelsTr__a=1, labelsTr__b=2, labelsTr__c_mask=0)
        assert masked(tmp_path, options) == {"a": (10, 2), "b": (20, 1), "c": (30, 0)}

    def test_what_it_does_not_list_goes_by_its_name(self, tmp_path):
        described(tmp_path, labels=STRUCTURES, training=[{"image": "a.nii"}])
        written(tmp_path, imagesTr__a=10, imagesTr__b=20, labelsTr__a=1, labelsTr__b=2)
        assert masked(tmp_path, Options()) == {"a": (10, 1), "b": (20, 2)}

    def test_a_mask_that_belongs_to_no_volume_is_a_case_of_its_own(self, tmp_path):
        described(tmp_path, training=[pair("a", "a_mask")])
        written(tmp_path, imagesTr__a=10, labelsTr__a_mask=1, labelsTr__d=1)
        assert list(read_cases(tmp_path, Options())["case"]) == ["a", "d"]
        with pytest.raises(UserError, match="d has a mask but no image"):
            read_volume(tmp_path, {"case": "d", "file": "imagesTr/d.nii"}, Options())

    @pytest.mark.parametrize(
        ("training", "what"),
        [
            ([pair("a", "a"), pair("a", "b")], "lists a volume more than once: 'a.nii'"),
            ([pair("a", "a"), pair("b", "a")], "gives several volumes one mask: 'a.nii'"),
        ],
    )
    def test_contradictions_are_refused(self, tmp_path, training, what):
        with pytest.raises(UserError, match=rf"dataset\.json: {what}; correct it there"):
            read_cases(described(tmp_path, training=training), Options())


class TestLabels:
    def test_nnu_net_gives_values_by_name(self, tmp_path):
        described(tmp_path, labels={"background": 0, "Posterior": 2, "Anterior": 1})
        assert structures(tmp_path, Options()) == ("Anterior", "Posterior")

    @pytest.mark.parametrize(
        ("labels_", "what"),
        [
            ('{"0": "background", "1": "one", "01": "two"}', "gives two structures one value: '1'"),
            ('{"0": "background", "1": "one", "1": "two"}', "has a name twice in one object: '1'"),
            ('{"background": 0, "one": 1, "two": 1}', "gives two structures one value: '1'"),
            ('{"0": "background", "1": "one", "2": "one"}', "gives two structures the name 'one'"),
            ('{"background": 0, "whole": [1, 2], "core": 2}', "has regions of several values, or voxels to be ignored"),
            ('{"background": 0, "one": 1, "ignore": 2}', "has regions of several values, or voxels to be ignored"),
            ('{"background": 0, "one": 1.5}', "does not describe a task"),
            ("[" * 100_000 + "]" * 100_000, "does not describe a task .*: RecursionError"),
        ],
    )
    def test_what_makes_no_sense_is_refused_in_one_line(self, tmp_path, labels_, what):
        described(tmp_path)
        (tmp_path / "dataset.json").write_text(f'{{"labels": {labels_}, "modality": {{"0": "MRI"}}, "training": []}}')
        with pytest.raises(UserError, match=rf"dataset\.json: {what}") as refused:
            structures(tmp_path, Options())
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 400

    def test_an_option_that_names_two_structures_alike_is_refused(self, tmp_path):
        with pytest.raises(UserError, match="structures: gives two structures the name 'one'; give each a name"):
            structures(tmp_path, Options(structures=("one", "two", "one")))


class TestAFilePerChannel:
    """nnU-Net's raw data sets: no list of cases, and the channel's number in each volume's name."""

    NEW = {"labels": {"background": 0, "one": 1, "two": 2}, "numTraining": 2, "file_ending": ".nii"}

    def folder(self, tmp_path: Path, **channels: str) -> Path:
        described(tmp_path)
        (tmp_path / "dataset.json").write_text(json.dumps({**self.NEW, "channel_names": channels}))
        return tmp_path

    def test_of_one_channel(self, tmp_path):
        folder = self.folder(tmp_path, **{"0": "T2"})
        written(folder, imagesTr__a_0000=10, imagesTr__b_0000=20, labelsTr__a=1, labelsTr__b=2)
        assert masked(folder, Options()) == {"a": (10, 1), "b": (20, 2)}

    @pytest.mark.parametrize(("channel", "value"), [("T2", 10), ("ADC", 11), ("1", 11)])
    def test_of_several_channels_one_is_chosen(self, tmp_path, channel, value):
        folder = self.folder(tmp_path, **{"0": "T2", "1": "ADC"})
        written(folder, imagesTr__a_0000=10, imagesTr__a_0001=11, labelsTr__a=1, labelsTr__lone=2)
        cases = read_cases(folder, Options(channel=channel)).to_dict("records")
        assert [case["case"] for case in cases] == ["a", "lone"]
        assert read_volume(folder, cases[0], Options(channel=channel)).voxels.max() == value
        assert read_mask(folder, cases[0], Options(channel=channel)).voxels.max() == 1
        with pytest.raises(UserError, match="lone has a mask but no image"):
            read_volume(folder, cases[1], Options(channel=channel))
        with pytest.raises(
            UserError, match="have 2 channels, each in a file of its own; name one by the option `channel`"
        ):
            read_cases(folder, Options())

    def test_files_that_are_listed_elsewhere_are_refused(self, tmp_path):
        folder = self.folder(tmp_path, **{"0": "T2"})
        (folder / "dataset.json").write_text(json.dumps({**self.NEW, "channel_names": {"0": "T2"}, "dataset": {}}))
        with pytest.raises(UserError, match="lists its files by `dataset`, which is not read; name them case_0000"):
            read_cases(folder, Options())
