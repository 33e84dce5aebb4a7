import random

import fuzz
import fuzzing
import pytest


def test_spoilt_files_are_read_or_refused_and_cost_nothing():
    found = fuzzing.run(300, seed=7)
    assert found["faults"] == []
    assert found["slowest_seconds"] < fuzz.SECONDS
    assert found["held_late_mb"] - found["held_early_mb"] < 200
    # spoilt enough that the refusals are asked for, and little enough that the readers get far
    assert min(found["read"], found["refused"]) > 100


def test_every_seed_is_read_before_it_is_spoilt(tmp_path):
    pytest.importorskip("gdcm", reason="the decoders of the extra `dicom` are not installed")
    beside = fuzzing.make_neighbours(tmp_path)
    refused = {path.name: fuzzing.read_all(path, beside=beside)[0]["refused"] for path in fuzzing.make_seeds(tmp_path)}
    # several frames are no radiograph; and there is no free encoder of JPEG-LS, so its stream is a JPEG
    assert {name: many for name, many in refused.items() if many} == {"enhanced.dcm": 1, "jls.dcm": 3}


def test_a_reader_that_breaks_is_told(monkeypatch):
    def broken(path, **options):
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(fuzzing, "read_tags", broken)
    monkeypatch.setattr(fuzzing, "read_nifti", broken)
    faults = fuzzing.run(5, seed=1)["faults"]
    assert len(faults) == 5
    assert "ZeroDivisionError: by nothing" in faults[0]


def test_the_same_seed_spoils_the_same_bytes():
    content = bytes(range(256)) * 8
    assert fuzzing.spoiled(content, random.Random("1/1")) == fuzzing.spoiled(content, random.Random("1/1"))
    assert fuzzing.spoiled(content, random.Random("1/1")) != fuzzing.spoiled(content, random.Random("1/2"))


@pytest.mark.soak
@pytest.mark.slow
def test_ten_thousand_spoilt_files():
    found = fuzz.watched(10_000, seed=1)
    assert found["faults"] == []
    assert found["slowest_seconds"] < fuzz.SECONDS
    assert found["held_late_mb"] - found["held_early_mb"] < 200
