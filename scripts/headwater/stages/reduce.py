"""Picks the images of a corpus that a pre-training shall see; pixels are not copied, only row numbers are written.

The manifest tells of every training image whether it is kept, and else which kept one stands for it and how far it is.
"""

import time
from pathlib import Path

from headwater.core import timing
from headwater.core.records import Choice
from headwater.data.reduction import reduced
from headwater.study.paths import seconds_of_reduction


def reduce(
    *,
    reduction: Choice,
    cases: Path,
    images: Path,
    hashes: Path,
    rows: Path,
    manifest: Path,
    like: Path | None = None,
    features: Path | None = None,
) -> None:
    """Write to ROWS which training images of an archive a reduction keeps; validation and test images never enter.

    LIKE are the rows of the reduction that this one is to keep as many images as; FEATURES what an encoder sees in each
    training image, for a reduction that asks for it.
    """
    begun = time.perf_counter()
    with timing.counted(seconds_of_reduction(rows)) as counts:
        files = {"rows": rows, "manifest": manifest, "like": like, "features": features}
        counts |= reduced(reduction, cases=cases, images=images, hashes=hashes, **files)
    share, seconds = counts["kept"] / counts["images"], time.perf_counter() - begun
    print(
        f"reduce {reduction.name}: {counts['kept']} of {counts['images']} training images kept"
        f" ({share:.1%}; {counts['volumes']} volumes) in {seconds:.1f} s"
    )
