"""A campaign finds what must not happen, and a short one on a real SLURM finds nothing."""

from pathlib import Path

import campaign
import pytest
from campaign import Injection
from grids import TABLE, Attempt, Stretch

SHORT = ["scancel", "TIMEOUT", "preemption", "rank killed", "controller killed"]


def stretch(job: str, began: float, ended: float, first: int, last: int) -> Stretch:
    return Stretch("run", job, int(job), began, ended, first, last)


def attempt(job: str, started: float, ended: float, state: str = "COMPLETED") -> Attempt:
    return Attempt(job, state, started, ended, "root", "rule_finetune_wildcards_chestxray14_random_finetune_0", {})


def event(what: str, job: str, when: float) -> dict:
    return {"time": when, "run": "run", "job": job, "event": what}


@pytest.mark.parametrize(
    ("after", "found"),
    [
        (stretch("2", 30, 40, 41, 80), []),
        (stretch("2", 30, 40, 31, 80), []),
        (stretch("2", 30, 40, 30, 80), ["11 steps again"]),
        (stretch("2", 30, 40, 1, 80), ["40 steps again"]),
        (stretch("2", 30, 40, 42, 80), ["1 steps left out"]),
        (stretch("2", 19, 40, 41, 80), ["twice at once"]),
    ],
)
def test_what_is_wrong_with_two_trainings_of_a_run_is_found(after: Stretch, found: list[str]):
    told = list(campaign._of_run("run", [stretch("1", 10, 20, 1, 40), after], []))
    assert [words for words, line in zip(found, told, strict=True) if words not in line] == []


def test_steps_again_are_noted_at_the_last_fault_before_them():
    faults = [Injection(when=when, kind="scancel", met=["1"]) for when in (12, 19, 35)]
    assert not list(campaign._of_run("run", [stretch("1", 10, 20, 1, 40), stretch("2", 30, 40, 38, 80)], faults))
    assert [fault.redone for fault in faults] == [[], [3], []]


@pytest.mark.parametrize(
    ("events", "attempts", "found"),
    [
        ([("began", "1", 10), ("ended", "1", 20), ("began", "2", 21)], [("1", 5, 60), ("2", 18, 60)], []),
        ([("began", "1", 10), ("began", "2", 21)], [("1", 5, 20), ("2", 18, 60)], []),
        ([("began", "1", 10), ("began", "2", 21)], [("1", 5, 30), ("2", 18, 60)], ["at once for 9.0 s"]),
        ([("began", "1", 10), ("began", "1", 40)], [("1", 5, 30), ("1", 35, 60)], []),
        ([("began", "1", 19.5), ("ended", "1", 19.9)], [("1", 5, 19)], []),
        ([("began", "1", 10), ("ended", "1", 20), ("began", "1", 21)], [("2", 5, 60)], ["not know it"] * 2),
    ],
)
def test_a_lease_in_two_hands_is_found(events: list[tuple], attempts: list[tuple], found: list[str]):
    told = list(campaign._of_leases([event(*one) for one in events], [attempt(*one) for one in attempts]))
    assert [words for words, line in zip(found, told, strict=True) if words not in line] == []


@pytest.mark.parametrize(
    ("kind", "state", "when", "counts"),
    [
        ("scancel", "CANCELLED by 0", 12, True),
        ("scancel", "COMPLETED", 12, False),
        ("scancel", "CANCELLED by 0", 40, False),
        ("controller killed", "COMPLETED", 12, True),
        ("controller killed", "COMPLETED", 40, False),
    ],
)
def test_a_fault_counts_that_met_a_job(kind: str, state: str, when: float, counts: bool):
    injection = Injection(when=when, kind=kind, met=["1"])
    campaign._say(injection, [attempt("1", 10, 20, state), attempt("2", 10, 20, "FAILED")])
    assert injection.counts == counts


@pytest.mark.parametrize(
    ("theirs", "found"), [("a", []), ("b", ["is not that of the undisturbed grid"]), (None, ["missing"])]
)
def test_other_bytes_are_found(tmp_path: Path, theirs: str | None, found: list[str]):
    for folder, text in {"grid0-preempt-2x1": theirs, "undisturbed": "a"}.items():
        (tmp_path / folder / TABLE).parent.mkdir(parents=True)
        if text:
            (tmp_path / folder / TABLE).write_text(text)
    references = {1: tmp_path / "none", 2: tmp_path / "undisturbed"}
    told = list(campaign._differences(tmp_path / "grid0-preempt-2x1", references))
    assert [words for words, line in zip(found, told, strict=True) if words not in line] == []


@pytest.mark.soak
@pytest.mark.cluster
@pytest.mark.usefixtures("cluster")
def test_grids_survive_what_clusters_do(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch):
    for name, value in {"STEPS": 300, "PRETRAINING": 200, "MOST": 6}.items():
        monkeypatch.setattr(campaign, name, value)
    options = ["--seed", "0", "--injections", "5", "--at-once", "1", "--folder", str(tmp_path), "--kinds", *SHORT]
    code = campaign.main(options)
    told = capsys.readouterr().out
    print(told)
    assert code == 0
    injected = [line for line in told.splitlines() if "  grid" in line and "no effect" not in line]
    assert len({kind for kind in SHORT if any(f"  {kind}" in line for line in injected)}) >= 4
