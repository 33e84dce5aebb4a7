"""Fingerprints: the SHA-256 of a file, by which a product remembers what it was made from."""

import hashlib
from pathlib import Path

from headwater.core.errors import UserError

NOT_RECORDED = "not recorded"
"""What stands for the fingerprint of a source in a product from before products kept them."""


RANDOM = "random"
"""What stands for the fingerprint of an encoder where the weights were drawn."""


LENGTH = 12
"""Hexadecimal digits of a fingerprint that are shown to people, and of the name of a set of runs."""


def sha256(file: Path) -> str:
    """The fingerprint of a file, read piece by piece."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot be read: {error}", file=file) from None


def short(fingerprint: str) -> str:
    """A fingerprint as people are shown it; words stay words."""
    return fingerprint[:LENGTH] if len(fingerprint) == 64 else fingerprint
