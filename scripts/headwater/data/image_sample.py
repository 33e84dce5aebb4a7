"""Specimens: a sample of an archive's images, spread over all of it, and what reading each of them shows."""

import hashlib
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.process_pool import in_order
from headwater.core.progress import bar
from headwater.data.io.forms import form_of, is_known

CRASHED = "crashes its decoder"
UNREADABLE = "cannot be read"


class Specimen(NamedTuple):
    """What reading an image shows, or the kind of its problem; it never names a case or a patient."""

    problem: str = ""
    form: str = ""
    """How the file keeps its pixels."""
    shape: tuple[int, ...] = ()
    """(height, width) or (height, width, 3)"""
    digest: str = ""
    """Of the pixels as they are read."""
    blank: bool = False
    """Whether all pixels are alike."""
    strange_age: bool = False
    """Whether the header tells an age that makes no sense."""


def spread(many: int, *, sample: int) -> list[int]:
    """Positions of at most `sample` of so many things, evenly from the first to the last; the same at every call."""
    return np.unique(np.linspace(0, many - 1, min(sample, many)).round().astype(int)).tolist()


def examined(rows: list[dict[str, Any]], *, archive: str, folder: Path, workers: int) -> list[Specimen]:
    """What reading each of these cases of an archive shows; needs their files and, for some archives, their names."""
    work = partial(_examined, archive=archive, folder=folder)
    results = in_order(work, rows, lost=_lost, workers=workers)
    return list(bar(results, total=len(rows), what=f"doctor {archive}"))


def _examined(case: Mapping[str, Any], *, archive: str, folder: Path) -> Specimen:
    """The specimen of a case; runs in a worker."""
    with warnings.catch_warnings():
        # readers may warn with the names of files
        warnings.simplefilter("ignore")
        return _specimen(registry.load("datasets", archive), folder, case)


def _specimen(plugin: Any, folder: Path, case: Mapping[str, Any]) -> Specimen:
    form, age_told = form_of(folder / case["file"])
    try:
        pixels = plugin.read_pixels(folder, case)
        age = plugin.read_person(folder, case).get("age") if age_told and hasattr(plugin, "read_person") else 0.0
    except UserError as refusal:
        return Specimen(problem=refusal.nameless or UNREADABLE, form=form)
    digest = hashlib.blake2b(f"{pixels.shape}".encode() + pixels.tobytes(), digest_size=16).hexdigest()
    blank = bool((pixels == pixels.flat[0]).all())
    return Specimen(form=form, shape=pixels.shape, digest=digest, blank=blank, strange_age=not is_known(age))


def _lost(case: Mapping[str, Any]) -> Specimen:
    return Specimen(problem=CRASHED)
