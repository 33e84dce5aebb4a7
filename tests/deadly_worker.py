"""A worker that some cases kill, as a crashing decoder would; apart from its test, so that a process loads little."""

import os

from headwater.data.preparation import Outcome


def work(chunk: list[dict], *, deadly: set[str]) -> list[Outcome]:
    """The name of each case as its reason; a deadly case ends the process."""
    for case in chunk:
        if case["file"] in deadly:
            os._exit(139)
    return [Outcome(None, {}, reason=case["file"]) for case in chunk]
