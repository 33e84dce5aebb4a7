"""Splits: which patients teach, which select and which test; never the same patient twice."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headwater.core.errors import UserError
from headwater.data.tables import SPLITS, TARGET, labels_of


def with_splits(
    catalogue: pd.DataFrame,
    *,
    validation: float,
    test: float,
    seed: int,
    files: Mapping[str, Path],
    apart: bool = True,
) -> pd.DataFrame:
    """The catalogue with every case in "train", "validation" or "test"; official splits stay as they are.

    Where no case is officially "test", the share `test` of the patients becomes it; where none is "validation", the
    share `validation` of the patients that are left does. Patients are drawn evenly over the labels, by seed and
    name alone: the order of rows does not matter. `files` says which file names which official split, for refusals.
    Official splits that share a patient are refused, unless they need not be `apart`.
    """
    refuse_strange_splits(catalogue)
    if apart:
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


def refuse_strange_splits(catalogue: pd.DataFrame) -> None:
    """Refuse a catalogue that names a split which there is not."""
    strange = set(catalogue["split"]) - {"", *SPLITS}
    if strange:
        raise UserError(f"{min(strange)!r} is no split", remedy="the archive's plug-in may say train, validation, test")


def refuse_shared_patients(catalogue: pd.DataFrame, *, files: Mapping[str, Path]) -> None:
    """Refuse a catalogue in which one patient has cases in two official splits."""
    splits = catalogue.groupby("patient")["split"].agg(lambda names: tuple(sorted(set(names))))
    shared = splits[splits.map(len) > 1]
    if len(shared):
        patient, (one, other, *_) = min(shared.items())
        places = [str(files.get(name, name or "no split")) for name in (one, other)]
        raise UserError(
            f"patient {patient} is in {one or 'no split'} and in {other}, which {places[0]} and {places[1]} say"
            f" ({len(shared)} such patients)",
            remedy="move all images of a patient to one of the two, or leave it to the ledger: patients_apart: false",
        )


def refuse_empty_split(catalogue: pd.DataFrame) -> None:
    """Refuse a catalogue that leaves a split without a case."""
    patients = catalogue["patient"].nunique()
    for name in SPLITS:
        if not (catalogue["split"] == name).any():
            raise UserError(
                f"no case is left for the {name} split of {len(catalogue)} cases, {patients} patients",
                remedy="give more patients or another share" if name != "train" else "give more patients",
            )


ALL = "all"
"""What stands for a split where all of them are meant."""


def digests(cases: pd.DataFrame) -> dict[str, str]:
    """For each split, and for all: SHA-256 over its sorted (split, patient, case), whatever the order of rows."""
    inside = cases[cases["split"].isin(SPLITS)]
    triples = sorted(zip(inside["split"], inside["patient"], inside["case"], strict=True))
    chosen = {name: [triple for triple in triples if triple[0] == name] for name in SPLITS} | {ALL: triples}
    return {name: _digest(part) for name, part in chosen.items()}


def _digest(triples: list[tuple[str, str, str]]) -> str:
    lines = "".join(json.dumps(triple) + "\n" for triple in triples)
    return hashlib.sha256(lines.encode()).hexdigest()


def account(cases: pd.DataFrame, *, made: Mapping[str, Any]) -> dict[str, Any]:
    """Who is in which split, as numbers and digests, and how the splits were made."""
    digest = digests(cases)
    parts = {name: cases[cases["split"] == name] for name in SPLITS}
    splits = {
        name: {"cases": len(part), "patients": int(part["patient"].nunique()), "digest": digest[name]}
        for name, part in parts.items()
    }
    return {**made, "splits": splits, "digest": digest[ALL]}


def origin(listed: pd.DataFrame, *, validation: float, test: float, seed: int) -> dict[str, Any]:
    """How the splits of a catalogue come about: official where it names cases of one, else drawn by patient."""
    official = set(listed["split"])
    shares = {"validation": validation, "test": test}
    made = {
        name: {"made": "official"} if name in official else {"made": "drawn by patient", "share": share, "seed": seed}
        for name, share in shares.items()
    }
    # who validates or tests by lot was taken from the official training cases
    given = {"train", *shares} <= official
    return {"made": {**made, "train": {"made": "official" if given else "what is left"}}}


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
