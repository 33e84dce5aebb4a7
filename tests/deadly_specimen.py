"""A worker that one image kills, as a crashing decoder would; apart from its test, so that a process loads little."""

import os

from headwater.data.image_sample import Specimen


def work(case: dict) -> Specimen:
    """A specimen for each case; the second file ends the process."""
    if case["file"] == "1.png":
        os._exit(139)
    return Specimen(digest=case["file"])
