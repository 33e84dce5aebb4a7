"""Predict: what a fitted network says of every test image, and of every validation image, once each."""

from pathlib import Path

import numpy as np
import pandas as pd

from headwater import fitted, formats, grid, prepared, splits
from headwater.engine import checkpoint, distributed
from headwater.refusals import Refusal


def predict(
    *,
    run: grid.Run,
    cases: Path,
    images: Path,
    model: Path,
    predictions: Path,
    validation: Path,
    saved: Path | None = None,
    threads: int = 1,
    device: distributed.Wanted = "auto",
) -> None:
    """Write the scores of a run's model for the test split: one row per case and label, in the order of the cases.

    Those for the validation split, in the same form, are for what must be settled before the test split is looked at.
    In the folder `saved` lies the progress of trainings; that of this run has served, and is taken away.
    """
    with distributed.world(threads=threads, device=device) as world:
        data = prepared.read(cases, images=images, seen=run.dataset.seen)
        network = fitted.read(run, model)
        if network.size != data.size:
            raise Refusal(
                f"was fitted to images of {network.size} pixels, these have {data.size}",
                file=model,
                remedy="run finetune again",
            )
        origin = _origin(network, data)
        for split, product in (("validation", validation), ("test", predictions)):
            rows, scores = network.scores(data, split=split, cases=cases, world=world)
            if world.first:
                table = _table(run, data, rows, network.labels, scores)
                formats.write_table(table, product, "predictions", origin=origin)
        if world.first and saved is not None:
            checkpoint.forget(saved / f"{run.digest}.pt")


def _origin(network: fitted.Fitted, data: prepared.Prepared) -> dict[str, str]:
    """What the scores come from; refuses a model that was fitted to other splits than it is tested on."""
    split = splits.digests(data.cases)[splits.ALL]
    if network.metadata.get("split", split) != split:
        raise Refusal(
            "was fitted to other splits of these cases", file=network.file, remedy="delete it and run finetune again"
        )
    return {**network.origin, "split": split}


def _table(
    run: grid.Run, data: prepared.Prepared, rows: np.ndarray, labels: list[str], scores: np.ndarray
) -> pd.DataFrame:
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
