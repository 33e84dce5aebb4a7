"""Hounsfield units from the config to the network: stored by prepare, and shown in a window to every network."""

import hashlib
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import prepared_made
from headwater.core.errors import UserError
from headwater.data import store
from headwater.data.io.windows import windowed
from headwater.data.preparation import prepared_case
from headwater.data.reductions import _images
from headwater.data.resizing import fitted
from headwater.data.shelf import Shelf
from headwater.study import config
from headwater.study.archive import Archive, Dataset
from headwater.study.ct_windows import AIR, WINDOWS, Window
from headwater.study.shared_labels import abroad
from headwater.training import batches
from headwater.training.ddp import World
from headwater.training.scoring import score
from headwater.training.views import pictures
from test_training_verbs import a_run, encoder_of, predicted, pretrained_source
from test_training_verbs import fitted as fit

CPU = torch.device("cpu")
ONE = World(rank=0, size=1, device=CPU)
SLICES = arrays(np.int16, (2, 1, 4, 5), elements=st.integers(-3024, 3000))
SHADES = Window(centre=127.5, width=255)
"""Through this window 0 to 255 are the shades of eight bits."""


@given(SLICES, st.sampled_from([*WINDOWS.values(), Window(slice=True), Window(centre=7, width=0.5)]))
def test_what_networks_see_is_what_the_window_shows(values, window):
    seen = pictures.shown(torch.from_numpy(values), window=window)
    assert seen.dtype == torch.float32
    assert 0 <= seen.min() <= seen.max() <= 1
    np.testing.assert_allclose(seen.numpy() * 255, windowed(values, window), atol=0.501)


def test_hounsfield_units_without_a_window_are_no_picture():
    with pytest.raises(TypeError, match="apply a CT window first"):
        pictures.as_float(torch.zeros(1, 1, 2, 2, dtype=torch.int16))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The same prepared archive in shades and, of the same numbers, in Hounsfield units."""
    home = tmp_path_factory.mktemp("made")
    both = {kind: prepared_made.archive(home / kind, cases=80) for kind in ("uint8", "int16")}
    prepared_made.replace_images(both["int16"], np.load(both["uint8"].images).astype(np.int16))
    return both


def windowed_run(source):
    run = a_run(source)
    return run.model_copy(update={"dataset": run.dataset.model_copy(update={"seen": SHADES})})


def test_batches_and_scores_are_those_of_the_shades(made):
    shades = store.read(made["uint8"].cases, images=made["uint8"].images)
    scans = store.read(made["int16"].cases, images=made["int16"].images, seen=SHADES)
    assert scans.images[:1].dtype == np.int16
    rows = shades.rows("train")
    asked = {"rows": rows, "targets": shades.targets(rows, shades.labels), "batch": 8, "seed": 0, "world": ONE}
    (one,) = batches.training_batches([3], images=shades.images, **asked)
    (other,) = batches.training_batches([3], images=scans.images, **asked)
    assert torch.equal(pictures.as_float(one.to(CPU).images), pictures.as_float(other.to(CPU).images))
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2))
    scored = [score(network, images=data.images, rows=rows, batch=16, world=ONE) for data in (shades, scans)]
    assert torch.equal(*scored)


def test_a_whole_training_on_scans_is_that_on_their_shades(made, tmp_path):
    source = pretrained_source()
    seeing = source.model_copy(update={"seen": SHADES})
    first = encoder_of(tmp_path / "one", source, made["uint8"])
    second = encoder_of(tmp_path / "two", seeing, made["int16"])
    one, _ = fit(tmp_path / "one", a_run(source), made["uint8"], encoder=first)
    two, _ = fit(tmp_path / "two", windowed_run(seeing), made["int16"], encoder=second)
    assert all(torch.equal(one[key], two[key]) for key in one.keys() | two.keys())
    scores = [
        predicted(tmp_path / place, run, made[kind])["score"]
        for place, run, kind in (("one", a_run(source), "uint8"), ("two", windowed_run(seeing), "int16"))
    ]
    assert scores[0].equals(scores[1])


def test_images_and_windows_that_do_not_fit_are_refused(made):
    with pytest.raises(UserError, match="Hounsfield units, but no window is given"):
        store.read(made["int16"].cases, images=made["int16"].images)
    with pytest.raises(UserError, match="grey values, not Hounsfield units"):
        store.read(made["uint8"].cases, images=made["uint8"].images, seen=SHADES)


# what the config says


def content(**archive):
    return {
        "seeds": [0],
        "archives": {"ct": {"kind": "fdg_petct", "folder": "x", **archive}, "chestxray14": {"folder": "y"}},
        "sources": {
            "random": {},
            "ssl": {"method": "dino", "corpus": "ct", "training": {"steps": 5}},
            "plain": {"method": "dino", "corpus": "chestxray14", "training": {"steps": 5}},
        },
        "datasets": {"ct": {}, "chestxray14": {}},
        "recipes": {"finetune": {"training": {"steps": 5}}},
        "comparison": {"external": True},
        "controls": {"again": ["ssl"]},
    }


def test_a_window_reaches_whoever_sees_the_archive_and_nobody_else():
    usual, lung = (config.load(content(**said)).grid() for said in ({}, {"window": "lung"}))
    assert usual.source("ssl").seen == usual.dataset("ct").seen == WINDOWS["chest"]
    assert lung.source("ssl").seen == lung.source("ssl_again").seen == lung.dataset("ct").seen == WINDOWS["lung"]
    # prepare reads the same archive
    assert lung.archive("ct").as_json() == usual.archive("ct").as_json()
    cells = list(product(("ct", "chestxray14"), ("random", "ssl", "plain", "ssl_again")))
    digests = [[plan.run(*cell, "finetune", 0).digest for cell in cells] for plan in (usual, lung)]
    same = {cell for cell, one, other in zip(cells, *digests, strict=True) if one == other}
    assert same == {("chestxray14", "random"), ("chestxray14", "plain")}
    assert lung.source("ssl_again").original == lung.source("ssl")


def test_a_window_may_be_a_name_numbers_or_slice():
    for said, window in (
        ({"centre": 40, "width": 80}, WINDOWS["brain"]),
        ("brain", WINDOWS["brain"]),
        ("slice", Window(slice=True)),
    ):
        assert config.load(content(window=said)).grid().dataset("ct").seen == window


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("lunge", "archives.ct.window: there is no window 'lunge'; did you mean 'lung'?"),
        ({"center": 40, "width": 80}, "archives.ct.window.center: unknown key; did you mean 'centre'?"),
        ({"centre": 40, "width": 0}, "archives.ct.window: width must be > 0 (got 0)"),
        ({"centre": 40}, "archives.ct.window: set centre and width"),
    ],
)
def test_a_window_that_is_none_is_refused_in_one_line(said, complaint):
    with pytest.raises(UserError) as refused:
        config.load(content(window=said))
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_window_on_shades_is_refused():
    wrong = content()
    wrong["archives"]["chestxray14"]["window"] = "lung"
    with pytest.raises(UserError, match=r"chestxray14.window: chestxray14 holds grey values, not Hounsfield units"):
        config.load(wrong)


@pytest.mark.parametrize("section", ["sources", "datasets"])
def test_a_window_is_said_of_the_archive_only(section):
    wrong = content()
    wrong[section]["ssl" if section == "sources" else "ct"]["seen"] = "lung"
    with pytest.raises(UserError, match="cannot be set here; set `window` or `intensity` of the archive"):
        config.load(wrong)


def test_a_second_reading_may_have_a_window_of_its_own():
    both = content()
    both["archives"]["ct_lung"] = {"images_of": "ct", "window": "lung"}
    both["datasets"]["ct_lung"] = {}
    plan = config.load(both).grid()
    assert (plan.dataset("ct").seen, plan.dataset("ct_lung").seen) == (WINDOWS["chest"], WINDOWS["lung"])
    assert plan.images_of("ct_lung") == "ct"
    # a guest is seen as its own archive is
    (asked,) = abroad(plan, "ct").others
    assert (asked.dataset, asked.seen) == ("ct_lung", WINDOWS["lung"])


# what prepare keeps


def test_hounsfield_units_are_resized_as_numbers_and_padded_with_air():
    ramp = np.tile(np.linspace(-1000, 3000, 40).astype(np.int16), (20, 1))
    small = fitted(ramp, size=20, resize="pad")
    assert (small.dtype, small.shape) == (np.int16, (1, 20, 20))
    assert (small[0, [0, -1]] == AIR).all()
    np.testing.assert_allclose(small[0, 10, 2:-2], ramp.reshape(20, 20, 2).mean(2)[0, 2:-2], atol=2)


def test_what_scanners_write_around_the_patient_is_air_and_does_not_ring():
    beside = np.full((16, 16), -3024, np.int16)
    beside[:, 8:] = AIR
    assert (fitted(beside, size=8, resize="squash") == AIR).all()


@pytest.mark.parametrize(("inside", "is_one"), [(-1100, False), (-1024, False), (-1023, True)])
def test_air_below_air_shows_nothing(inside, is_one):
    around = np.full((12, 12), -2000, np.int16)
    around[3:9, 3:9] = inside
    made = prepared_case(around, {}, case={"case": "1/0001"}, size=8, resize="pad")
    assert (made.pixels is not None) == is_one
    assert made.reason == ("" if is_one else "1/0001: shows nothing, one value throughout")


def test_the_shelf_keeps_sixteen_bits(tmp_path):
    images = np.random.default_rng(0).integers(-1024, 3000, (3, 1, 8, 8)).astype(np.int16)
    with Shelf(tmp_path / "images.npy", space=(8, 8), kind=np.int16) as shelf:
        for image in images:
            shelf.add(image)
        with pytest.raises(TypeError):
            shelf.add(images[0].astype(np.uint8))
    np.testing.assert_array_equal(np.load(tmp_path / "images.npy"), images)


def test_reductions_compare_slices_from_lowest_to_highest():
    values = np.random.default_rng(0).integers(-1024, 3000, (1, 8, 9)).astype(np.int16)
    exact = (values[0].astype(float) - values.min()) / np.ptp(values) * 255
    np.testing.assert_allclose(_images.grey(values), exact, atol=0.501)


def test_a_record_without_hounsfield_units_is_what_it_was():
    archive = Archive(name="a", kind="chestxray14", folder="x")
    assert "window" not in archive.as_json()
    dataset = Dataset(name="d", archive="a")
    assert hashlib.sha256(dataset.as_json().encode()).hexdigest()[:8] == dataset.digest
    assert dataset.as_json() == '{"archive":"a","name":"d"}'
