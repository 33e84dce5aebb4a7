"""Synthetic predictions with a planted strength for each source, as `predict` would write them."""

from pathlib import Path

import numpy as np
import pandas as pd

from headwater.data.index import LABELS
from headwater.data.store import CASES
from headwater.evaluation.predictions import PREDICTIONS
from headwater.study.comparison import Comparison


def cohort(*, patients: int, images: int, labels: dict[str, float], seed: int = 0) -> pd.DataFrame:
    """Cases with a target per label; a label's share of patients bear it, in each of their images."""
    draw = np.random.default_rng(seed)
    bears = {label: draw.permutation(np.arange(patients) < round(share * patients)) for label, share in labels.items()}
    return pd.DataFrame(
        [
            {
                "case": f"c{patient:05d}_{image}",
                "patient": f"p{patient:05d}",
                **{label: float(bears[label][patient]) for label in labels},
            }
            for patient in range(patients)
            for image in range(images)
        ]
    )


def scored(
    cases: pd.DataFrame,
    *,
    source: str,
    seed: int,
    strength: float,
    recipe: str = "finetune",
    dataset: str = "chest",
    noise_of: str | None = None,
) -> pd.DataFrame:
    """One run's predictions: target x strength + a disturbance of the patient and one of the image."""
    labels = [column for column in cases.columns if column not in ("case", "patient")]
    parts = []
    for position, label in enumerate(labels):
        key = [seed, position, *(noise_of or source).encode()]
        draw = np.random.default_rng(key)
        shared = np.random.default_rng([1, position])
        at = pd.factorize(cases["patient"])[0]
        of_patient = draw.normal(size=at.max() + 1)[at] * 0.4 + shared.normal(size=at.max() + 1)[at] * 0.6
        score = np.nan_to_num(cases[label].to_numpy()) * strength + of_patient + draw.normal(size=len(cases)) * 0.4
        parts.append(
            pd.DataFrame(
                {
                    "dataset": dataset,
                    "source": source,
                    "recipe": recipe,
                    "seed": seed,
                    "case": cases["case"],
                    "patient": cases["patient"],
                    "label": label,
                    "target": cases[label],
                    "score": score,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def written(
    folder: Path,
    cases: pd.DataFrame,
    *,
    strengths: dict[str, float],
    seeds: tuple[int, ...] = (0, 1),
    dataset: str = "chest",
    recipe: str = "finetune",
    product: str = "predictions",
) -> list[Path]:
    """The predictions of each source and seed below `folder`; `product` says of which split."""
    files = []
    for source, strength in strengths.items():
        for seed in seeds:
            frame = scored(cases, source=source, seed=seed, strength=strength, dataset=dataset, recipe=recipe)
            file = folder / dataset / source / recipe / f"seed{seed}" / f"{product}.parquet"
            PREDICTIONS.write(frame, file)
            files.append(file)
    return files


def comparison(*, sources: tuple[str, ...], **changes) -> Comparison:
    """A comparison of these sources with the first of them."""
    settings = {
        "reference": sources[0],
        "dataset": "chest",
        "recipes": ("finetune",),
        "seeds": (0, 1),
        "resamples": 512,
    }
    return Comparison(sources=sources, **(settings | changes))


def counted(path: Path, files: list[Path], *, untaught: tuple[str, ...] = ()) -> Path:
    """The table of labels that `prepare` would write: of those in `untaught` train holds no positive case."""
    labels = sorted({label for file in files for label in pd.read_parquet(file)["label"].unique()})
    rows = [
        {
            "label": label,
            "split": split,
            "positives": 0 if split == "train" and label in untaught else 20,
            "negatives": 20,
            "unknown": 0,
            "positive_patients": 0 if split == "train" and label in untaught else 20,
            "negative_patients": 20,
        }
        for label in labels
        for split in ("train", "validation", "test")
    ]
    LABELS.write(pd.DataFrame(rows), path)
    return path


def of_validation(cases: pd.DataFrame) -> pd.DataFrame:
    """The same as cases of other patients."""
    return cases.assign(case="v" + cases["case"], patient="v" + cases["patient"])


def told(path: Path, cases: pd.DataFrame, **columns) -> Path:
    """The table of cases that `prepare` would write of test cases; it tells nothing but `columns`."""
    nothing = {"study": "", "site": "", "file": "", "split": "test", "sex": "", "age": np.nan, "view": "", "pixels": ""}
    frame = cases[["case", "patient"]].assign(row=np.arange(len(cases)), **(nothing | columns))
    CASES.write(frame, path)
    return path
