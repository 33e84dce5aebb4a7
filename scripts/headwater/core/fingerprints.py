"""Fingerprints: the SHA-256 of a file, recorded in the products that were made from it."""

import hashlib
from pathlib import Path

from headwater.core.errors import UserError

NOT_RECORDED = "not recorded"
"""Stands for the fingerprint of an input in products by versions that did not record it."""


RANDOM = "random"
"""Stands for the fingerprint of an encoder file if the weights are random."""


LENGTH = 12
"""Hexadecimal digits of a fingerprint as shown to people, and of the name of a set of runs."""


def sha256(file: Path) -> str:
    """The fingerprint of a file."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot be read: {error}", file=file) from None


def short(fingerprint: str) -> str:
    """A fingerprint shortened for people; words such as `random` are left as they are."""
    return fingerprint[:LENGTH] if len(fingerprint) == 64 else fingerprint
