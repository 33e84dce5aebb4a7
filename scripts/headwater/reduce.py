"""Picks the images of a corpus that a pre-training shall see; pixels are not copied, only row numbers are written.

The manifest tells of every training image whether it is kept, and else which kept one stands for it and how far it is.
"""

import time
from pathlib import Path

import numpy as np
import pandas as pd

from headwater import formats, plugins
from headwater.hashes import KINDS, LEDGER, WORDS
from headwater.records import Choice
from headwater.reductions import Kept
from headwater.refusals import Refusal


def reduce(
    *,
    reduction: Choice,
    cases: Path,
    images: Path,
    hashes: Path,
    rows: Path,
    manifest: Path,
    like: Path | None = None,
) -> None:
    """Write to ROWS which training images of an archive a reduction keeps; validation and test images never enter.

    LIKE are the rows of the reduction that this one is to keep as many images as.
    """
    begun = time.perf_counter()
    corpus, pixels = _corpus(cases, images=images, hashes=hashes)
    if like is not None:
        reduction = _as_many(reduction, like=like, corpus=corpus)
    options = plugins.chosen("reductions", reduction)
    kept = plugins.load("reductions", reduction.name).keep(corpus, pixels, options=options)
    positions = kept.positions
    if not len(positions):
        raise Refusal(
            f"{reduction.name} keeps none of {len(corpus)} images", file=cases, remedy="choose a milder reduction"
        )
    formats.write_table(corpus.loc[positions, ["row", "case"]], rows, "rows")
    formats.write_table(_manifest(corpus, kept), manifest, "manifest")
    volumes = len(corpus[["patient", "volume"]].drop_duplicates())
    print(
        f"reduce {reduction.name}: {len(positions)} of {len(corpus)} training images kept"
        f" ({len(positions) / len(corpus):.1%}; {volumes} volumes) in {time.perf_counter() - begun:.1f} s"
    )


def _corpus(cases: Path, *, images: Path, hashes: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """The training images in the order of the method, with their volumes and hashes; and the pixels of all images."""
    table, pixels, words = formats.read_table(cases, "cases"), formats.read_images(images), formats.read_hashes(hashes)
    for file, told in ((images, pixels), (hashes, words)):
        if len(told) != len(table):
            raise Refusal(
                f"holds {len(told)} images, but {cases} lists {len(table)}", file=file, remedy="run prepare again"
            )
    if words.shape[1] != WORDS:
        raise Refusal(
            f"has {words.shape[1]} words for each image, not {WORDS}", file=hashes, remedy="run prepare again"
        )
    corpus = _ordered(table[table["split"] == "train"])
    if corpus.empty:
        raise Refusal("no image is in the train split", file=cases, remedy="look at the archive's splits")
    short = words[corpus["row"].to_numpy(), LEDGER:]
    return corpus.assign(volume=_volumes(corpus), **dict(zip(KINDS, short.T, strict=True))), pixels


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Patient by patient, so that a reduction means the same whatever the order of an archive's table is.

    Slices go along the volume where the archive tells positions: names of files may have no order that means anything.
    """
    slices = ["study", "series", "position"] if "position" in table.columns else []
    by = ["patient", *(column for column in slices if column in table.columns), "row"]
    return table.sort_values(by, kind="stable", ignore_index=True)


def _volumes(corpus: pd.DataFrame) -> pd.Series:
    """What an image is a slice of, as far as the archive tells: its series, examination or patient."""
    volumes = corpus["study"].where(corpus["study"] != "", corpus["patient"])
    if "series" not in corpus.columns:
        return volumes
    return corpus["series"].where(corpus["series"] != "", volumes)


def _as_many(reduction: Choice, *, like: Path, corpus: pd.DataFrame) -> Choice:
    """The reduction with the share of the images that another one keeps, in place of that one's name."""
    share = len(formats.read_column(like, "row")) / len(corpus)
    options = {name: option for name, option in reduction.options.items() if name != "like"}
    return Choice(name=reduction.name, options={**options, "share": share})


def _manifest(corpus: pd.DataFrame, kept: Kept) -> pd.DataFrame:
    """The "manifest" of what became of each image, in the order of the method."""
    leads, told = kept.leader >= 0, corpus.iloc[kept.leader]
    return pd.DataFrame(
        {
            **{column: corpus[column] for column in ("row", "case", "patient", "volume")},
            "position": corpus["position"] if "position" in corpus.columns else np.nan,
            "kept": kept.leader == np.arange(len(corpus)),
            "leader": np.where(leads, told["case"], ""),
            "leader_row": np.where(leads, told["row"], -1),
            "distance": np.nan if kept.distance is None else kept.distance,
        }
    )
