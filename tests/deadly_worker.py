"""A worker that some cases kill, as a crashing decoder would; apart from its test, so that a process loads little."""

import os

from headwater.data.preparation import Outcome


def work(case: dict, *, deadly: set[str]) -> Outcome:
    """The name of the case as its reason; a deadly case ends the process."""
    if case["file"] in deadly:
        os._exit(139)
    return Outcome(None, {}, reason=case["file"])
