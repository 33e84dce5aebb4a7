"""Reduced corpora: the training images of an archive that a reduction keeps, and its decision on each image."""

from pathlib import Path

import numpy as np
import pandas as pd

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.fingerprints import sha256
from headwater.core.records import Choice, Record
from headwater.data import dropping, store, tables
from headwater.data.perceptual_hash import KINDS, LEDGER, SHORTEST
from headwater.data.reductions import Kept
from headwater.data.tables import FLAG, NUMBER, TEXT, WHOLE

ROWS = tables.Table(name="rows", columns={"row": WHOLE, "case": TEXT}, keys=("row",))
"""The rows of images.npy that a reduced corpus keeps, in order."""

MANIFEST = tables.Table(
    name="manifest",
    columns={
        "row": WHOLE,
        "case": TEXT,
        "patient": TEXT,
        # series, or else examination, or else patient; and the image's position in it, if the archive states it
        "volume": TEXT,
        "position": NUMBER,
        "kept": FLAG,
        # the kept image that represents it, itself if it is kept; "" and -1 if there is none
        "leader": TEXT,
        "leader_row": WHOLE,
        # from the leader; empty if the reduction measures no distance
        "distance": NUMBER,
    },
    keys=("row",),
)
"""All training images of a corpus in the order in which a reduction processed them, and its decision on each."""


def reduced(
    reduction: Choice,
    *,
    cases: Path,
    images: Path,
    hashes: Path,
    rows: Path,
    manifest: Path,
    like: Path | None,
    features: Path | None,
    dropped: Path | None,
) -> dict[str, int]:
    """Write the kept rows and the manifest; return the numbers of images, of kept images and of patients."""
    corpus, pixels = _corpus(cases, images=images, hashes=hashes, dropped=dropped)
    if pixels is None and registry.constant("reductions", reduction.name, "OF_PICTURES", default=False):
        raise UserError(f"{reduction.name} compares pictures, not volumes", file=cases, remedy="use another reduction")
    if like is not None:
        reduction = _as_many(reduction, like=like, corpus=corpus)
    options = registry.chosen("reductions", reduction)
    table, inputs = _inputs(corpus, pixels, options=options, features=features, cases=cases)
    kept = registry.load("reductions", reduction.name).keep(table, inputs, options=options)
    positions = kept.positions
    if not len(positions):
        raise UserError(
            f"{reduction.name} keeps none of {len(corpus)} images", file=cases, remedy="use a weaker reduction"
        )
    origin = {"features": sha256(features)} if features else None
    ROWS.write(corpus.loc[positions, ["row", "case"]], rows, origin=origin)
    MANIFEST.write(_manifest(corpus, kept), manifest, origin=origin)
    return {"images": len(corpus), "kept": len(positions), "patients": corpus["patient"].nunique()}


def _corpus(
    cases: Path, *, images: Path, hashes: Path, dropped: Path | None
) -> tuple[pd.DataFrame, store.Pixels | None]:
    """The training images in the order of processing, with their volumes and hashes; and the pixels of all pictures."""
    table = store.CASES.read(cases)
    of_volumes = tables.VOLUME_COLUMNS.keys() <= set(table.columns)
    pixels = None if of_volumes else store.read_pixels(images, cases=table, table=cases)
    words = store.read_hashes(hashes, cases=table, table=cases)
    if words.shape[1] < SHORTEST:
        raise UserError(
            f"has {words.shape[1]} words for each image, not {SHORTEST}", file=hashes, remedy="run prepare again"
        )
    table = dropping.without(table, dropped, file=cases)
    corpus = _ordered(table[table["split"] == "train"])
    if corpus.empty:
        raise UserError("no image is in the train split", file=cases, remedy="check the archive's splits")
    short = words[corpus["row"].to_numpy(), LEDGER:SHORTEST]
    return corpus.assign(volume=_volumes(corpus), **dict(zip(KINDS, short.T, strict=True))), pixels


def _inputs(
    corpus: pd.DataFrame, pixels: store.Pixels | None, *, options: Record, features: Path | None, cases: Path
) -> tuple[pd.DataFrame, np.ndarray | None]:
    """The input of a reduction: the pixels; or features, with `row` replaced by the position among them."""
    source = getattr(options, "source", None)
    if (source is None) != (features is None):
        raise UserError(
            f"this reduction compares {'pixels' if source is None else f'features of {source}'}",
            file=features,
            remedy="remove --features" if source is None else "pass them by --features (made by embed)",
        )
    if features is None:
        return corpus, pixels
    encoded = store.read_features(features, cases=cases, count=len(corpus))
    # features are in the order of `row`; the double argsort gives each image its rank in that order
    return corpus.assign(row=np.argsort(np.argsort(corpus["row"].to_numpy()))), encoded


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    """The cases patient by patient, so that a reduction does not depend on the order of an archive's table.

    Slices are sorted by their position in the volume if the archive states it, as file names may be in no order.
    """
    slices = ["study", "series", "position"] if "position" in table.columns else []
    by = ["patient", *(column for column in slices if column in table.columns), "row"]
    return table.sort_values(by, kind="stable", ignore_index=True)


def _volumes(corpus: pd.DataFrame) -> pd.Series:
    """The volume of each image: its series, or else examination, or else patient."""
    volumes = corpus["study"].where(corpus["study"] != "", corpus["patient"])
    if "series" not in corpus.columns:
        return volumes
    return corpus["series"].where(corpus["series"] != "", volumes)


def _as_many(reduction: Choice, *, like: Path, corpus: pd.DataFrame) -> Choice:
    """The reduction with the share that another one keeps as an option, in place of that one's name."""
    share = len(tables.read_column(like, "row")) / len(corpus)
    reference = registry.option("reductions", reduction.name, means="reduction")
    options = {name: option for name, option in reduction.options.items() if name != reference}
    return Choice(name=reduction.name, options={**options, "share": share})


def _manifest(corpus: pd.DataFrame, kept: Kept) -> pd.DataFrame:
    """The manifest: the decision on each image, in the order of processing."""
    has_leader, leaders = kept.leader >= 0, corpus.iloc[kept.leader]
    return pd.DataFrame(
        {
            **{column: corpus[column] for column in ("row", "case", "patient", "volume")},
            "position": corpus["position"] if "position" in corpus.columns else np.nan,
            "kept": kept.leader == np.arange(len(corpus)),
            "leader": np.where(has_leader, leaders["case"], ""),
            "leader_row": np.where(has_leader, leaders["row"], -1),
            "distance": np.nan if kept.distance is None else kept.distance,
        }
    )
