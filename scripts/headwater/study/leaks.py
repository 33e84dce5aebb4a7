"""Overlaps between training and test data, and which of them a study accepts."""

from typing import Any, Literal

from pydantic import Field, field_validator

from headwater.core.records import Record
from headwater.study.folds import Folds

Overlapping = Literal["patients", "studies", "identical", "near-identical", "declared"]
"""Kinds of overlap of two parts of a grid: shared patients, examinations, images, near-identical images, or origin."""


Resolvable = Literal["patients", "studies", "identical", "near-identical"]
"""Kinds of overlap that files show case by case, so that the cases can be taken out."""


class Excuse(Record):
    """An overlap with a test split that a study knows of and accepts; every table states it."""

    kind: Overlapping
    """What is shared."""
    between: tuple[str, str]
    """The two parts, each an archive and a split, such as `chestxray14 train` and `vindr test`; of the kind `declared`
    one may be a source with adopted weights."""
    reason: str = Field(min_length=10)
    """Why it is acceptable; it is printed below the tables."""

    @field_validator("reason", mode="before")
    @classmethod
    def _one_line(cls, reason: Any) -> Any:
        """A reason written over several lines, as YAML allows, on one."""
        return " ".join(reason.split()) if isinstance(reason, str) else reason


class Leaks(Record):
    """What counts as a leak into a test split, and which leaks are known and accepted."""

    distance: int = Field(16, ge=0, le=64)
    """Near-identical images differ in at most so many of the 256 bits of their perceptual hashes."""
    edited_copies: bool = False
    """Whether copies that were mirrored, turned, inverted, padded, cropped or changed in contrast are near-identical,
    too. At times two different patients are then taken for one: look at the pairs in `private/leaks.csv`."""
    excused: tuple[Excuse, ...] = ()
    """Accepted overlaps with a test split; see the table of `leaks.excused`."""
    resolve: dict[Resolvable, Literal["drop_from_training"]] = {}
    """By kind of overlap: what to do about leaks instead of stopping. `drop_from_training` takes the cases out of what
    networks learn from (training and validation splits, corpora, probes), never out of a test split; tables state how
    many. Excused overlaps stay."""


class Learned(Record):
    """An archive in the ledger: which of its splits the grid uses, and who assigned its patient numbers."""

    archive: str
    splits: tuple[str, ...]
    numbering: str
    """Equal patient numbers mean the same person only in archives of the same numbering."""
    labels: tuple[str, ...] = ()
    """Labels that dropped cases must not leave without an example; filled in only where `leaks.resolve` drops any."""
    folds: Folds | None = None
    """How its patients are dealt into folds, which then are its splits."""


def is_tested(part: str) -> bool:
    """Whether networks are tested on a part: a test split, and each fold by networks that learned from the others."""
    _, of_archive, split = part.rpartition(" ")
    return bool(of_archive) and (split == "test" or split.startswith("fold"))


def is_learned(part: str) -> bool:
    """Whether networks learn from a part: all but test splits."""
    return not part.endswith(" test")


def is_leak(part: str, other: str) -> bool:
    """Whether an overlap of two parts is a leak: networks that learn from one are tested on the other."""
    pairs = ((part, other), (other, part))
    return part != other and any(is_learned(learned) and is_tested(tested) for learned, tested in pairs)


def is_tested_side(part: str, other: str) -> bool:
    """Whether the first part of a leak is the one that is tested; of two folds, which both are, the second counts."""
    return not is_learned(part) or not is_tested(other)


class Declared(Record):
    """A test split, and training data from the same scans under other patient numbers."""

    learned: str
    """A part of the grid, or a source whose weights were adopted."""
    test: str
    origins: tuple[str, ...]
    """The archives or collections that both come from."""


class Overlaps(Record):
    """The archives that the ledger compares, and the overlaps that it cannot detect."""

    leaks: Leaks
    archives: tuple[Learned, ...]
    declared: tuple[Declared, ...] = ()
    """Overlaps by common origin: the ledger lists them, though no file can show them."""

    @property
    def parts(self) -> list[str]:
        """The parts of the grid, such as `chestxray14 train`."""
        return [f"{learned.archive} {split}" for learned in self.archives for split in learned.splits]
