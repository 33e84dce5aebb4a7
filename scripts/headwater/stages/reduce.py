"""Picks the images of a corpus that a pre-training shall see; pixels are not copied, only row numbers are written.

The manifest tells of every training image whether it is kept, and else which kept one stands for it and how far it is.
"""

import time
from pathlib import Path

import numpy as np
import pandas as pd

from headwater.core import registry, timing
from headwater.core.errors import UserError
from headwater.core.fingerprints import sha256
from headwater.core.records import Choice, Record
from headwater.data import store, tables
from headwater.data.perceptual_hash import KINDS, LEDGER, WORDS
from headwater.data.reductions import Kept
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
    with timing.counted(seconds_of_reduction(rows)) as told:
        made = {"rows": rows, "manifest": manifest, "like": like, "features": features}
        told |= _reduce(reduction, cases=cases, images=images, hashes=hashes, **made)
    print(
        f"reduce {reduction.name}: {told['kept']} of {told['images']} training images kept"
        f" ({told['kept'] / told['images']:.1%}; {told['volumes']} volumes) in {time.perf_counter() - begun:.1f} s"
    )


def _reduce(
    reduction: Choice,
    *,
    cases: Path,
    images: Path,
    hashes: Path,
    rows: Path,
    manifest: Path,
    like: Path | None,
    features: Path | None,
) -> dict[str, int]:
    """How many images there are and are kept, of how many volumes, once the tables are written."""
    corpus, pixels = _corpus(cases, images=images, hashes=hashes)
    if like is not None:
        reduction = _as_many(reduction, like=like, corpus=corpus)
    options = registry.chosen("reductions", reduction)
    seen, looked_at = _seen(corpus, pixels, options=options, features=features)
    kept = registry.load("reductions", reduction.name).keep(seen, looked_at, options=options)
    positions = kept.positions
    if not len(positions):
        raise UserError(
            f"{reduction.name} keeps none of {len(corpus)} images", file=cases, remedy="choose a milder reduction"
        )
    origin = {"features": sha256(features)} if features else None
    tables.write_table(corpus.loc[positions, ["row", "case"]], rows, "rows", origin=origin)
    tables.write_table(_manifest(corpus, kept), manifest, "manifest", origin=origin)
    volumes = len(corpus[["patient", "volume"]].drop_duplicates())
    return {"images": len(corpus), "kept": len(positions), "volumes": volumes}


def _corpus(cases: Path, *, images: Path, hashes: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """The training images in the order of the method, with their volumes and hashes; and the pixels of all images."""
    table, pixels, words = tables.read_table(cases, "cases"), store.read_images(images), store.read_hashes(hashes)
    for file, told in ((images, pixels), (hashes, words)):
        if len(told) != len(table):
            raise UserError(
                f"holds {len(told)} images, but {cases} lists {len(table)}", file=file, remedy="run prepare again"
            )
    if words.shape[1] != WORDS:
        raise UserError(
            f"has {words.shape[1]} words for each image, not {WORDS}", file=hashes, remedy="run prepare again"
        )
    corpus = _ordered(table[table["split"] == "train"])
    if corpus.empty:
        raise UserError("no image is in the train split", file=cases, remedy="look at the archive's splits")
    short = words[corpus["row"].to_numpy(), LEDGER:]
    return corpus.assign(volume=_volumes(corpus), **dict(zip(KINDS, short.T, strict=True))), pixels


def _seen(
    corpus: pd.DataFrame, pixels: np.ndarray, *, options: Record, features: Path | None
) -> tuple[pd.DataFrame, np.ndarray]:
    """What a reduction looks at: the pixels; or features, with `row` pointing to the image's place among them."""
    source = getattr(options, "source", None)
    if (source is None) != (features is None):
        raise UserError(
            f"this reduction looks at {'pixels' if source is None else f'what {source} sees'}",
            file=features,
            remedy="leave --features out" if source is None else "give --features what that source's encoder sees",
        )
    if features is None:
        return corpus, pixels
    found = store.read_features(features)
    if len(found) != len(corpus):
        thing = f"holds features of {len(found)} images, the train split has {len(corpus)}"
        raise UserError(thing, file=features, remedy="delete it and run embed again")
    return corpus.assign(row=np.argsort(np.argsort(corpus["row"].to_numpy()))), found


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
    share = len(tables.read_column(like, "row")) / len(corpus)
    named = registry.option("reductions", reduction.name, means="reduction")
    options = {name: option for name, option in reduction.options.items() if name != named}
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
