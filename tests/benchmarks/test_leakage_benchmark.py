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
