"""timm, imported without Weights & Biases, which it would load at a quarter of a second a job wherever it is installed.

A tracker imports that library itself where a config asks for it.
"""

import sys

_wandb = sys.modules.get("wandb")
# as if it were not installed: timm.utils then goes without
sys.modules["wandb"] = None
try:
    import timm
    import timm.layers
    import timm.models
    import timm.optim
    import timm.scheduler
    import timm.utils
finally:
    if _wandb is None:
        del sys.modules["wandb"]
    else:
        sys.modules["wandb"] = _wandb

__all__ = ["timm"]
