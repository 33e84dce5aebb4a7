"""A worker that one image kills, as a crashing decoder would; apart from its test, so that a process loads little."""

import os

from headwater.data.image_sample import Specimen


def work(chunk: list[dict]) -> list[Specimen]:
    """A specimen for each case; the second file ends the process."""
    if any(case["file"] == "1.png" for case in chunk):
        os._exit(139)
    return [Specimen(digest=case["file"]) for case in chunk]
