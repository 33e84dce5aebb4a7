"""Card pages: a card or datasheet in Markdown, with what the study knows and, marked, what only its authors know."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from headwater.core.destinations import for_markdown
from headwater.reporting import formatting, small_counts
from headwater.reporting.check_lists import AUTHOR
from headwater.reporting.printed_table import plain


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a card: a heading, what is asked with its answers, a table, sentences."""

    heading: str
    answers: Mapping[str, str | None] = field(default_factory=dict)
    """By what is asked; None is the author's to answer."""
    table: pd.DataFrame | None = None
    sentences: tuple[str, ...] = ()


def rendered(title: str, parts: Iterable[Part]) -> str:
    """A card in Markdown."""
    told = "Filled in by headwater from what the study knows; what says `author` is left to the author."
    return "\n\n".join([f"# {for_markdown(title)}", told, *map(_part, parts)]) + "\n"


def _part(part: Part) -> str:
    """A part in Markdown; empty pieces are left out."""
    lines = [f"| {for_markdown(asked)} | {for_markdown(says or AUTHOR)} |" for asked, says in part.answers.items()]
    answers = "\n".join(["| | |", "|---|---|", *lines]) if lines else ""
    table = "" if part.table is None else formatting.as_markdown(part.table, bold=plain(part.table)).rstrip()
    sentences = "\n".join(f"- {for_markdown(sentence)}" for sentence in part.sentences)
    return "\n\n".join(filter(None, [f"## {part.heading}", answers, table, sentences]))


def counted(counts: Mapping[str, int], *, least: int, noun: str = "") -> str:
    """Counts by what is counted, from 1 to one less than `least` as "<10"; their sum only where it tells none of them.

    With a `noun` the sum comes first.
    """
    few = any(0 < count < least for count in counts.values())
    parts = ", ".join(f"{name} {masked(count, least=least)}" for name, count in counts.items())
    return parts if few or not noun else f"{sum(counts.values()):,} {noun} ({parts})"


def masked(count: int, *, least: int) -> str:
    """A count, or what stands for one so small that it is not shown."""
    return small_counts.in_words(count, least=least) if 0 < count < least else f"{count:,}"
