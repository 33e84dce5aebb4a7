"""Checkpoint contents: what a file of weights says in text and numbers besides its tensors, without torch.

The contents that torch.save writes are a pickle, which is a program. Its operations are done here one by one, and each
costs no more than its own bytes: nothing that it names is called, copied, hashed or compared as a whole.
"""

import pickletools
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

from headwater.core.errors import UserError, about

LARGEST = 16 * 2**20
"""Bytes of contents that are read; the tensors themselves lie beside them."""

MOST = 2**20
"""Operations that are done, in about a second; a large network with its optimizer takes a tenth of them."""

LONGEST = 1000
"""Characters of an entry's name; others are left out, like names that are no text."""

COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How torch can read contents; zipfile unpacks others without a bound."""

UNREADABLE = (
    *(ArithmeticError, EOFError, LookupError, OSError, RuntimeError, ValueError),
    *(struct.error, zipfile.BadZipFile, zlib.error),
)
"""What damaged bytes raise; the file is refused when it is adopted."""

REMEDY = "ask its publisher for the weights as torch.save writes them"

ORDERED = "collections OrderedDict"

NOTHING = object()
"""In place of all that a file holds besides text, numbers and containers: tensors above all."""


def read(file: Path) -> dict[str, Any]:
    """The entries of a file by torch.save, without tensors; empty if it is none."""
    try:
        with about(file):
            content = _done(_pickle(file))
    except UNREADABLE:
        return {}
    return content if isinstance(content, dict) else {}


def _pickle(file: Path) -> bytes:
    with zipfile.ZipFile(file) as archive:
        (entry,) = (entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl"))
        if entry.file_size > LARGEST:
            raise UserError(f"{entry.filename} has {entry.file_size:,} bytes besides the tensors", remedy=REMEDY)
        if entry.compress_type not in COMPRESSIONS:
            raise UserError(f"{entry.filename} is compressed in a way that torch does not read", remedy=REMEDY)
        with archive.open(entry) as content:
            # with a size, as else a few bytes may unpack to more than the archive says
            return content.read(LARGEST)


def _done(program: bytes) -> Any:
    """What a pickle leaves behind."""
    stack = _Stack()
    for count, (operation, argument, _) in enumerate(pickletools.genops(program)):
        if count == MOST:
            raise UserError(f"its contents take more than {MOST:,} operations", remedy=REMEDY)
        OPERATIONS[operation.name](stack, argument)
    return stack.values.pop()


class _Stack:
    """The values that a pickle has made and not yet put into others."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.marks: list[int] = []
        self.remembered: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.values.append(value)

    def remember(self, number: int) -> None:
        self.remembered[number] = self.values[-1]

    def recall(self, number: int) -> None:
        self.push(self.remembered[number])

    def mark(self, _: None) -> None:
        self.marks.append(len(self.values))

    def last(self, count: int) -> list[Any]:
        """Values that are taken from the end."""
        return [self.values.pop() for _ in range(count)][::-1]

    def marked(self) -> list[Any]:
        """Values that are taken from the end, as many as came since the last mark."""
        return self.last(max(0, len(self.values) - self.marks.pop()))

    def extend(self, values: list[Any]) -> None:
        """Put values into the list at the end."""
        if isinstance(self.values[-1], list):
            self.values[-1].extend(values)

    def fill(self, pairs: list[Any]) -> None:
        """Put names and values, in turn, into the dictionary at the end."""
        if isinstance(self.values[-1], dict):
            entries = zip(pairs[::2], pairs[1::2], strict=True)
            # comparing long texts, and hashing tuples within tuples, may take any time
            self.values[-1].update(pair for pair in entries if isinstance(pair[0], str) and len(pair[0]) <= LONGEST)

    def refer(self, _: None) -> None:
        """What lies elsewhere in the file: the numbers of a tensor."""
        self.values[-1] = NOTHING

    def name(self, which: str) -> None:
        """What would be imported."""
        self.push(dict if which == ORDERED else NOTHING)

    def call(self, _: None) -> None:
        """What would be run: only an empty dictionary is made."""
        function, arguments = self.last(2)
        if function is dict and arguments != ():
            raise UserError("its contents copy dictionaries, which torch.save never does", remedy=REMEDY)
        self.push({} if function is dict else NOTHING)


OPERATIONS = {
    "PROTO": lambda stack, _: None,
    "STOP": lambda stack, _: None,
    "NEWTRUE": lambda stack, _: stack.push(True),
    "NEWFALSE": lambda stack, _: stack.push(False),
    "EMPTY_TUPLE": lambda stack, _: stack.push(()),
    "EMPTY_LIST": lambda stack, _: stack.push([]),
    "EMPTY_DICT": lambda stack, _: stack.push({}),
    "EMPTY_SET": lambda stack, _: stack.push(NOTHING),
    "TUPLE": lambda stack, _: stack.push(tuple(stack.marked())),
    "TUPLE1": lambda stack, _: stack.push(tuple(stack.last(1))),
    "TUPLE2": lambda stack, _: stack.push(tuple(stack.last(2))),
    "TUPLE3": lambda stack, _: stack.push(tuple(stack.last(3))),
    "APPEND": lambda stack, _: stack.extend(stack.last(1)),
    "APPENDS": lambda stack, _: stack.extend(stack.marked()),
    "SETITEM": lambda stack, _: stack.fill(stack.last(2)),
    "SETITEMS": lambda stack, _: stack.fill(stack.marked()),
    "BUILD": lambda stack, _: stack.last(1),
    "BINPERSID": _Stack.refer,
    "MARK": _Stack.mark,
    "GLOBAL": _Stack.name,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _Stack.call),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Stack.remember),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Stack.recall),
    **dict.fromkeys(("NONE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), _Stack.push),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINSTRING"), _Stack.push),
}
"""What is done for each operation that torch reads with weights_only; a file with another one is refused by it."""
