"""timm, imported without Weights & Biases: where that is installed, timm imports it, which costs each job 0.25 seconds.

The tracker `wandb` imports the library itself.
"""

import sys

_wandb = sys.modules.get("wandb")
# None makes `import wandb` fail as if it were not installed, which timm.utils handles
sys.modules["wandb"] = None
try:
    import timm
    import timm.layers
    import timm.loss
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
