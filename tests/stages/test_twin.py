import json

import pytest

from headwater.core.errors import UserError
from headwater.stages.twin import twin


def test_the_stamp_says_what_the_twin_was_made_from(tmp_path, capsys):
    twin("chestxray14", tmp_path / "a", cases=8, seed=5, first_patient=7, size=32)
    stamp = json.loads((tmp_path / "a/twin.json").read_text())
    assert stamp == {"archive": "chestxray14", "cases": 8, "seed": 5, "first_patient": 7, "size": 32}
    assert "8 cases" in capsys.readouterr().out


def test_the_same_twin_is_made_once(tmp_path, capsys):
    twin("vindr", tmp_path / "a", cases=8, size=32)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "a").rglob("*")}
    capsys.readouterr()
    twin("vindr", tmp_path / "a", cases=8, size=32)
    assert "nothing to do" in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "a").rglob("*")} == before


@pytest.mark.parametrize("other", [{"cases": 9}, {"seed": 1}, {"first_patient": 2}, {"size": 48}])
def test_another_twin_is_left_alone(tmp_path, other):
    wanted = {"cases": 8, "seed": 0, "first_patient": 1, "size": 32}
    twin("chestxray14", tmp_path / "a", **wanted)
    (key,) = other
    with pytest.raises(UserError, match=f"{key} {wanted[key]}, not {other[key]}"):
        twin("chestxray14", tmp_path / "a", **wanted | other)


def test_a_twin_of_another_archive_is_left_alone(tmp_path):
    twin("chestxray14", tmp_path / "a", cases=8, size=32)
    with pytest.raises(UserError, match="archive chestxray14, not vindr"):
        twin("vindr", tmp_path / "a", cases=8, size=32)


def test_real_data_are_left_alone(tmp_path):
    (tmp_path / "Data_Entry_2017.csv").write_text("real")
    with pytest.raises(UserError, match="something that is not a twin"):
        twin("chestxray14", tmp_path, cases=8)
    assert [file.name for file in tmp_path.iterdir()] == ["Data_Entry_2017.csv"]


def test_an_empty_folder_is_used(tmp_path):
    twin("chestxray14", tmp_path, cases=8, size=32)
    assert (tmp_path / "test_list.txt").read_text()


@pytest.mark.parametrize("stamp", ["{", "[]", '{"archive": "chestxray14"}'])
def test_a_strange_stamp_is_refused(tmp_path, stamp):
    (tmp_path / "twin.json").write_text(stamp)
    with pytest.raises(UserError):
        twin("chestxray14", tmp_path, cases=8)


def test_an_unknown_archive_is_told_the_nearest(tmp_path):
    with pytest.raises(UserError, match="did you mean 'chestxray14'"):
        twin("chestxray", tmp_path / "a", cases=8)


def test_too_few_cases_are_refused_before_anything_is_made(tmp_path):
    with pytest.raises(UserError, match=r"cases: .*got 3"):
        twin("chestxray14", tmp_path / "a", cases=3)
    assert list(tmp_path.iterdir()) == []
