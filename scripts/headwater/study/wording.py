"""Wording: what sources, datasets, recipes and labels are called in tables, figures and pages."""

from typing import Literal

from headwater.core.records import Record

Section = Literal["sources", "datasets", "recipes", "labels"]
"""Where in a config something that has a name stands."""

CONTROLS = {"again": "again", "shuffled": "shuffled labels"}
"""What is added to the title of a source for each control of it."""


class Words(Record):
    """What one thing is called: in full where there is room, and in short where there is little."""

    title: str = ""
    """In tables and sentences; by default its name."""
    short: str = ""
    """On axes, in legends and in headings of columns; by default the title."""

    def of_control(self, control: str) -> "Words":
        """What a control of this source is called."""
        parts = {key: f"{words}, {CONTROLS[control]}" for key, words in self if words}
        return Words(**parts)


class Wording(Record):
    """What all things of a study are called; what has no entry is called by its name."""

    sources: dict[str, Words] = {}
    datasets: dict[str, Words] = {}
    recipes: dict[str, Words] = {}
    labels: dict[str, Words] = {}

    def title(self, section: Section, name: str) -> str:
        """What something is called where there is room."""
        words = getattr(self, section).get(name)
        return (words and words.title) or name

    def short(self, section: Section, name: str) -> str:
        """What it is called where there is little room."""
        words = getattr(self, section).get(name)
        return (words and (words.short or words.title)) or name
