"""Findings: what is not as it should be, how bad it is and what to do; and how counts and shares are worded."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from headwater.core.errors import UserError

SEVERITIES = ("note", "warning", "error")
"""From what changes nothing to what stops `prepare` or the grid; the place of the worst is the exit code's floor."""

FEW = 0.01
"""Share of images that may be absent or unreadable before it is an error: what `prepare` allows by default."""

MOST_WORDS = 30
"""Different words for projections above which their column may hold something else, which is then not shown."""

STRANGE = (OSError, ValueError, LookupError, TypeError, ArithmeticError, AttributeError)
"""What reading a table of a hostile form may raise beside a refusal."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is not as it should be: how bad, what, how many, and what to do."""

    severity: Literal["note", "warning", "error"]
    what: str
    count: int
    remedy: str
    names: tuple[str, ...] = field(default=(), repr=False)
    """The cases, patients or files that it is about; they never appear on the page."""


@dataclass(kw_only=True)
class Examination:
    """Everything that was found in one folder."""

    title: str
    findings: list[Finding] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    """Lines of the page that describe what there is."""
    labels: pd.DataFrame = field(default_factory=pd.DataFrame)
    unchecked: list[str] = field(default_factory=list)

    @property
    def code(self) -> int:
        """0 where nothing worse than a note was found, 1 for warnings, 2 for errors."""
        return max([SEVERITIES.index(finding.severity) for finding in self.findings], default=0)

    def tried(self, work: Callable[[], Any], *, otherwise: str) -> Any:
        """The result of `work`; where it is refused, None, with an error noted and `otherwise` noted as unchecked."""
        try:
            return work()
        except UserError as refusal:
            finding = as_finding(refusal)
        except STRANGE as error:
            what = f"the tables cannot be read ({type(error).__name__})"
            finding = Finding(severity="error", what=what, count=1, remedy="fetch them again")
        if finding not in self.findings:
            self.findings.append(finding)
        self.unchecked.append(otherwise)
        return None


def as_finding(refusal: UserError) -> Finding:
    """A plug-in's refusal, without what it says of cases."""
    where = f"{Path(refusal.file).name}: " if refusal.file else ""
    if refusal.nameless:
        what, remedy = where + refusal.nameless, refusal.remedy
    else:
        what, remedy = f"{where}is refused for a reason that may name cases, which this page does not", "see the list"
    return Finding(severity="error", what=what, count=1, remedy=remedy, names=(str(refusal),))


def tally(words: Iterable[str]) -> str:
    """How often each word occurs, unless there are too many to be words."""
    counts = Counter(words)
    if len(counts) > MOST_WORDS:
        return f"more than {MOST_WORDS} different ones, which are not shown"
    return "; ".join(f"{count:,} {word}" for word, count in counts.most_common())


def share(part: int, whole: int) -> str:
    """A share in percent; only a share of nothing is shown as 0, and only the whole as 100."""
    if not whole or not part:
        return "0 %"
    if part == whole:
        return "100 %"
    return f"{min(max(100 * part / whole, 0.1), 99.9):.1f} %"
