"""Reduce: selects the images of a corpus to pre-train on; only row numbers are written, pixels are not copied.

The manifest lists every training image: whether it is kept, and if not, the kept image that represents it and their
distance.
"""

import time
from pathlib import Path

from headwater.core import text, timing
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
    dropped: Path | None = None,
) -> None:
    """Write to ROWS which training images of an archive a reduction keeps; validation and test images are never used.

    LIKE are the rows of another reduction, to keep as many images as it does; FEATURES are an encoder's features of the
    training images, for reductions that need them. Images that DROPPED lists are no training images.
    """
    begun = time.perf_counter()
    with timing.counted(seconds_of_reduction(rows)) as counts:
        files = {"rows": rows, "manifest": manifest, "like": like, "features": features, "dropped": dropped}
        counts |= reduced(reduction, cases=cases, images=images, hashes=hashes, **files)
    share, seconds = counts["kept"] / counts["images"], time.perf_counter() - begun
    print(
        f"reduce {reduction.name}: {counts['kept']} of {counts['images']} training images of"
        f" {text.many(counts['patients'], 'patient')} kept ({share:.1%}) in {seconds:.1f} s"
    )
