"""Splits: patients for training, validation and test, so that no patient is in two of them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headwater.core.errors import UserError
from headwater.core.text import many
from headwater.data.tables import SPLITS, TARGET, labels_of
from headwater.study.folds import Fold, Folds


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

    If there is no official test split, the share `test` of the training patients is drawn for it; likewise then the
    share `validation` of the remaining ones. Draws are stratified by label and depend on the seed and the patients'
    names, not on the order of rows. `files` names the file of each official split, for error messages. Official splits
    that share a patient are refused, unless `apart` is false.
    """
    refuse_strange_splits(catalogue)
    if apart:
        refuse_shared_patients(catalogue, files=files)
    split = catalogue["split"].replace("", "train")
    # test before validation, so that a drawn test split does not depend on the share for validation
    for name, share in (("test", test), ("validation", validation)):
        if not (split == name).any():
            pool = catalogue[split == "train"]
            drawn = _drawn(pool, share=share, key=f"{seed}/{name}")
            split = split.mask((split == "train") & catalogue["patient"].isin(drawn), name)
    assigned = catalogue.assign(split=split)
    refuse_empty_split(assigned)
    return assigned


def refuse_strange_splits(catalogue: pd.DataFrame) -> None:
    """Refuse a catalogue with a split that does not exist."""
    unknown = set(catalogue["split"]) - {"", *SPLITS}
    if unknown:
        remedy = "the archive's plug-in must give train, validation, test or nothing"
        raise UserError(f"there is no split {min(unknown)!r}", remedy=remedy)


def refuse_shared_patients(catalogue: pd.DataFrame, *, files: Mapping[str, Path]) -> None:
    """Refuse a catalogue in which one patient has cases in two official splits."""
    pairs = catalogue[["patient", "split"]].drop_duplicates()
    pairs = pairs[pairs.duplicated("patient", keep=False)]
    shared = pairs.groupby("patient")["split"].agg(lambda names: tuple(sorted(names)))
    if len(shared):
        patient, (first, second, *_) = min(shared.items())
        places = [f"{name} ({files[name]})" if name in files else name or "no split" for name in (first, second)]
        raise UserError(
            f"patient {patient} is in {places[0]} and in {places[1]}; {len(shared)} such patients",
            remedy="move all images of a patient to one split, or leave it to the ledger: patients_apart: false",
        )


def refuse_empty_split(catalogue: pd.DataFrame) -> None:
    """Refuse a catalogue with an empty split."""
    patients = catalogue["patient"].nunique()
    for name in SPLITS:
        if not (catalogue["split"] == name).any():
            raise UserError(
                f"no case is left for the {name} split of {len(catalogue)} cases, {patients} patients",
                remedy="add patients or change the share" if name != "train" else "add patients",
            )


def by_fold(cases: pd.DataFrame, folds: Folds) -> pd.DataFrame:
    """The cases of all splits with their fold as split, "fold0" and so on, whichever split they were in.

    The patients are dealt in turns in an order by their rarest label, so that folds differ by at most one patient with
    each rarest label, and by at most one patient in all. It depends on the seed, not on the order of rows.
    """
    inside = cases["split"].isin(SPLITS)
    order = _order(cases[inside], key=f"{folds.seed}/folds")
    if len(order) < folds.folds:
        what = f"{folds.folds} folds need as many patients or more (got {many(len(order), 'patient')})"
        raise UserError(what, remedy="set fewer folds")
    names = {patient: folds.names[place % folds.folds] for place, patient in enumerate(order)}
    return cases.assign(split=cases["split"].mask(inside, cases["patient"].map(names)))


def in_fold(cases: pd.DataFrame, fold: Fold | None) -> pd.DataFrame:
    """The cases with a fold as their test split; of the other folds a share of the patients is for validation.

    Without a fold the cases as they are.
    """
    if fold is None:
        return cases
    dealt, tested = by_fold(cases, fold.folds), fold.folds.names[fold.number]
    others = dealt["split"].isin(set(fold.folds.names) - {tested})
    key = f"{fold.folds.seed}/{tested}/validation"
    chosen = others & dealt["patient"].isin(_drawn(dealt[others], share=fold.folds.validation, key=key))
    split = dealt["split"].mask(others, "train").mask(chosen, "validation").replace(tested, "test")
    assigned = dealt.assign(split=split)
    refuse_empty_split(assigned)
    return assigned


ALL = "all"
"""The key for all splits together."""


def digests(cases: pd.DataFrame) -> dict[str, str]:
    """SHA-256 over the sorted (split, patient, case) of each split and of all; the order of rows does not matter."""
    inside = cases[cases["split"].isin(SPLITS)]
    triples = sorted(zip(inside["split"], inside["patient"], inside["case"], strict=True))
    by_split = {name: [triple for triple in triples if triple[0] == name] for name in SPLITS} | {ALL: triples}
    return {name: _digest(part) for name, part in by_split.items()}


def _digest(triples: list[tuple[str, str, str]]) -> str:
    """SHA-256 over triples."""
    # JSON quotes names, so that no two lists of triples give the same text
    lines = "".join(json.dumps(triple) + "\n" for triple in triples)
    return hashlib.sha256(lines.encode()).hexdigest()


def account(cases: pd.DataFrame, *, made: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers and digests of each split, and how the splits were made."""
    digest = digests(cases)
    parts = {name: cases[cases["split"] == name] for name in SPLITS}
    splits = {
        name: {"cases": len(part), "patients": int(part["patient"].nunique()), "digest": digest[name]}
        for name, part in parts.items()
    }
    return {**made, "splits": splits, "digest": digest[ALL]}


def origin(listed: pd.DataFrame, *, validation: float, test: float, seed: int) -> dict[str, Any]:
    """How each split of a catalogue is made: official if the archive has it, else drawn by patient."""
    official = set(listed["split"])
    shares = {"validation": validation, "test": test}
    made = {
        name: {"made": "official"} if name in official else {"made": "drawn by patient", "share": share, "seed": seed}
        for name, share in shares.items()
    }
    # a drawn validation or test split takes cases from the official training split
    untouched = {"train", *shares} <= official
    return {"made": {**made, "train": {"made": "official" if untouched else "what is left"}}}


def _drawn(cases: pd.DataFrame, *, share: float, key: str) -> list[str]:
    """That share of the patients, at least one, stratified by their rarest label."""
    order = _order(cases, key=key)
    # systematic sampling with a random start takes every 1/share-th patient of this order: stratified k-fold splitters
    # only make shares of 1/k, and shuffling group splitters do not stratify
    start = _number(key) / 2**64
    steps = np.floor(np.arange(len(order) + 1) * share + start)
    drawn = [patient for patient, is_drawn in zip(order, np.diff(steps) > 0, strict=True) if is_drawn]
    return drawn or order[:1]


def _order(cases: pd.DataFrame, *, key: str) -> list[str]:
    """The patients by their rarest label, those of one label in an order that the key gives."""
    rarest = _rarest_label(cases)
    # within a stratum patients are shuffled by a hash of their names, which does not depend on the order of rows
    return sorted(rarest.index, key=lambda patient: (rarest[patient], _number(f"{key}/{patient}")))


def _rarest_label(cases: pd.DataFrame) -> pd.Series:
    """The rank of the rarest label of each patient (0 for the rarest of all); the number of labels if it has none."""
    labels = labels_of(cases)
    # max skips NaN, so an unknown label counts as absent here
    has_label = cases.groupby("patient")[[TARGET + label for label in labels]].max() == 1
    if not labels:
        return pd.Series(0, index=pd.unique(cases["patient"]))
    ranked = has_label[sorted(has_label.columns, key=lambda column: (has_label[column].sum(), column))]
    first = ranked.to_numpy().argmax(axis=1)
    # argmax is 0 also for patients without any label
    return pd.Series(np.where(ranked.any(axis=1), first, len(labels)), index=has_label.index)


def _number(text: str) -> int:
    """A hash of the text as a number below 2**64, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
