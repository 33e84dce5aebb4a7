"""A sample of an archive's volumes, and the result of reading each and its mask."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headwater.core import registry
from headwater.core.errors import DiskError, UserError
from headwater.core.process_pool import in_order
from headwater.core.progress import bar
from headwater.core.records import Choice
from headwater.data.image_sample import CRASHED, Specimen
from headwater.data.io.forms import form_of
from headwater.data.io.volumes import refuse_other_grid
from headwater.data.volume_preparation import ORIENTATION


def examined(
    rows: list[dict[str, Any]], *, archive: str, folder: Path, options: Mapping[str, Any], workers: int
) -> list[Specimen]:
    """The specimens of these cases of an archive."""
    work = partial(_examined, kind=Choice(name=archive, options=dict(options)), folder=folder)
    results = in_order(work, rows, lost=lambda case: Specimen(problem=CRASHED), workers=workers, chunk=1)
    return list(bar(results, total=len(rows), what=f"doctor {archive}"))


def _examined(case: Mapping[str, Any], *, kind: Choice, folder: Path) -> Specimen:
    """The specimen of a case, whose shape is (x, y, z); runs in a worker."""
    plugin, options = registry.load("datasets", kind.name), registry.chosen("datasets", kind)
    form = form_of(folder / case["file"]).words
    try:
        with warnings.catch_warnings():
            # decoders put names of files into warnings, and the doctor's page must not name any
            warnings.simplefilter("ignore")
            volume = plugin.read_volume(folder, case, options)
            mask = plugin.read_mask(folder, case, options) if hasattr(plugin, "read_mask") else None
            if mask is not None:
                refuse_other_grid(mask, image=volume, file="its mask")
    except UserError as refusal:
        return Specimen(problem=refusal.kind, form=form, stops=isinstance(refusal, DiskError))
    voxels = np.ascontiguousarray(volume.turned(ORIENTATION).voxels)
    digest = hashlib.blake2b(f"{voxels.shape}".encode() + voxels.tobytes(), digest_size=16).hexdigest()
    return Specimen(form=form, shape=voxels.shape, digest=digest, blank=bool(voxels.min() == voxels.max()))


def descriptions(specimens: list[Specimen], *, many: int) -> Iterator[str]:
    """How many volumes were read, and of which sides they are."""
    yield f"Sample       {len(specimens):,} of {many:,} volumes read"
    if shapes := [specimen.shape for specimen in specimens if specimen.shape]:
        ranges = " x ".join(f"{min(sides)}-{max(sides)}" for sides in zip(*shapes, strict=True))
        common, count = Counter(shapes).most_common(1)[0]
        yield f"Voxels       {ranges}; {count:,} are {' x '.join(map(str, common))}"
