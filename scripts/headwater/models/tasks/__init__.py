"""Tasks: one file per kind of answer that a network gives, with its head, its loss and its scores."""

from typing import Literal

import numpy as np

Kind = Literal["multilabel", "multiclass"]


def kind_of(targets: np.ndarray) -> Kind:
    """Whether labels (cases, labels) stand side by side, or each case bears exactly one of several.

    One of several is what holds for every case without an exception; anything else is answered label by label.
    """
    one_each = targets.shape[1] > 1 and len(targets) > 0 and bool(np.all((targets == 1).sum(axis=1) == 1))
    known = bool(np.all(np.isfinite(targets)))
    return "multiclass" if one_each and known else "multilabel"
