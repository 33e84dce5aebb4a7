"""Seeds derived from names, so that random numbers depend only on what they are for, not on the order of draws."""

import hashlib


def seed_of(*parts: object) -> int:
    """A seed in [0, 2^63) derived from the parts."""
    # a hash that is the same in every process, unlike Python's own; 63 bits fit into int64
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8]) >> 1
