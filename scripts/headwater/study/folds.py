"""Folds: a data set without a test split is dealt into parts, each tested by networks that learned from the others."""

from dataclasses import dataclass
from typing import Any

from pydantic import Field, model_validator

from headwater.core.records import Record

MOST = 20
"""Folds of a dataset: each is a training of every source, recipe and seed."""

BEFORE = ".fold"
"""What stands between the name of a dataset and the number of a fold; no name in a config has a dot."""


class Folds(Record):
    """A cross-validation in place of the splits of an archive."""

    folds: int = Field(ge=2, le=MOST)
    """Into how many parts the patients are dealt, stratified by label. Each is tested once for each seed, by networks
    that learned from the others; differences are tested with Nadeau and Bengio's correction."""
    validation: float = Field(0.1, gt=0, lt=0.5)
    """Share of the patients of the other folds that is kept for model selection."""
    seed: int = Field(0, ge=0)
    """Seed by which patients are dealt, and drawn for validation."""

    @model_validator(mode="before")
    @classmethod
    def _with_its_key(cls, value: Any) -> Any:
        """A bare number does not say what it counts."""
        if isinstance(value, dict | Folds):
            return value
        number = value if isinstance(value, int) and not isinstance(value, bool) else 5
        raise ValueError(f"must say what it counts; write {{folds: {number}}} (got {value!r})")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the folds, such as `fold0`."""
        return tuple(f"fold{number}" for number in range(self.folds))


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One of the folds of a dataset: the part that is tested."""

    folds: Folds
    number: int


def in_fold(dataset: str, number: int) -> str:
    """The name of a dataset in a fold."""
    return f"{dataset}{BEFORE}{number}"


def apart(name: str) -> tuple[str, int | None]:
    """The name of the whole dataset and the number of the fold, none of a name without one."""
    whole, _, number = name.partition(BEFORE)
    return whole, int(number) if number else None
