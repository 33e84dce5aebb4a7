"""Synthetic scores of networks on two datasets' test cases: of those fitted there, and of those fitted to the other."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from headwater.evaluation.predictions import ELSEWHERE
from headwater.study.comparison import Comparison
from headwater.study.shared_labels import Exchange, Exchanges
from predictions_made import cohort, comparison, counted, scored, written

LABELS = {"Effusion": 0.4, "Mass": 0.3, "Hernia": 0.2}
"""Labels of the tested dataset, and the share of patients that bear each."""

SHARED = (("Mass", "a mass"), ("Effusion", "pleural effusion"))
"""What the other dataset has of them, and what it is called there."""

STRENGTHS = {"random": 0.3, "dino": 1.0, "dino_again": 1.0}


@dataclass(frozen=True, kw_only=True)
class Made:
    """The arguments of `compare` and `cross` on the tested dataset."""

    comparison: Comparison
    fitted_to: Exchanges
    predictions: list[Path]
    elsewhere: list[Path]
    labels: Path
    labels_elsewhere: list[Path]
    cases: pd.DataFrame


def made(folder: Path, *, seeds: tuple[int, ...] = (0, 1), untaught: tuple[str, ...] = (), **changes) -> Made:
    """A tested dataset `chest` with a control, and networks fitted to `other`, worse than those at home."""
    cases = cohort(patients=60, images=2, labels=LABELS)
    plan = comparison(sources=tuple(STRENGTHS), seeds=seeds, again={"dino_again": "dino"}, **changes)
    at_home = written(folder, cases, strengths=STRENGTHS, seeds=seeds)
    plain = {source: strength for source, strength in STRENGTHS.items() if source != "dino_again"}
    abroad = [
        elsewhere(folder, cases, source=source, seed=seed, strength=strength / 2)
        for source, strength in plain.items()
        for seed in seeds
    ]
    there = written(folder, cases.rename(columns=dict(SHARED)), strengths={"random": 1.0}, seeds=(0,), dataset="other")
    return Made(
        comparison=plan,
        fitted_to=Exchanges(others=(Exchange(dataset="other", labels=SHARED),)),
        predictions=at_home,
        elsewhere=abroad,
        labels=counted(folder / "labels.parquet", at_home),
        labels_elsewhere=[counted(folder / "there.parquet", there, untaught=untaught)],
        cases=cases,
    )


def elsewhere(folder: Path, cases: pd.DataFrame, *, source: str, seed: int, strength: float) -> Path:
    """What a network fitted to `other` says of the cases, and something that it says of a third dataset's."""
    said = scored(cases, source=source, seed=seed, strength=strength, dataset="other", noise_of=f"{source} abroad")
    said = said[said["label"].isin(dict(SHARED))].assign(asked=lambda frame: frame["label"].map(dict(SHARED)))
    both = pd.concat([said.assign(tested_on="chest"), said.assign(tested_on="third", score=0.0)])
    file = folder / "other" / source / "finetune" / f"seed{seed}" / "elsewhere.parquet"
    ELSEWHERE.write(both, file)
    return file
