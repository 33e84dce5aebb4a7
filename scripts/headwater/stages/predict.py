"""Predict: what a fitted network says of every test image, and of every validation image, once each."""

from pathlib import Path

import numpy as np
import pandas as pd

from headwater.core.errors import UserError
from headwater.data import splits, store, tables
from headwater.study.grid import Run
from headwater.training import checkpoint, ddp, predictor


def predict(
    *,
    run: Run,
    cases: Path,
    images: Path,
    model: Path,
    predictions: Path,
    validation: Path,
    saved: Path | None = None,
    threads: int = 1,
    device: ddp.Wanted = "auto",
) -> None:
    """Write the scores of a run's model for the test split: one row per case and label, in the order of the cases.

    Those for the validation split, in the same form, are for what must be settled before the test split is looked at.
    In the folder `saved` lies the progress of trainings; that of this run has served, and is taken away.
    """
    with ddp.world(threads=threads, device=device) as world:
        data = store.read(cases, images=images, seen=run.dataset.seen)
        network = predictor.read(run, model)
        if network.size != data.size:
            raise UserError(
                f"was fitted to images of {network.size} pixels, these have {data.size}",
                file=model,
                remedy="run finetune again",
            )
        origin = _origin(network, data)
        for split, product in (("validation", validation), ("test", predictions)):
            rows, scores = network.scores(data, split=split, cases=cases, world=world)
            if world.first:
                table = _table(run, data, rows, network.labels, scores)
                tables.write_table(table, product, "predictions", origin=origin)
        if world.first and saved is not None:
            checkpoint.forget(saved / f"{run.digest}.pt")


def _origin(network: predictor.Fitted, data: store.Prepared) -> dict[str, str]:
    """What the scores come from; refuses a model that was fitted to other splits than it is tested on."""
    split = splits.digests(data.cases)[splits.ALL]
    if network.metadata.get("split", split) != split:
        raise UserError(
            "was fitted to other splits of these cases", file=network.file, remedy="delete it and run finetune again"
        )
    return {**network.origin, "split": split}


def _table(run: Run, data: store.Prepared, rows: np.ndarray, labels: list[str], scores: np.ndarray) -> pd.DataFrame:
    """Scores (rows, labels) as a table of predictions."""
    chosen = data.cases.iloc[rows]
    return pd.DataFrame(
        {
            "dataset": run.dataset.name,
            "source": run.source.name,
            "recipe": run.recipe.name,
            "seed": run.seed,
            "case": np.repeat(chosen["case"].to_numpy(), len(labels)),
            "patient": np.repeat(chosen["patient"].to_numpy(), len(labels)),
            "label": np.tile(np.array(labels, dtype=object), len(rows)),
            "target": data.targets(rows, labels).ravel(),
            "score": scores.ravel(),
        }
    )
