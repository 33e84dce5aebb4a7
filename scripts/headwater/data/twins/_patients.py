"""Synthetic patients: sex, age, chest, and findings that persist, appear and disappear from visit to visit."""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headwater.data.twins import _anatomy, _radiograph

SICK = 0.6
"""Share of patients who can have findings at all, so that about four in ten images show none."""
KEPT = 0.8
"""Probability that a finding is still there at the next visit."""
VISITS = (0.42, 0.16, 0.12, 0.09, 0.07, 0.06, 0.04, 0.04)
"""Shares of patients with 1, 2, ... 8 images."""


@dataclass(frozen=True, kw_only=True)
class Sign:
    """The appearance of a finding, and its share of the images."""

    looks: str
    """A name in `_signs`."""
    share: float


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One image of a patient."""

    number: int
    age: int
    lying: bool
    """Whether it is an AP image, taken in bed."""
    findings: dict[str, float]
    """Strength (0 to 1) of each finding that is present."""
    rng: np.random.Generator
    """Random numbers of this image alone: exposure, labels, header."""


@dataclass(frozen=True, kw_only=True)
class Patient:
    """A synthetic patient."""

    number: int
    female: bool
    chest: _anatomy.Anatomy
    places: int
    visits: tuple[Visit, ...]

    def picture(self, visit: Visit, signs: Mapping[str, Sign], *, size: int, lateral: bool = False) -> np.ndarray:
        """The radiograph of one visit, float32 (size, size) in 0 to 1."""
        if lateral:
            return _radiograph.draw_from_side(patient=self.chest, rng=visit.rng, size=size)
        return _radiograph.draw(
            {signs[finding].looks: strength for finding, strength in visit.findings.items()},
            patient=self.chest,
            places=self.places,
            rng=visit.rng,
            size=size,
            lying=visit.lying,
        )


def patients(
    archive: str, signs: Mapping[str, Sign], *, cases: int, seed: int, first: int, most: int = len(VISITS)
) -> Iterator[Patient]:
    """Patients `first`, `first + 1`, ... until they have `cases` images in total, at most `most` each."""
    number = first
    while cases > 0:
        patient = _patient(archive, signs, seed=seed, number=number, most=min(most, cases))
        yield patient
        cases -= len(patient.visits)
        number += 1


def examinations(
    people: Iterable[Patient], *, cases: int, laterals: float
) -> Iterator[tuple[Patient, Visit, tuple[bool, ...]]]:
    """(patient, visit, whether each of its images is lateral), until there are `cases` images.

    The share `laterals` of the visits has a lateral image besides the frontal one.
    """
    for patient in people:
        for visit in patient.visits:
            pictures = (False, True)[: min(1 + int(visit.rng.random() < laterals), cases)]
            if pictures:
                yield patient, visit, pictures
            cases -= len(pictures)


def set_apart(numbers: Sequence[int], *, share: float, seed: int) -> set[int]:
    """Patients with about that share of the images, at least one; `numbers` has the patient of each image."""
    people = sorted(set(numbers))
    chosen: set[int] = set()
    count = 0
    # all but the last, so that a patient remains
    for number in np.random.default_rng([seed, people[0]]).permutation(people)[:-1].tolist():
        if count >= share * len(numbers):
            break
        chosen.add(number)
        count += numbers.count(number)
    return chosen


def reported(visit: Visit, signs: Mapping[str, Sign], *, surest: float, missed: float, made_up: float) -> Iterator[str]:
    """The findings reported for an image, with false negatives and false positives.

    `surest`: probability that the strongest sign is reported. `missed`: by how much it is smaller for the faintest.
    `made_up`: false positives, as a share of the finding's true positives.
    """
    draws = visit.rng.random(len(signs))
    for (name, sign), draw in zip(signs.items(), draws, strict=True):
        present = name in visit.findings
        probability = surest - missed * (1 - visit.findings[name]) if present else made_up * sign.share
        if draw < probability:
            yield name


def _patient(archive: str, signs: Mapping[str, Sign], *, seed: int, number: int, most: int) -> Patient:
    """One patient, the same for the same archive, seed and number."""
    # crc32, because Python's own hash of text differs from process to process
    rng = np.random.default_rng([zlib.crc32(archive.encode()), seed, number])
    female = bool(rng.random() < 0.45)
    chest = _anatomy.anatomy(rng, female=female)
    places = int(rng.integers(2**31))
    visits = min(1 + int(rng.choice(len(VISITS), p=VISITS)), most)
    return Patient(
        number=number,
        female=female,
        chest=chest,
        places=places,
        visits=tuple(_course(signs, rng, visits=visits)),
    )


def _course(signs: Mapping[str, Sign], rng: np.random.Generator, *, visits: int) -> Iterator[Visit]:
    """A patient's visits in chronological order."""
    # findings are more frequent in the patients who can have any, so that their share over all images is right
    shares = np.array([sign.share for sign in signs.values()]) / SICK * (rng.random() < SICK)
    strength = rng.uniform(0.10, 1.0, len(signs))
    present = rng.random(len(signs)) < shares
    age = int(np.clip(rng.normal(48, 17), 18, 90))
    for number in range(visits):
        if number:
            # the rate of new findings that keeps their share constant while some disappear (a stationary Markov chain)
            gained = np.minimum((1 - KEPT) * shares / (1 - np.minimum(shares, 0.9)), 1)
            present = rng.random(len(signs)) < np.where(present, KEPT, gained)
            age = min(age + int(rng.choice([0, 0, 1, 2])), 95)
        visible = np.clip(strength + rng.normal(0, 0.12, len(signs)), 0.02, 1.0)
        yield Visit(
            number=number,
            age=age,
            lying=bool(rng.random() < (0.45 if present.any() else 0.25)),
            findings={name: float(visible[place]) for place, name in enumerate(signs) if present[place]},
            rng=rng.spawn(1)[0],
        )
