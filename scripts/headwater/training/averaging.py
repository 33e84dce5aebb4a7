"""Averaging: timm's exponential moving average of a network's weights, imported without Weights & Biases."""

import sys

# timm.utils loads Weights & Biases wherever it is installed, at half a second a job; a tracker does so when asked
_wandb = sys.modules.get("wandb")
sys.modules["wandb"] = _wandb
try:
    from timm.utils import ModelEmaV3
finally:
    if _wandb is None:
        del sys.modules["wandb"]

__all__ = ["ModelEmaV3"]
