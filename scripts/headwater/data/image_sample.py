"""Specimens: a sample of an archive's images, spread over the whole archive, and the result of reading each."""

import hashlib
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from headwater.core import registry
from headwater.core.errors import DiskError, UserError
from headwater.core.process_pool import in_order
from headwater.core.progress import bar
from headwater.data.io.forms import form_of, is_known
from headwater.data.io.windows import is_blank

CRASHED = "crashes its decoder"


class Specimen(NamedTuple):
    """The result of reading an image, or the kind of its problem; it never names a case or a patient."""

    problem: str = ""
    form: str = ""
    """The encoding of the pixels in the file."""
    shape: tuple[int, ...] = ()
    """(height, width) or (height, width, 3)"""
    digest: str = ""
    """Hash of the decoded pixels, by which identical images are found."""
    blank: bool = False
    """Whether it shows nothing, so that `prepare` rejects it."""
    strange_age: bool = False
    """Whether the header has an impossible age."""
    bits: int = 0
    """How many bits the values of a grey PNG or TIFF in 16 bits fill; 0 for other files."""
    stops: bool = False
    """Whether the problem is one of the disk, at which `prepare` stops."""


def spread(count: int, *, sample: int) -> list[int]:
    """At most `sample` positions below `count`, evenly spaced from the first to the last; the same at every call."""
    return np.unique(np.linspace(0, count - 1, min(sample, count)).round().astype(int)).tolist()


def examined(
    rows: list[dict[str, Any]], *, archive: str, folder: Path, how: Mapping[str, Any], workers: int
) -> list[Specimen]:
    """The specimens of these cases of an archive; needs their files and, for some archives, their names.

    `how`: the options on which the pixels depend.
    """
    work = partial(_examined, archive=archive, folder=folder, how=how)
    results = in_order(work, rows, lost=_lost, workers=workers)
    return list(bar(results, total=len(rows), what=f"doctor {archive}"))


def _examined(case: Mapping[str, Any], *, archive: str, folder: Path, how: Mapping[str, Any]) -> Specimen:
    """The specimen of a case; runs in a worker."""
    with warnings.catch_warnings():
        # decoders put names of files into warnings, and the doctor's page must not name any
        warnings.simplefilter("ignore")
        return _specimen(registry.load("datasets", archive), folder, case, how=how)


def _specimen(plugin: Any, folder: Path, case: Mapping[str, Any], *, how: Mapping[str, Any]) -> Specimen:
    """The specimen of one case."""
    form = form_of(folder / case["file"])
    try:
        pixels = plugin.read_pixels(folder, case, **how)
        age = plugin.read_person(folder, case).get("age") if form.has_age and hasattr(plugin, "read_person") else 0.0
    except UserError as refusal:
        stops = isinstance(refusal, DiskError)
        return Specimen(problem=refusal.kind, form=form.words, bits=form.bits, stops=stops)
    # the shape is hashed as well: two images of other proportions may have the same bytes
    digest = hashlib.blake2b(f"{pixels.shape}".encode() + pixels.tobytes(), digest_size=16).hexdigest()
    return Specimen(
        form=form.words,
        shape=pixels.shape,
        digest=digest,
        blank=is_blank(pixels),
        strange_age=not is_known(age),
        bits=form.bits,
    )


def _lost(case: Mapping[str, Any]) -> Specimen:
    """The specimen of a case whose decoder ended the process."""
    return Specimen(problem=CRASHED)
