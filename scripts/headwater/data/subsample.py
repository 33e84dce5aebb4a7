"""Subsamples: a share of the training patients that keeps every label for as long as it can.

For one seed, smaller shares are nested in larger ones.
"""

from collections.abc import Callable

import numpy as np


def share(patients: np.ndarray, targets: np.ndarray, *, fraction: float, rank: Callable[[str], int]) -> np.ndarray:
    """Whether each case, bool (cases,), belongs to that share of the patients, which has at least one.

    For each label, the rarest first, one patient with it and one without come first, so that a share of that many
    patients has every class that the whole has. All others follow in the order of `rank`. `targets` is (cases, labels),
    NaN for unknown.
    """
    ranked = sorted(set(patients), key=rank)
    if fraction == 1:
        return np.ones(len(patients), bool)
    positions = {patient: position for position, patient in enumerate(ranked)}
    classes = _classes(np.array([positions[patient] for patient in patients], np.int64), targets, patients=len(ranked))
    first = _first(classes)
    # one order for all fractions, of which a share is a prefix: this makes shares nested
    order = [*first, *sorted(set(range(len(ranked))) - set(first))]
    kept = {ranked[position] for position in order[: size(len(ranked), fraction=fraction)]}
    return np.array([patient in kept for patient in patients], bool)


def size(patients: int, *, fraction: float) -> int:
    """How many of so many patients a share has: at least one."""
    return max(1, round(fraction * patients))


def lost(whole: np.ndarray, part: np.ndarray, *, labels: list[str]) -> dict[str, str]:
    """For each label of which a part of the targets lacks a class that the whole has: what it lacks."""
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


def _classes(patient_of: np.ndarray, targets: np.ndarray, *, patients: int) -> np.ndarray:
    """Whether each patient has a case with, and a case without, each label: bool (patients, 2 x labels)."""
    both = np.concatenate([targets == 1, targets == 0], axis=1)
    classes = np.zeros((patients, both.shape[1]), bool)
    np.logical_or.at(classes, patient_of, both)
    return classes


def _first(classes: np.ndarray) -> list[int]:
    """Patients who together cover all classes, chosen greedily: for the rarest class first, its first patient."""
    chosen: list[int] = []
    # a stable sort breaks ties by the order of the labels
    for position in np.argsort(classes.sum(axis=0), kind="stable"):
        if classes[:, position].any() and not classes[chosen, position].any():
            chosen.append(int(classes[:, position].argmax()))
    return chosen
