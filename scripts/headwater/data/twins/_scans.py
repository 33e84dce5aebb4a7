"""Synthetic CT examinations: the scans of each patient, their findings, and the slices that show them."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from headwater.data.twins import _scan
from headwater.data.twins._patients import Sign

SLICES = 12
"""Slices of a scan, unless the twin is small."""

FEWEST = 4
"""Scans of the smallest twin, so that each split has a patient."""

TWICE_EVERY = 5
"""One scan in so many is the second of its patient."""


GOLDEN = (5**0.5 - 1) / 2
"""The golden ratio: multiples of it modulo 1 are evenly distributed for any number of patients (low discrepancy)."""

APART = 0.12
"""Offset between the intervals of findings; where intervals overlap, a patient has both findings."""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One examination."""

    patient: int
    number: int
    """of the patient's examinations, from 0"""
    female: bool
    age: int
    part: str
    heights: tuple[float, ...]
    """of its slices, from 0 (feet) to 1 (head)"""
    lesions: dict[str, _scan.Lesion]
    """by the name of the finding"""
    looks: Mapping[str, str]
    who: _scan.Body
    rng: np.random.Generator
    """Random numbers of this scan alone: noise, names, header."""

    def slices(self, size: int) -> np.ndarray:
        """Its slices int16 (slices, size, size), from the feet to the head, in Hounsfield units."""
        lesions = {self.looks[finding]: lesion for finding, lesion in self.lesions.items()}
        parameters = {"part": self.part, "who": self.who, "lesions": lesions, "size": size, "rng": self.rng}
        return np.stack([_scan.draw(height, **parameters) for height in self.heights])

    def seen(self, number: int) -> set[str]:
        """The findings that a slice shows."""
        return {name for name, lesion in self.lesions.items() if lesion.share(self.heights[number]) > 0}


def scans(
    archive: str,
    signs: Mapping[str, Sign],
    *,
    cases: int,
    seed: int,
    first: int,
    part: str,
    one_each: bool = False,
    twice: bool = True,
) -> Iterator[Scan]:
    """Scans of patients `first`, `first + 1`, ... with `cases` slices in total; with `twice` some have two scans.

    With `one_each` a patient has at most one finding.
    """
    count = max(FEWEST, round(cases / SLICES))
    ends = np.linspace(0, cases, count + 1).astype(int)
    patient, number = first - 1, 0
    for place, slices in enumerate(np.diff(ends)):
        again = twice and (place + 1) % TWICE_EVERY == 0
        patient, number = (patient, 1) if again else (patient + 1, 0)
        yield _of(archive, signs, (seed, patient, number), slices=int(slices), part=part, one_each=one_each)


def _of(
    archive: str, signs: Mapping[str, Sign], key: tuple[int, int, int], *, slices: int, part: str, one_each: bool
) -> Scan:
    """One scan; the patient, its findings and their appearance depend on the seed and the patient's number only."""
    seed, patient, number = key
    person = np.random.default_rng([zlib.crc32(archive.encode()), seed, patient])
    female, age, who = bool(person.random() < 0.45), int(person.integers(20, 88)), _scan.body(person)
    findings = _one(signs, patient=patient) if one_each else _several(signs, patient=patient)
    return Scan(
        patient=patient,
        number=number,
        female=female,
        age=age + number,
        part=part,
        heights=tuple(((np.arange(slices) + 0.5) / slices).tolist()),
        lesions={name: _lesion(person) for name in findings},
        looks={name: sign.looks for name, sign in signs.items()},
        who=who,
        rng=np.random.default_rng([zlib.crc32(archive.encode()), seed, patient, number + 1]),
    )


def _one(signs: Mapping[str, Sign], *, patient: int) -> list[str]:
    """One finding, or none: by steps of the golden ratio, so that even a few patients include all findings."""
    ends = np.cumsum([sign.share for sign in signs.values()])
    drawn = int(np.searchsorted(ends, patient * GOLDEN % 1, side="right"))
    return list(signs)[drawn : drawn + 1]


def _several(signs: Mapping[str, Sign], *, patient: int) -> list[str]:
    """Any number of findings, by the same steps, so that each has about its share even of a few patients."""
    turns = ((patient * GOLDEN - APART * place) % 1 for place in range(len(signs)))
    return [name for (name, sign), turn in zip(signs.items(), turns, strict=True) if turn < sign.share]


def _lesion(rng: np.random.Generator) -> _scan.Lesion:
    """The location and size of a finding."""
    return _scan.Lesion(
        centre=rng.uniform(0.4, 0.7), reach=rng.uniform(0.15, 0.3), side=int(rng.choice([-1, 1])), size=rng.random()
    )
