"""Overlays: the cases in which two sources differ most, on a page that is not part of the report."""

import base64
import gzip
import io
import re

import matplotlib.image
import nibabel
import numpy as np
import pytest

import tiny_networks_made
import volumes_made
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.data import prepared
from headwater.evaluation.predictions import PREDICTIONS, with_evidence
from headwater.reporting import overlays
from headwater.stages.finetune import finetune
from headwater.stages.overlay import overlay
from headwater.stages.predict import predict
from headwater.study.comparison import Comparison
from headwater.study.grid import Run
from headwater.study.intensity import Intensity
from headwater.study.paths import outlines_of
from headwater.study.source import Source
from headwater.study.target import evidence

PATCH, SEEN = [8, 8, 6], Intensity(zscore=True)
STEPS = {"random": 10, "longer": 30}
SEEDS = (0, 1)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two sources, one of which is hardly trained, and what their networks outline in two of the archive's cases."""
    folder = tmp_path_factory.mktemp("study")
    made = volumes_made.archive(folder / "made", cases=20, sides=(10, 12, 8))
    dataset = {"name": "made", "archive": "made", "seen": SEEN, "task": "segmentation", "labels": ("front", "back")}
    with tiny_networks_made.there(folder / "tiny"):
        tables = []
        for source, steps in STEPS.items():
            for seed in SEEDS:
                training = {"steps": steps, "batch": 4, "lr": 0.02, "validations": 1}
                run = Run(
                    dataset=dataset,
                    source=Source(name=source, backbone="tiny/net", mean=(0.0,), std=(1.0,)),
                    recipe={"name": "full", "training": training, "select": "dice"},
                    seed=seed,
                )
                here = folder / run.path
                products = {"model": here / "model.safetensors", "fit": here / "fit.json"}
                finetune(
                    run=run,
                    cases=made.cases,
                    images=made.images,
                    patch=PATCH,
                    progress=here / "progress.pt",
                    **products,
                )
                given = {"runs": [run], "cases": made.cases, "images": made.images, "models": [products["model"]]}
                tables.append(here / "predictions.parquet")
                validation = [here / "validation.parquet"]
                predict(**given, predictions=tables[-1:], validation=validation, patch=PATCH, write_outlines=True)
    settings = {"reference": "random", "metrics": ("dice",), "seeds": SEEDS, "recipes": ("full",)}
    comparison = Comparison(dataset="made", sources=tuple(STEPS), task="segmentation", **settings)
    return {
        "comparison": comparison, "dataset": run.dataset, "predictions": tables, "cases": made.cases,
        "images": made.images, "patch": PATCH,
    }  # fmt: skip


@pytest.fixture(scope="module")
def page(study, tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("page") / "made.html"
    overlay(**study, page=file)
    return file.read_text()


def dice(study, source: str) -> np.ndarray:
    """The mean Dice of each case over structures and seeds, in the order of the cases' names."""
    columns = evidence(study["dataset"].tasks)
    frames = [with_evidence(PREDICTIONS, columns).read(file) for file in study["predictions"] if source in str(file)]
    each = []
    for frame in frames:
        given = {name: frame[name].to_numpy() for name in registry.load("metrics", "dice").EVIDENCE}
        frame = frame.assign(dice=registry.load("metrics", "dice").per_case(**given))
        each.append(frame.groupby("case")["dice"].mean())
    return np.mean(each, axis=0)


def test_the_extreme_cases_are_shown_with_their_differences(study, page):
    differences = dice(study, "longer") - dice(study, "random")
    assert differences.max() - differences.min() > 0.01
    shown = [float(number) for number in re.findall(r"<h3>[\w ]+: ([+-][\d.]+)</h3>", page)]
    assert shown[0] == pytest.approx(differences.max(), abs=0.0005)
    assert shown[-1] == pytest.approx(differences.min(), abs=0.0005)
    assert shown == sorted(shown, reverse=True) and len(shown) == 3
    assert "over 2 seeds; drawn is seed 0" in page and "shows patients" in page


def test_each_picture_has_the_contours_of_the_reference_and_of_both_sources(page):
    pictures = re.findall(r"data:image/png;base64,([^\"]+)", page)
    assert len(pictures) == 3
    for content in pictures:
        pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(content)))[..., :3]
        # above the legend, which has all colours
        pixels = np.rint(255 * pixels[: int(0.85 * len(pixels))])
        for colour in overlays.MARKS.values():
            wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
            assert (np.abs(pixels - wanted).max(axis=2) < 30).sum() > 20, colour


def test_the_same_results_give_the_same_page(study, page, tmp_path):
    overlay(**study, page=tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == page


def test_an_outline_that_is_gone_is_named(study, tmp_path):
    data = prepared.read(study["cases"], images=study["images"], seen=SEEN, patch=PATCH)
    files = [
        outlines_of(table, target="", case=data.cases["case"][row])
        for table in study["predictions"]
        for row in data.rows("test")
    ]
    assert all(file.is_file() for file in files)
    kept = {file: file.read_bytes() for file in files}
    try:
        for file in files:
            file.unlink()
        with pytest.raises(UserError, match=r"outlines/.*\.nii\.gz: is not there; delete .*predictions.parquet"):
            overlay(**study, page=tmp_path / "page.html")
        assert not (tmp_path / "page.html").exists()
    finally:
        for file, content in kept.items():
            file.write_bytes(content)


def shifted(image):
    moved = image.affine.copy()
    moved[:3, 3] += 100
    return nibabel.Nifti1Image(image.dataobj[...], moved)


def with_affine(by):
    return lambda image: nibabel.Nifti1Image(image.dataobj[...], np.diag([*by, 1.0]) @ image.affine)


def with_values(change, kind=np.int16):
    """The same outline with other values."""
    return lambda image: nibabel.Nifti1Image(change(image.dataobj[...].astype(kind)).astype(kind), image.affine)


def one_voxel(values):
    values = values.copy()
    values[0, 0, 0] = (values[0, 0, 0] + 1) % 2
    return values


FAULTS = {
    "shifted": (shifted, "is displaced by 173.2 mm"),
    "mirrored": (with_affine([-1, 1, 1]), "is displaced by|otherwise than its predictions say"),
    "scaled": (with_affine([2, 2, 2]), "is displaced by"),
    "cut": (lambda image: image.slicer[1:], "has .* voxels, its image"),
    "wraps": (with_values(lambda values: values + 256), "holds 25[678], but its structures are 1 to 2"),
    "negative": (with_values(lambda values: values - 1), "holds -1, but"),
    "fraction": (with_values(lambda values: values + 0.6, np.float32), r"holds \d\.6, but"),
    "third": (with_values(lambda values: values * 0 + 3), "holds 3, but its structures are 1 to 2"),
    "empty": (with_values(lambda values: values * 0), "outlines '.*' otherwise than its predictions say"),
    "a voxel": (with_values(one_voxel), "outlines '.*' otherwise than its predictions say"),
    "turned": (with_values(lambda values: values[::-1]), "outlines '.*' otherwise than its predictions say"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_outline_that_predict_did_not_write_is_named(study, tmp_path, fault):
    change, said = FAULTS[fault]
    data = prepared.read(study["cases"], images=study["images"], seen=SEEN, patch=PATCH)
    # those of the first seed are drawn
    tables = [table for table in study["predictions"] if "seed0" in str(table)]
    files = [
        outlines_of(table, target="", case=data.cases["case"][row]) for table in tables for row in data.rows("test")
    ]
    kept = {file: file.read_bytes() for file in files}
    try:
        for file in files:
            nibabel.save(change(nibabel.Nifti1Image.from_bytes(gzip.decompress(kept[file]))), file)
        with pytest.raises(UserError, match=rf"outlines/.*\.nii\.gz: ({said}).*; delete .*predictions.parquet, and"):
            overlay(**study, page=tmp_path / "page.html")
        assert not (tmp_path / "page.html").exists()
    finally:
        for file, content in kept.items():
            file.write_bytes(content)


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ([], []),
        ([np.nan], []),
        ([0.1], ["Most against"]),
        ([0.1, np.nan, 0.2], ["Most in favour", "Most against"]),
        ([0.0] * 5, ["Most in favour", "In the middle", "Most against"]),
    ],
)
def test_of_few_cases_none_is_shown_twice(differences: list[float], words: list[str]):
    names = [f"case{number}" for number in range(len(differences))]
    chosen = overlays.chosen(names, np.array(differences))
    assert [each.words for each in chosen] == words and len({each.case for each in chosen}) == len(words)


def test_a_plane_is_cut_where_the_sources_disagree():
    empty = np.zeros((6, 7, 8), np.uint8)
    first = empty.copy()
    first[2, 3:5, 4] = 1
    overlay = overlays.Overlay(empty.astype(float), empty, first, empty, np.ones(3))
    assert [overlays.level(overlay, axis=axis) for axis in range(3)] == [2, 3, 4]
    same = overlay._replace(second=first)
    assert overlays.level(same, axis=0) == 2
    assert overlays.level(overlay._replace(first=empty), axis=2) == 4


def test_a_structure_at_the_edge_has_a_closed_border():
    mask = np.zeros((8, 8, 8), np.uint8)
    mask[:, :, :3] = 1
    shown = overlays.Overlay(np.arange(512.0).reshape(8, 8, 8), mask, mask, 0 * mask, np.array([0.4, 0.4, 3.0]))
    assert "data:image/png" in overlays.picture(shown, names=("a $1$", "b_{x}"))
