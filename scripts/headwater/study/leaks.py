"""Overlaps between what is learned from and what is tested on, and which of them a study accepts."""

from typing import Literal

from pydantic import Field

from headwater.core.records import Record

Overlapping = Literal["patients", "studies", "identical", "near-identical", "declared"]
"""What two parts of a grid can share: patients, examinations, images, images that look the same, or their origin."""


class Excuse(Record):
    """An overlap with a test split that a study knows of and accepts; every table says so."""

    kind: Overlapping
    """What is shared."""
    between: tuple[str, str]
    """The two parts, each an archive and a split, such as `chestxray14 train` and `vindr test`; of what is declared
    one may be a source with adopted weights."""
    reason: str = Field(min_length=10)
    """Why it may be; it is printed below the tables."""


class Leaks(Record):
    """What counts as a leak into a test split, and which leaks are known and accepted."""

    distance: int = Field(16, ge=0, le=24)
    """Near-identical images differ in at most so many of the 256 bits of their perceptual hashes."""
    excused: tuple[Excuse, ...] = ()
    """Overlaps with a test split that may be; see the table of `leaks.excused`."""


class Learned(Record):
    """An archive in the ledger: which of its splits the grid uses, and who numbers its patients."""

    archive: str
    splits: tuple[str, ...]
    numbering: str
    """Patients of one number are one person in archives of one numbering only."""


class Declared(Record):
    """A test split, and what was learned from the same scans under other numbers."""

    learned: str
    """A part of the grid, or a source whose weights were adopted."""
    test: str
    origins: tuple[str, ...]
    """What both stem from."""


class Overlaps(Record):
    """What the ledger shall look at."""

    leaks: Leaks
    archives: tuple[Learned, ...]
    declared: tuple[Declared, ...] = ()
    """What it shall name without being able to find it."""

    @property
    def parts(self) -> list[str]:
        """The parts of the grid, such as `chestxray14 train`."""
        return [f"{learned.archive} {split}" for learned in self.archives for split in learned.splits]
