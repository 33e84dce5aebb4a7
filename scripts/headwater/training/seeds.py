"""Seeds: numbers that follow from names, so that what is drawn depends on nothing but what it is drawn for."""

import hashlib


def seed_of(*parts: object) -> int:
    """A number between 0 and 2^63 that stands for the parts."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8]) >> 1
