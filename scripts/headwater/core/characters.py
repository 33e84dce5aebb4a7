"""Characters: which a label, name or reason may hold, so that it is one visible line, and which texts look alike."""

import unicodedata
from collections.abc import Iterable, Iterator

LONGEST = 100
"""Most characters of a label: longer ones fit neither a table nor a figure; published archives stay below 40."""

BLANK = "\u115f\u1160\u2800\u3164\uffa0"
"""Characters that count as printable and are drawn as a blank."""

IGNORED = {*"\u034f\u180b\u180c\u180d\u180f", *map(chr, range(0xFE00, 0xFE10)), *map(chr, range(0xE0100, 0xE01F0))}
"""Marks that are not drawn themselves, such as the variation selectors of emoji."""

LOOKS_LIKE = str.maketrans("авеікмнорстухјѕһԁԛԝαβεζηικμνορτυχ", "abeikmhopctyxjshdqwabezhikmvoptyx")
"""Cyrillic and Greek letters, and the Latin ones that look like them in upper or lower case."""

NAMES = {"\n": "line break", "\r": "line break", "\t": "tab"}
KINDS = {"Cc": "control character", "Cs": "half a character", "Co": "private use", "Cn": "no character"}
"""What code points are called that have no name, some by themselves and others by their Unicode category."""


def visible(text: str) -> str:
    """The text on one line, with escapes such as \\u202e for what is not drawn or reorders what is."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def visible_lines(text: str) -> str:
    """The same of each line of a text."""
    return text if text.isprintable() else "\n".join(map(visible, text.split("\n")))


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def hidden(text: str) -> str:
    """What a text holds that is not drawn, by its code point; nothing if every character is visible."""
    for letter in text:
        if not letter.isprintable() or letter in BLANK:
            kind = NAMES.get(letter) or KINDS.get(unicodedata.category(letter), "")
            return f"holds U+{ord(letter):04X} ({unicodedata.name(letter, kind)})"
    return ""


def flaw(label: str) -> str:
    """Why a label cannot be shown as it is in tables and figures, and what to do; nothing if it can."""
    if unseen := hidden(label):
        return f"{unseen}, which is not visible; remove it"
    if label.strip() != label or not label:
        return "begins or ends with a space; remove it" if label.strip() else "is empty; give it a name"
    if unicodedata.combining(label[0]) or label[0] in IGNORED:
        return f"begins with U+{ord(label[0]):04X} ({unicodedata.name(label[0])}), which needs a letter before it"
    if len(label) > LONGEST:
        return f"has {len(label)} characters, more than {LONGEST}; shorten it"
    return ""


def alike(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of different texts that a reader takes for the same: alike but for case, spaces, or letters' alphabet."""
    first: dict[str, str] = {}
    for text in dict.fromkeys(texts):
        same = first.setdefault(as_read(text), text)
        if same != text:
            yield same, text


def as_read(text: str) -> str:
    """What a reader sees of a text, whatever its case, spaces and alphabet."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    drawn = "".join(letter for letter in folded if letter not in IGNORED)
    return " ".join(drawn.split()).translate(LOOKS_LIKE)


def quoted(text: str) -> str:
    """A text in quotes for a message, shortened if it is long, with escapes for what is not visible."""
    # messages have single spaces only
    return repr(text if len(text) <= LONGEST else f"{text[:40]}...").replace("  ", " \\x20")
