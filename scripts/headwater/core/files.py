"""Atomic writing of files (complete or absent), and JSON."""

import glob
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headwater.core.errors import UserError

MADE_AGAIN = "delete it and run the rule that makes it again"


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary file that is renamed to `path` if the block succeeds, and removed if it fails."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # in the same folder, because a rename is atomic only within one file system
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{path.suffix}")
    # made by a plain open, so that the umask and the folder's ACL say who may read it, as for any other file
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        # on disk before the rename: after a power cut the name must not point to an empty file
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(path: Path) -> None:
    """Remove the temporary files and folders of writers of `path` that were killed; nobody may be writing it."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        if re.fullmatch(r"[0-9a-f]{8}", left.name.removeprefix(f".{path.name}.").removesuffix(path.suffix)):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


def write_text(text: str, path: Path) -> None:
    """Write text atomically."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(content: bytes, path: Path) -> None:
    """Write bytes atomically."""
    with whole(path) as temporary:
        temporary.write_bytes(content)


def write_json(content: Any, path: Path) -> None:
    """Write indented JSON atomically."""
    write_text(json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n", path)


def read_json(path: Path, *, remedy: str = "") -> Any:
    """The content of a JSON file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot be read: {error}", file=path, remedy=remedy) from None


def read_record(path: Path) -> dict[str, Any]:
    """The content of a JSON file that holds names and their values."""
    content = read_json(path, remedy=MADE_AGAIN)
    if not isinstance(content, dict):
        raise UserError("holds no names and values", file=path, remedy=MADE_AGAIN)
    return content
