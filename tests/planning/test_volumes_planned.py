"""Volumes in plans: their sizes by headers, the windows in which they are scored, their times on noise, and disk."""

from pathlib import Path

import numpy as np
import pytest
from monai.data.utils import dense_patch_slices
from monai.inferers.utils import _get_scan_interval

import tiny_networks_made
import volumes_made
from headwater.core import files
from headwater.data import sliding
from headwater.data.io.dicom_writing import write_slice
from headwater.data.io.extent import extent
from headwater.data.io.nifti_writing import write_volume
from headwater.data.io.series import sort_folder
from headwater.data.io.stacking import read_volume
from headwater.data.twins import msd
from headwater.planning import cost, overview, runtime_estimate, timing_profile
from headwater.planning.rehearse import rehearse
from headwater.planning.timing_profile import Rehearsal, Timed, TimingProfile
from headwater.stages.prepare_volumes import prepare_volumes
from headwater.study import config as study_config
from headwater.study.archive import Archive
from headwater.study.config import Config
from headwater.study.intensity import Intensity
from headwater.study.job_graph import JobGraph, jobs
from headwater.study.recipe import Recipe
from headwater.study.source import Source

PATCH, SEEN = (8, 8, 8), Intensity(zscore=True)
TRAINING = {"steps": 8, "batch": 2, "lr": 0.01, "validations": 2}
SIDES = [(10, 12, 8), (8, 8, 6), (20, 9, 7)]
TIMED = Timed(start=3, step=0.5, image=0.4, borders=0.1, windows=2, bytes=1000, steps=10, images=4, data="noise")


@pytest.fixture(autouse=True)
def tiny(tmp_path_factory):
    with tiny_networks_made.there(tmp_path_factory.mktemp("tiny")):
        yield


def study(folder: Path, **archive: object) -> Config:
    """A study of a task of the Decathlon, which may be a twin."""
    return study_config.load(
        {
            "results": "results",
            "seeds": [0, 1],
            "archives": {"organ": {"kind": "msd", "folder": str(folder), "size": list(PATCH), **archive}},
            "sources": {
                "random": {"backbone": "tiny/unet"},
                "ours": {"backbone": "tiny/unet", "method": "simclr", "corpus": "organ", "training": TRAINING},
            },
            "datasets": {"organ": {"task": "segmentation", "labels": list(msd.STRUCTURES)}},
            "recipes": {"full": {"training": TRAINING, "select": "dice"}},
            "comparison": {"metrics": ["dice"], "reference": "random"},
        }
    )


def disk(plan: Config, folder: Path) -> dict[str, overview.DiskUse]:
    """The prepared files in the table of the plan."""
    runtimes = runtime_estimate.estimated(plan, folder=folder)
    uses = overview.disk(plan, runtimes, trainings=1, folder=folder)
    return {use.what.removesuffix(" of organ"): use for use in uses if use.what.endswith(" of organ")}


# windows


@pytest.mark.parametrize("overlap", [0.0, sliding.OVERLAP])
@pytest.mark.parametrize("patch", [(8, 8, 6), (7, 5, 9), (8, 8, 1)])
@pytest.mark.parametrize("sides", [(8, 8, 6), (20, 9, 7), (5, 31, 12)])
def test_windows_are_those_of_monai(sides: tuple[int, ...], patch: tuple[int, ...], overlap: float):
    padded = tuple(map(max, sides, patch))
    steps = _get_scan_interval(padded, patch, 3, (overlap,) * 3)
    assert sliding.windows(sides, patch, overlap=overlap) == len(dense_patch_slices(padded, patch, steps))


@pytest.mark.parametrize(
    ("asked", "windows"),
    [
        ({"task": "segmentation"}, 3 * 3 * 3),
        ({"task": "classification"}, 2 * 2 * 2),
        ({"targets": {"a": {"task": "segmentation", "labels": ["x"]}, "b": {"labels": ["y"]}}}, 27 + 8),
    ],
)
def test_outlines_take_windows_that_overlap_and_labels_such_as_do_not(asked: dict, windows: int):
    measures = {"size": (8, 8, 8), "channels": 1, "labels": 1, **asked}
    recipe = Recipe(name="any", training=TRAINING)
    rehearsal = Rehearsal(source=Source(name="any", backbone="tiny/net"), recipe=recipe, **measures)
    assert rehearsal.scored_in((16, 16, 16)) == windows


# sizes


def test_the_extent_of_a_volume_is_that_of_its_header_alone(tmp_path: Path):
    affine = np.array([[0, -1.5, 0, 3], [2, 0, 0, 4], [0, 0, 0.8, 5], [0, 0, 0, 1]])
    write_volume(np.zeros((4, 6, 9), np.float32), tmp_path / "whole.nii", affine=affine)
    content = (tmp_path / "whole.nii").read_bytes()
    (tmp_path / "cut.nii").write_bytes(content[:352])
    turned = extent(tmp_path / "cut.nii").turned("RAS")
    assert turned.voxels.shape == (6, 4, 9) and turned.spacing == pytest.approx((1.5, 2, 0.8))


def test_the_extent_of_a_series_is_that_of_one_of_its_slices_times_their_number(tmp_path: Path):
    for number in range(5):
        names = {"patient": "p", "study": "1.2", "series": "1.3", "number": number, "SliceThickness": "2.5"}
        place = {"position": (0.0, 0.0, 2.5 * number), "spacing": (0.7, 0.9)}
        write_slice(np.zeros((6, 8), np.int16), tmp_path / f"{number}.dcm", **place, **names)
    whole = read_volume(sort_folder(tmp_path).series[0]).turned("RAS")
    for path in (tmp_path, tmp_path / "3.dcm"):
        found = extent(path).turned("RAS")
        assert found.voxels.shape == whole.voxels.shape == (8, 6, 5)
        assert found.spacing == pytest.approx(whole.spacing)


def test_disk_is_foretold_by_headers_and_then_read_off_the_files(tmp_path: Path):
    msd.make(tmp_path / "organ", cases=12, seed=0, size=32)
    plan = study(tmp_path / "organ", spacing=[2.0, 1.0, 1.0])
    foretold = disk(plan, tmp_path)
    assert list(foretold) == ["images", "masks", "references"]
    assert all("12 cases x " in use.how and "estimated from 12 headers" in use.how for use in foretold.values())
    graph = JobGraph(plan)
    products = {name: tmp_path / path for name, path in graph.rules["prepare_volumes"].outputs.items()}
    products = {name: Path(str(path).format(archive="organ")) for name, path in products.items()}
    prepare_volumes(archive=plan.archives["organ"], workers=1, **products)
    real = disk(plan, tmp_path)
    for name, use in real.items():
        assert use.how == "prepared" and use.bytes == products[name].stat().st_size
        # a header of 128 bytes, and the rim that has the lowest value, which is cut off
        assert 0.9 * foretold[name].bytes < use.bytes < foretold[name].bytes + 129
    assert foretold["images"].bytes == pytest.approx(foretold["references"].bytes, rel=0.05)


def test_a_twin_that_is_not_made_has_its_size_at_most(tmp_path: Path):
    uses = disk(study(tmp_path / "organ", twin={"cases": 20, "size": 32}), tmp_path)
    assert uses["images"].bytes == 2 * 20 * 32**3 and uses["references"].bytes == 20 * 32**3
    assert uses["masks"].how == "20 cases x 32,768 voxels; expected of a twin, at most"


def test_of_volumes_without_a_readable_header_nothing_is_said(tmp_path: Path):
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "imagesTr" / "a.nii").write_bytes(b"no volume")
    plan = study(tmp_path, kind={"name": "msd", "structures": list(msd.STRUCTURES)})
    assert {use.bytes for use in disk(plan, tmp_path).values()} == {None}


# times


def rehearsed(folder: Path, *, recipe: dict | None, **measures: object) -> dict:
    """What is measured of a kind of training on noise."""
    source = measures.pop("source", {"backbone": "tiny/unet", "mean": (0.0,), "std": (1.0,)})
    usual = {"size": PATCH, "channels": 1, "labels": 2, "seen": SEEN, "sides": SIDES, "spacings": [(1, 1, 1)] * 3}
    fitted = None if recipe is None else {"name": "any", "training": TRAINING, **recipe}
    rehearsal = Rehearsal(source={"name": "any", **source}, recipe=fitted, **usual | measures)
    rehearsal = Rehearsal.from_json(rehearsal.as_json())
    rehearse(rehearsal=rehearsal, measured=folder / "measured.json", seconds=1e-3, device="cpu")
    return files.read_json(folder / "measured.json")


OUTLINES = {"task": "segmentation", "labels": ["front", "back"]}
NUMBERS = {"task": "regression", "labels": ["age", "volume"]}
GRADES = {"task": "ordinal", "labels": ["0", "1", "2"]}


@pytest.mark.parametrize(
    "asked",
    [
        {"task": "segmentation", "listed": ("front", "back")},
        {"targets": {"outlines": OUTLINES, "grade": GRADES, "numbers": NUMBERS}},
        {"task": "classification", "wanted": (2.0, 1.0, 1.0)},
    ],
    ids=["outlines", "side by side", "labels"],
)
def test_fine_tunings_on_volumes_are_timed_on_noise(tmp_path: Path, asked: dict):
    measured = rehearsed(tmp_path, recipe={"views": {"flip": 0.5}}, **asked)
    outlined = asked.get("task") != "classification"
    assert measured["step"] > 0 and measured["image"] > 0 and measured["data"] == "noise"
    assert measured["windows"] >= 1 and (measured["borders"] > 0) == outlined
    assert measured["memory"] is None


@pytest.mark.parametrize("asked", [{"task": "regression"}, {"task": "ordinal", "labels": 4}], ids=["number", "grade"])
def test_tasks_of_whole_pictures_are_timed_on_noise(tmp_path: Path, asked: dict):
    picture = {"size": 32, "seen": None, "sides": (), "spacings": ()}
    listed = tuple(map(str, range(asked.get("labels", 2))))
    source = {"backbone": "timm/test_resnet"}
    measured = rehearsed(tmp_path, recipe={}, source=source, listed=listed, **picture | asked)
    assert measured["step"] > 0 and measured["windows"] == measured["borders"] == 0


@pytest.mark.parametrize("method", ["simclr", "supervised"])
def test_methods_on_volumes_are_timed_on_noise(tmp_path: Path, method: str):
    source = {"backbone": "tiny/net", "mean": (0.0,), "std": (1.0,), "method": method, "corpus": "organ"}
    assert rehearsed(tmp_path, recipe=None, source={**source, "training": TRAINING})["step"] > 0


def test_prepared_volumes_are_timed_as_they_are(tmp_path: Path):
    made = volumes_made.archive(tmp_path / "made", cases=10, sides=(10, 12, 8))
    training = {"source": {"name": "any", "backbone": "tiny/unet", "mean": (0.0,), "std": (1.0,)}}
    asked = {"task": "segmentation", "listed": volumes_made.STRUCTURES, "labels": 2}
    rehearsal = Rehearsal(
        recipe={"name": "any", "training": TRAINING, "fraction": 0.5, "select": "dice"},
        **{"size": PATCH, "channels": 1, "seen": SEEN, **training, **asked},
    )
    files_of = {"cases": made.cases, "images": made.images, "measured": tmp_path / "measured.json"}
    rehearse(rehearsal=rehearsal, seconds=1e-3, device="cpu", **files_of)
    measured = files.read_json(tmp_path / "measured.json")
    assert measured["data"] == "prepared" and measured["step"] > 0 and measured["borders"] > 0


def calibrated(plan: Config, folder: Path, **changed: float) -> None:
    """The study's timing profile, the same of every kind of training."""
    rehearsals = [timing_profile.rehearsal_of(job, plan) for job in jobs(plan)]
    timed = {rehearsal.key: TIMED.model_copy(update=changed) for rehearsal in rehearsals if rehearsal}
    told = TimingProfile(device="cpu", job={"local": 1.0, "slurm": 4.0}, trainings=timed)
    files.write_json(told.model_dump(), timing_profile.file_of(plan, folder=folder))


def test_the_more_windows_volumes_take_the_longer_they_are_scored(tmp_path: Path):
    plan = study(tmp_path / "organ", twin={"cases": 20, "size": 32})
    calibrated(plan, tmp_path)
    each = runtime_estimate.estimated(plan, folder=tmp_path).each
    cases = timing_profile.counts(plan.archives["organ"], plan=plan, folder=tmp_path)
    # 7 x 7 x 7 windows of 8 x 8 x 8 in 32 x 32 x 32 voxels; timed on volumes of two
    share = 7**3 / 2
    fitted = 1 + 3 + 8 * 0.5 + 2 * cases.validation * 0.4 * share
    predicted = 1 + 3 + 2 * (cases.validation + cases.test) * (0.4 + 0.1) * share
    assert each["finetune", "organ, full, tiny/unet"] == pytest.approx(fitted)
    assert each["predict", "organ, full, tiny/unet"] == pytest.approx(predicted)


def test_volumes_of_which_no_table_tells_the_number_are_counted_in_their_folder(tmp_path: Path):
    msd.make(tmp_path / "organ", cases=10, seed=0, size=32)
    plan = study(tmp_path / "organ")
    assert timing_profile.counts(plan.archives["organ"], plan=plan, folder=tmp_path).all == 10


def test_the_price_tells_volumes_voxels_and_windows(tmp_path: Path):
    plan = study(tmp_path / "organ", twin={"cases": 20, "size": 32})
    known = runtime_estimate.estimated(plan, folder=tmp_path)
    told = "organ: 20 volumes of 32,768 voxels on average (expected of a twin, at most), each scored in 343.0 windows"
    assert told in runtime_estimate.price(known, {job.product for job in known.jobs})
    assert "volumes of" not in runtime_estimate.price(known, {known.jobs[-1].product})


def test_the_memory_that_was_measured_on_a_gpu_is_told(tmp_path: Path):
    plan = study(tmp_path / "organ", twin={"cases": 20, "size": 32})
    calibrated(plan, tmp_path)
    known = runtime_estimate.estimated(plan, folder=tmp_path)
    assert "GPU GB" not in cost.by_kind(known) and "GB of memory" not in runtime_estimate.explained(known, trainings=1)
    calibrated(plan, tmp_path, memory=3_210_000_000)
    known = runtime_estimate.estimated(plan, folder=tmp_path)
    table = cost.by_kind(known).set_index("Rule")
    assert table.loc["finetune", "GPU GB"] == "3.21" and table.loc["report", "GPU GB"] == "–"
    assert "A GPU needs 3.21 GB of memory or more" in runtime_estimate.explained(known, trainings=1)


@pytest.mark.parametrize(
    ("kind", "channels", "width"),
    [
        ({"name": "msd"}, 1, 1),
        ({"name": "msd", "hounsfield": True}, 1, 2),
        ({"name": "own_folder", "table": "t.csv", "modality": "radiograph"}, 1, 1),
        ({"name": "own_folder", "table": "t.csv"}, 3, 1),
    ],
    ids=["MR volumes", "CT volumes", "own radiographs", "own photographs"],
)
def test_channels_and_bytes_follow_from_the_options_too(kind: dict, channels: int, width: int):
    name, *options = kind
    archive = Archive(name="any", kind={"name": kind[name], "options": {option: kind[option] for option in options}})
    assert (timing_profile.channels(archive), timing_profile.pixel_bytes(archive)) == (channels, width)
