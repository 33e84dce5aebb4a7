"""Picks the images of a corpus that a pre-training shall see; pixels are not copied, only row numbers are written."""

from pathlib import Path

from headwater import formats, plugins
from headwater.records import Choice
from headwater.refusals import Refusal


def reduce(*, reduction: Choice, cases: Path, images: Path, rows: Path) -> None:
    """Write to ROWS which training images of an archive a reduction keeps; validation and test images never enter."""
    options = plugins.chosen("reductions", reduction)
    table = formats.read_table(cases, "cases")
    pixels = formats.read_images(images)
    if len(pixels) != len(table):
        raise Refusal(
            f"holds {len(pixels)} images, but {cases} lists {len(table)}", file=images, remedy="run prepare again"
        )
    # patient by patient, so that a reduction means the same whatever the order of an archive's table is
    corpus = table[table["split"] == "train"].sort_values(["patient", "row"], kind="stable", ignore_index=True)
    if corpus.empty:
        raise Refusal("no image is in the train split", file=cases, remedy="look at the archive's splits")
    kept = plugins.load("reductions", reduction.name).keep(corpus, pixels, options=options)
    if not len(kept):
        raise Refusal(
            f"{reduction.name} keeps none of {len(corpus)} images", file=cases, remedy="choose a milder reduction"
        )
    formats.write_table(corpus.loc[kept, ["row", "case"]], rows, "rows")
    print(f"reduce {reduction.name}: {len(kept)} of {len(corpus)} training images kept")
