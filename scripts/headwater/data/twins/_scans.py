"""Made-up CT examinations: who was scanned how often, what each scan shows, and in which of its slices."""

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
"""Of so many scans one is the second of a patient, where there are that many."""


GOLDEN = (5**0.5 - 1) / 2
"""Steps of it fall evenly between 0 and 1, however many there are."""

APART = 0.12
"""How far from each other the shares of findings begin; what overlaps is found in one patient."""


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
    """Where its own chance comes from: noise, names, header."""

    def slices(self, size: int) -> np.ndarray:
        """Its slices int16 (slices, size, size), from the feet to the head, in Hounsfield units."""
        drawn = {self.looks[finding]: lesion for finding, lesion in self.lesions.items()}
        how = {"part": self.part, "who": self.who, "lesions": drawn, "size": size, "rng": self.rng}
        return np.stack([_scan.draw(height, **how) for height in self.heights])

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
    """Scans of patients `first`, `first + 1`, ... that have `cases` slices in all; with `twice` some have two.

    With `one_each` a scan shows one finding at most.
    """
    many = max(FEWEST, round(cases / SLICES))
    ends = np.linspace(0, cases, many + 1).astype(int)
    patient, number = first - 1, 0
    for place, slices in enumerate(np.diff(ends)):
        again = twice and (place + 1) % TWICE_EVERY == 0
        patient, number = (patient, 1) if again else (patient + 1, 0)
        yield _of(archive, signs, (seed, patient, number), slices=int(slices), part=part, one_each=one_each)


def _of(
    archive: str, signs: Mapping[str, Sign], key: tuple[int, int, int], *, slices: int, part: str, one_each: bool
) -> Scan:
    """One scan: the patient follows from seed and number, and so do what ails it and how it looks."""
    seed, patient, number = key
    person = np.random.default_rng([zlib.crc32(archive.encode()), seed, patient])
    female, age, who = bool(person.random() < 0.45), int(person.integers(20, 88)), _scan.body(person)
    found = _one(signs, patient=patient) if one_each else _several(signs, patient=patient)
    return Scan(
        patient=patient,
        number=number,
        female=female,
        age=age + number,
        part=part,
        heights=tuple(((np.arange(slices) + 0.5) / slices).tolist()),
        lesions={name: _lesion(person) for name in found},
        looks={name: sign.looks for name, sign in signs.items()},
        who=who,
        rng=np.random.default_rng([zlib.crc32(archive.encode()), seed, patient, number + 1]),
    )


def _one(signs: Mapping[str, Sign], *, patient: int) -> list[str]:
    """One finding, or none: by steps of the golden ratio, so that few patients show all kinds."""
    ends = np.cumsum([sign.share for sign in signs.values()])
    drawn = int(np.searchsorted(ends, patient * GOLDEN % 1, side="right"))
    return list(signs)[drawn : drawn + 1]


def _several(signs: Mapping[str, Sign], *, patient: int) -> list[str]:
    """Findings beside each other, by the same steps, so that each is in about its share of few patients, too."""
    turns = ((patient * GOLDEN - APART * place) % 1 for place in range(len(signs)))
    return [name for (name, sign), turn in zip(signs.items(), turns, strict=True) if turn < sign.share]


def _lesion(rng: np.random.Generator) -> _scan.Lesion:
    """Where a finding is, and how large."""
    return _scan.Lesion(
        centre=rng.uniform(0.4, 0.7), reach=rng.uniform(0.15, 0.3), side=int(rng.choice([-1, 1])), size=rng.random()
    )
