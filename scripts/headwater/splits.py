"""Splits: which patients teach, which select and which test; never the same patient twice."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from headwater.formats import SPLITS, TARGET, labels_of
from headwater.refusals import Refusal


def with_splits(
    catalogue: pd.DataFrame, *, validation: float, test: float, seed: int, files: Mapping[str, Path]
) -> pd.DataFrame:
    """The catalogue with every case in "train", "validation" or "test"; official splits stay as they are.

    Where no case is officially "test", the share `test` of the patients becomes it; where none is "validation", the
    share `validation` of the patients that are left does. Patients are drawn evenly over the labels, by seed and
    name alone: the order of rows does not matter. `files` says which file names which official split, for refusals.
    """
    refuse_shared_patients(catalogue, files=files)
    split = catalogue["split"].replace("", "train")
    for name, share in (("test", test), ("validation", validation)):
        if not (split == name).any():
            pool = catalogue[split == "train"]
            drawn = _drawn(pool, share=share, key=f"{seed}/{name}")
            split = split.mask((split == "train") & catalogue["patient"].isin(drawn), name)
    made = catalogue.assign(split=split)
    refuse_empty_split(made)
    return made


def refuse_shared_patients(catalogue: pd.DataFrame, *, files: Mapping[str, Path]) -> None:
    """Refuse a catalogue in which one patient has cases in two official splits, or a split of unknown name."""
    strange = set(catalogue["split"]) - {"", *SPLITS}
    if strange:
        raise Refusal(f"{min(strange)!r} is no split", remedy="the archive's plug-in may say train, validation, test")
    splits = catalogue.groupby("patient")["split"].agg(lambda names: tuple(sorted(set(names))))
    shared = splits[splits.map(len) > 1]
    if len(shared):
        patient, (one, other, *_) = min(shared.items())
        places = [str(files.get(name, name or "no split")) for name in (one, other)]
        raise Refusal(
            f"patient {patient} is in {one or 'no split'} and in {other}, which {places[0]} and {places[1]} say"
            f" ({len(shared)} such patients)",
            remedy="move all images of a patient to one of the two",
        )


def refuse_empty_split(catalogue: pd.DataFrame) -> None:
    """Refuse a catalogue that leaves a split without a case."""
    patients = catalogue["patient"].nunique()
    for name in SPLITS:
        if not (catalogue["split"] == name).any():
            raise Refusal(
                f"no case is left for the {name} split of {len(catalogue)} cases, {patients} patients",
                remedy="give more patients or another share" if name != "train" else "give more patients",
            )


def _drawn(cases: pd.DataFrame, *, share: float, key: str) -> list[str]:
    """That share of the patients, at least one of them: every 1/share-th in an order that keeps like with like."""
    rarest = _rarest_label(cases)
    order = sorted(rarest.index, key=lambda patient: (rarest[patient], _number(f"{key}/{patient}")))
    # systematic sampling: k-fold splitters know the shares 1/k only, and shuffling ones no labels
    start = _number(key) / 2**64
    steps = np.floor(np.arange(len(order) + 1) * share + start)
    drawn = [patient for patient, taken in zip(order, np.diff(steps) > 0, strict=True) if taken]
    return drawn or order[:1]


def _rarest_label(cases: pd.DataFrame) -> pd.Series:
    """For each patient the rank of the rarest label that any of its cases bears (the rarest is 0)."""
    labels = labels_of(cases)
    borne = cases.groupby("patient")[[TARGET + label for label in labels]].max() == 1
    if not labels:
        return pd.Series(0, index=pd.unique(cases["patient"]))
    ranked = borne[sorted(borne.columns, key=lambda column: (borne[column].sum(), column))]
    first = ranked.to_numpy().argmax(axis=1)
    return pd.Series(np.where(ranked.any(axis=1), first, len(labels)), index=borne.index)


def _number(text: str) -> int:
    """A number below 2**64 that depends on the text alone."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
