"""headwater: where should my network's first weights come from?"""

from headwater.core import interruption

__version__ = "0.1.0"

if interruption.is_command():
    # before anything else is imported, which takes seconds where torch is needed
    interruption.end_at_once()
    interruption.refuse_other_python()

OFFERED = {"load": "headwater.models.loading:load", "results": "headwater.reporting.frames:Results"}
"""What scripts and notebooks call, and where it is: imported when it is first used, as torch and pandas are slow."""


def __getattr__(name: str) -> object:
    """`headwater.load` and `headwater.results`."""
    if name not in OFFERED:
        raise AttributeError(f"module 'headwater' has no attribute {name!r}")
    import importlib

    module, _, function = OFFERED[name].partition(":")
    return getattr(importlib.import_module(module), function)
