"""A finished report on disk: the recorded inputs of its numbers, and whether those files are unchanged."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pydantic

from headwater.core import files as core_files
from headwater.core.destinations import from_csv
from headwater.core.errors import UserError
from headwater.core.fingerprints import NOT_RECORDED, sha256, short
from headwater.evaluation.run_files import RUN_FILES
from headwater.reporting import provenance
from headwater.study.grid import Grid
from headwater.study.paths import Paths

AS_RECORDED, CHANGED, GONE = "as recorded", "CHANGED SINCE", "gone"
"""The states of a file whose fingerprint was recorded."""

REQUIRED = {"config", "grid", "cases", "comparisons", "tables"}
"""The keys that provenance.json must have."""

WORDS = (
    *("dataset", "fitted_to", "metric", "recipe", "label", "scores", "characteristic", "group", "source"),
    *("reference", "note", "provenance"),
)
"""Columns of the tables that hold words, whatever these look like."""

KINDS = {"cases": dict, "comparisons": dict, "tables": dict}
"""What those keys hold that are looked into."""

AGAIN = "run snakemake again: another version made this report"

ANEW = "delete the folder of the report and run snakemake again"


@dataclass
class Report:
    """A folder of a report: the recorded inputs of its numbers, and whether those files are unchanged."""

    folder: Path
    checked: dict[Path, str] = field(default_factory=dict)
    """The state of each file that was checked."""
    hashes: dict[Path, str] = field(default_factory=dict)

    @property
    def paths(self) -> Paths:
        """The paths of the products that it was made from."""
        return Paths(self.folder.parent)

    @cached_property
    def record(self) -> dict[str, Any]:
        """provenance.json."""
        file = self.folder / "provenance.json"
        if not file.exists():
            raise UserError("there is no such file", file=file, remedy=AGAIN)
        record = core_files.read_json(file, remedy=ANEW)
        if not isinstance(record, dict) or not record.keys() >= REQUIRED:
            raise UserError(f"lacks one of {', '.join(sorted(REQUIRED))}", file=file, remedy=AGAIN)
        if odd := [name for name, kind in KINDS.items() if not isinstance(record[name], kind)]:
            raise UserError(f"{odd[0]} holds no names and values", file=file, remedy=ANEW)
        return record

    @cached_property
    def grid(self) -> Grid:
        """The grid of the report."""
        try:
            return Grid.model_validate(self.record["grid"])
        except pydantic.ValidationError:
            raise UserError(
                "has the grid of another version", file=self.folder / "provenance.json", remedy=AGAIN
            ) from None

    @cached_property
    def sets(self) -> pd.DataFrame:
        """provenance.csv: the runs of each name."""
        file = self.folder / "provenance.csv"
        runs = read_table(file)
        if lacking := {"provenance", *RUN_FILES.columns} - set(runs):
            raise UserError(f"lacks the column {min(lacking)}", file=file, remedy=ANEW)
        return runs

    def runs_of(self, name: str) -> pd.DataFrame:
        """The runs of a name, which is made from the fingerprints of all of them."""
        runs = self.sets[self.sets["provenance"] == name]
        if provenance.name_of(map(str, runs["predictions"])) != name:
            raise UserError(
                f"lacks runs of {name}, or has others: it was cut off or changed",
                file=self.folder / "provenance.csv",
                remedy=ANEW,
            )
        return runs

    def compared(self, file: Path, recorded: str) -> str:
        """A file's current fingerprint, and whether it is the recorded one."""
        if not file.is_file():
            state, digest = GONE, recorded
        else:
            self.hashes[file] = digest = self.hashes.get(file) or sha256(file)
            unknown = recorded in ("", NOT_RECORDED)
            state = NOT_RECORDED if unknown else AS_RECORDED if digest == recorded else CHANGED
        # a file may be recorded in several places, and must agree with all of them
        self.checked[file] = CHANGED if self.checked.get(file) == CHANGED else state
        return f"{short(digest)} {state}" if digest else state

    def line(self, what: str, file: Path, recorded: str) -> str:
        """A line about a file."""
        return f"{what}: {file}: {self.compared(file, recorded)}"


def read_table(file: Path) -> pd.DataFrame:
    """A table of the report; empty cells of text columns are "" instead of NaN."""
    try:
        # a label may be called NA, or be a number
        frame = pd.read_csv(file, dtype=dict.fromkeys(WORDS, str), keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read: {error}", file=file, remedy="run snakemake again") from None
    words = [column for column in ("reference", "note") if column in frame]
    frame = frame.assign(**{column: frame[column].fillna("") for column in words})
    return frame.assign(**{name: frame[name].map(from_csv) for name in frame.select_dtypes(exclude=["number", "bool"])})
