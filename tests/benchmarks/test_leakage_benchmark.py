"""The benchmark of the ledger: its edits are what their names say, and its counts are those of the search."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "leakage.py"


@pytest.fixture(scope="module")
def leakage():
    specification = importlib.util.spec_from_file_location("leakage_benchmark", BENCHMARK)
    module = importlib.util.module_from_spec(specification)
    sys.modules["leakage_benchmark"] = module
    first = sys.path[0]
    specification.loader.exec_module(module)
    sys.path[0] = first
    yield module
    del sys.modules["leakage_benchmark"]


@pytest.mark.soak
def test_of_synthetic_pictures_the_usual_edits_are_found_and_no_two_are_confused(leakage):
    table = leakage.detection({"synthetic": leakage.made(6)}, images=6)["synthetic"]
    missed = {"cropped by 20 %", "rotated by 5 degrees"}
    assert {edit: count for edit, count in table.items() if edit not in missed and count != "6 of 6"} == {}
    assert leakage.false_alarms(leakage.made(12)) == (0, 12 * 11 // 2)


def test_an_image_and_its_copy_under_another_patient_are_an_alarm(leakage):
    pictures = leakage.made(3)
    copy = ("someone else", 255 - pictures[0][1][:, ::-1])
    assert leakage.false_alarms([*pictures, copy]) == (1, 6)


def test_a_limit_is_chosen_on_half_of_the_patients_and_held_against_the_others(leakage, monkeypatch):
    monkeypatch.setattr(leakage, "EDITS", {edit: leakage.EDITS[edit] for edit in ("mirrored", "gamma 1.6")})
    monkeypatch.setattr(leakage, "ASKED", ("mirrored", "gamma 1.6"))
    monkeypatch.setattr(leakage, "LIMITS", (0.7, 0.8, 0.9))
    said = leakage.held_out({"synthetic": leakage.made(8)}, images=2)
    assert said.count("half of the patients allow 0.7") == 2
    # two edits of two of four images, eight pictures of which two patients have three each
    assert said.count("synthetic, 0.8: 4 of 4 found, 0 false alarms in 22 pairs") == 2


def test_where_a_patient_has_two_numbers_no_limit_is_without_a_false_alarm(leakage, monkeypatch):
    monkeypatch.setattr(leakage, "ASKED", ("mirrored",))
    pictures = leakage.made(3)
    doubled = [*pictures, ("another number", pictures[0][1][::-1])]
    judged = leakage.judged(doubled, edited=1)
    assert (judged["found"] == 1).all() and (judged["alarms"] == 2).all()
    assert leakage._on_others({}, {}, chosen_on=judged, images=1).startswith("no limit finds enough copies")


def test_halves_share_no_patient(leakage):
    images = [(patient, np.full((2, 2), shade, np.uint8)) for shade, patient in enumerate("cabbacd")]
    first, second = leakage.halves(images)
    assert "".join(name for name, _ in first) == "caac" and "".join(name for name, _ in second) == "bbd"


def test_crops_and_clahe_do_what_they_say(leakage):
    image = leakage.made(1)[0][1]
    assert leakage.cropped(image, 0.1).shape == (144, 144)
    assert np.array_equal(leakage.cropped(image, 0.1, above=0, left=1), image[:144, 16:])
    # a dim, flat gradient is spread over the shades; a limit of 1 allows no slope above that of a straight line
    dim = np.tile(np.linspace(100, 120, 160).astype(np.uint8), (160, 1))
    assert np.ptp(leakage.clahe(dim, 40.0).astype(int)) > 3 * np.ptp(dim)
    assert np.ptp(leakage.clahe(dim, 1.0).astype(int)) < np.ptp(leakage.clahe(dim, 40.0).astype(int)) / 2


def test_drawn_words_resemble_the_sample_and_are_timed(leakage):
    sample = leakage.words_of([image for _, image in leakage.made(30)])
    words = leakage.drawn(sample, 500)
    assert words.shape == (500, sample.shape[1])
    sketches = leakage.sketches.unpacked(words[:, leakage.LEDGER :].reshape(-1, 64))
    theirs = leakage.sketches.unpacked(sample[:, leakage.LEDGER :].reshape(-1, 64))
    # the anatomy that all share
    assert np.corrcoef(sketches.mean(axis=0), theirs.mean(axis=0))[0, 1] > 0.9
    assert leakage.timed(sample, 300).startswith("300 images: ")
