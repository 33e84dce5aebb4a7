"""Shares: which of the training patients teach where only some of them may, so that no finding is lost before it must.

Smaller shares lie within larger ones of the same seed.
"""

from collections.abc import Callable

import numpy as np


def share(patients: np.ndarray, targets: np.ndarray, *, fraction: float, rank: Callable[[str], int]) -> np.ndarray:
    """Which cases (cases,) belong to that share of the patients, one patient at least.

    Patients are taken in the order of `rank`, behind few who come first: for each label, the rarest first, one patient
    with it and one without, so that a share of that many patients teaches all that the whole does. `targets` (cases,
    labels), NaN unknown.
    """
    ranked = sorted(set(patients), key=rank)
    if fraction == 1:
        return np.ones(len(patients), bool)
    place = {patient: position for position, patient in enumerate(ranked)}
    bears = _bears(np.array([place[patient] for patient in patients], np.int64), targets, patients=len(ranked))
    first = _first(bears)
    order = [*first, *sorted(set(range(len(ranked))) - set(first))]
    kept = {ranked[position] for position in order[: max(1, round(fraction * len(ranked)))]}
    return np.array([patient in kept for patient in patients], bool)


def lost(whole: np.ndarray, part: np.ndarray, *, labels: list[str]) -> dict[str, str]:
    """For each label that a part of the targets can no longer teach what the whole could: what it lacks."""
    lacking = {}
    for position, label in enumerate(labels):
        words = {"positive": 1, "negative": 0}
        absent = [
            word
            for word, value in words.items()
            if (whole[:, position] == value).any() and not (part[:, position] == value).any()
        ]
        if absent:
            lacking[label] = f"no {' and no '.join(absent)} case"
    return lacking


def _bears(place: np.ndarray, targets: np.ndarray, *, patients: int) -> np.ndarray:
    """Whether each patient has a case with, and one without, each label: bool (patients, 2 x labels)."""
    both = np.concatenate([targets == 1, targets == 0], axis=1)
    bears = np.zeros((patients, both.shape[1]), bool)
    np.logical_or.at(bears, place, both)
    return bears


def _first(bears: np.ndarray) -> list[int]:
    """Patients who together bear whatever any does: for what the fewest bear first, the foremost of them."""
    chosen: list[int] = []
    for fact in np.argsort(bears.sum(axis=0), kind="stable"):
        if bears[:, fact].any() and not bears[chosen, fact].any():
            chosen.append(int(bears[:, fact].argmax()))
    return chosen
