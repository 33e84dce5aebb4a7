"""Predict: what a fitted network says of every test image, and of every validation image, once each."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from headwater import formats, grid, prepared
from headwater.backbones._encoder import draw, normalisation
from headwater.engine import checkpoint, distributed, scoring
from headwater.refusals import Refusal
from headwater.tasks import classification


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
        data = prepared.read(cases, images=images)
        network, labels, kind = _fitted(run, model, size=data.size)
        network.to(world.device)
        for split, product in (("validation", validation), ("test", predictions)):
            rows = data.rows(split)
            if not len(rows):
                raise Refusal(f"has no {split} cases", file=cases, remedy="mend the split of the archive")
            logits = _scored(network, run, data, rows, world)
            if not torch.isfinite(logits).all():
                raise Refusal("gives scores that are no numbers", file=model, remedy="fit it again with a lower lr")
            if world.first:
                scores = classification.evidence(logits, kind)
                formats.write_table(_table(run, data, rows, labels, scores), product, "predictions")
        if world.first and saved is not None:
            checkpoint.forget(saved / f"{run.digest}.pt")


def _fitted(run: grid.Run, model: Path, *, size: int) -> tuple[classification.Classifier, list[str], str]:
    """(network, labels, kind of task) in a model file; refuses the model of another run."""
    tensors, metadata = checkpoint.load_weights(model)
    if metadata.get("run") != run.as_json():
        raise Refusal(
            f"is not the model of run {run.path} ({run.digest})", file=model, remedy="delete it and run finetune again"
        )
    if metadata["size"] != str(size):
        raise Refusal(
            f"was fitted to images of {metadata['size']} pixels, these have {size}",
            file=model,
            remedy="run finetune again",
        )
    mean, std = normalisation(metadata, file=model)
    labels = json.loads(metadata["labels"])
    encoder = draw(run.source.backbone, size=size, mean=mean, std=std, seed=0)
    network = classification.Classifier(encoder, labels=len(labels), seed=0)
    absent = network.state_dict().keys() ^ tensors.keys()
    if absent:
        raise Refusal(
            f"does not fit its network: {', '.join(sorted(absent)[:3])}", file=model, remedy="run finetune again"
        )
    network.load_state_dict(tensors)
    return network, labels, metadata["task"]


def _scored(
    network: classification.Classifier,
    run: grid.Run,
    data: prepared.Prepared,
    rows: np.ndarray,
    world: distributed.World,
) -> torch.Tensor:
    """What the network gives for some rows of the images: (rows, labels)."""
    training = run.recipe.training
    asked = {"batch": training.batch, "precision": training.precision}
    return scoring.score(network, images=data.images, rows=rows, world=world, **asked)


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
