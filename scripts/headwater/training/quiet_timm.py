"""What training takes from timm, imported without Weights & Biases."""

import sys

# timm loads Weights & Biases wherever it is installed, at half a second a job; a tracker does so when asked
_wandb = sys.modules.get("wandb")
sys.modules["wandb"] = _wandb
try:
    from timm.layers import convert_sync_batchnorm
    from timm.utils import ModelEmaV3
finally:
    if _wandb is None:
        del sys.modules["wandb"]

__all__ = ["ModelEmaV3", "convert_sync_batchnorm"]
