"""Text that breaks what was not written for it: labels that a study shows as they are, and labels that it refuses."""

import random
import string

from headwater.core import characters
from headwater.core.characters import LONGEST

ACCEPTED = (
    *("{}", "Nodule {left}", "{archive}", "{{x}}", "%s %(x)s", "${HOME} $(id) `id`", "a; rm -rf / #"),
    *(
        "costs $5 and $6",
        "$\\frac{1}{2}$",
        "back\\slash",
        "\\n",
        "\\input{x}",
        "50 % & more_#1 ~x^2",
        "a--b ?`x",
        "[x] y",
    ),
    *(
        "*",
        "*bold* _it_ **x**",
        "a|b",
        "`c`",
        "[f](http://x)",
        "![x](y)",
        "# x",
        "- x",
        "> x",
        "1. x",
        "~~x~~",
        "&amp;",
    ),
    *(
        'he said "no"',
        "it's 'x'",
        "<script>alert(1)</script>",
        "</svg><b>",
        'id="x" url(#a) href="#b" #1b2430',
        "a&b;c",
    ),
    *("=SUM(A1)", "+1+1", "-2+3", "@cmd", "'=1", "＝1+1", "a,b;c", "NA", "nan", "None", "007", "1e5", "-0.5", "TRUE"),
    *(
        "фиброз",
        "결절",
        "结节",
        "结节 2",
        "עברית (1)",
        "ورم: 3",
        "Ödem",
        "e\u0301clat",
        "🫁 lung",
        "❤\ufe0f",
        "ﬁbrosis",
        "ß",
    ),
    *("target:x", "label", "split", "chance", "x" * LONGEST, "a long label of several words " * 3 + "end"),
)
"""Labels that differ from each other for a reader, and that every destination shows."""

REFUSED = {
    "": "is empty",
    " Nodule": "begins or ends with a space",
    "Nodule ": "begins or ends with a space",
    "a\nb": r"U\+000A \(line break\)",
    "a\tb": r"U\+0009 \(tab\)",
    "a\x00b": r"U\+0000 \(control character\)",
    "\x1b[31mred": r"U\+001B \(control character\)",
    "a\x85b": r"U\+0085",
    "a\u2028b": r"U\+2028 \(LINE SEPARATOR\)",
    "a\u202eb": r"U\+202E \(RIGHT-TO-LEFT OVERRIDE\)",
    "a\u2067b": r"U\+2067 \(RIGHT-TO-LEFT ISOLATE\)",
    "a\u200bb": r"U\+200B \(ZERO WIDTH SPACE\)",
    "a\u200db": r"U\+200D \(ZERO WIDTH JOINER\)",
    "a\ufeffb": r"U\+FEFF",
    "a\u00adb": r"U\+00AD \(SOFT HYPHEN\)",
    "a\u00a0b": r"U\+00A0 \(NO-BREAK SPACE\)",
    "\u3164": r"U\+3164 \(HANGUL FILLER\)",
    "a\ue000": r"U\+E000 \(private use\)",
    "a\ufffe": r"U\+FFFE \(no character\)",
    "a\ud800": r"U\+D800 \(half a character\)",
    "\u0301a": r"begins with U\+0301 \(COMBINING ACUTE ACCENT\)",
    "x" * (LONGEST + 1): "has 101 characters, more than 100",
    "W" * 300: "has 300 characters, more than 100",
    "macro": "is reserved for the mean over labels",
    "Macro": "is reserved for the mean over labels",
    "macro: left": "is reserved for the mean over labels",
}
"""Labels that cannot be shown or told from others, and what the message says of each."""

ALIKE = (
    ("Nodule", "nodule"),
    ("Nodule", "N\u043edule"),
    ("Lung mass", "Lung  mass"),
    ("\u00e9clat", "e\u0301clat"),
    ("Nodule", "\uff2eodule"),
    ("❤", "❤\ufe0f"),
    ("STRASSE", "straße"),
)
"""Pairs of labels that a reader takes for the same."""


def drawn(count: int, *, seed: int = 0) -> list[str]:
    """Labels by chance that a config may have: marks of every syntax, and letters of several alphabets."""
    draw = random.Random(seed)
    alphabets = [
        string.punctuation * 2 + string.ascii_letters + string.digits + " ",
        "àßÉñçŠžĘı½µ°±",
        "αβΩЖя",
        "结節한",
        "עא",
        "🫁",
    ]
    labels: list[str] = []
    while len(labels) < count:
        weights = [12, 2, 1, 1, 1, 1]
        letters = (draw.choice(draw.choices(alphabets, weights)[0]) for _ in range(draw.randint(1, 30)))
        label = "".join(letters).strip()
        if label and not characters.flaw(label):
            labels.append(label)
    return labels
