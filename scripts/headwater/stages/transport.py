"""Transport: what a network that was fitted to one hospital's images says of the test images of others."""

from pathlib import Path

import numpy as np
import pandas as pd

from headwater.core.errors import UserError, did_you_mean
from headwater.data import store, tables
from headwater.study.grid import Run
from headwater.study.shared_labels import Exchange, Exchanges
from headwater.training import ddp, predictor


def transport(
    *,
    run: Run,
    asked: Exchanges,
    cases: list[Path],
    images: list[Path],
    model: Path,
    elsewhere: Path,
    threads: int = 1,
    device: ddp.Wanted = "auto",
) -> None:
    """Write the scores of a run's model for the test splits of other datasets: one row per dataset, case and finding.

    `cases` and `images` are those of the datasets in `asked`, in its order. Images of another size than those that the
    network was fitted to are brought to that size, bilinearly with antialiasing.
    """
    with ddp.world(threads=threads, device=device) as world:
        network = predictor.read(run, model)
        parts = []
        for one, of_cases, of_images in zip(asked.others, cases, images, strict=True):
            data = store.read(of_cases, images=of_images, seen=one.seen)
            _known(one, network.labels, data.labels, files=(model, of_cases))
            rows, scores = network.scores(data, split="test", cases=of_cases, world=world)
            parts.append(_table(run, one, data, rows, _of_findings(one, network.labels, scores)))
        if world.first:
            tables.write_table(pd.concat(parts, ignore_index=True), elsewhere, "elsewhere", origin=network.origin)


def _known(one: Exchange, fitted_labels: list[str], tested_labels: list[str], *, files: tuple[Path, Path]) -> None:
    """Refuse labels that the model or the cases do not have."""
    for label, asked in one.labels:
        for name, known, file in ((asked, fitted_labels, files[0]), (label, tested_labels, files[1])):
            if name not in known:
                raise UserError(f"has no label {name!r}", file=file, remedy=did_you_mean(name, known))


def _of_findings(one: Exchange, fitted_labels: list[str], scores: np.ndarray) -> np.ndarray:
    """The scores (rows, findings) of what is asked, in the order of the exchange."""
    return scores[:, [fitted_labels.index(asked) for _, asked in one.labels]]


def _table(run: Run, one: Exchange, data: store.Prepared, rows: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    """Scores (rows, findings) on one other dataset as a table."""
    chosen = data.cases.iloc[rows]
    labels, asked = (list(names) for names in zip(*one.labels, strict=True))
    return pd.DataFrame(
        {
            "dataset": run.dataset.name,
            "source": run.source.name,
            "recipe": run.recipe.name,
            "seed": run.seed,
            "tested_on": one.dataset,
            "case": np.repeat(chosen["case"].to_numpy(), len(labels)),
            "patient": np.repeat(chosen["patient"].to_numpy(), len(labels)),
            "label": np.tile(np.array(labels, dtype=object), len(rows)),
            "asked": np.tile(np.array(asked, dtype=object), len(rows)),
            "target": data.targets(rows, labels).ravel(),
            "score": scores.ravel(),
        }
    )
