"""Predict: what a fitted network says of every test image, once each."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from headwater import formats, grid, prepared, splits
from headwater.backbones._encoder import draw, normalisation
from headwater.engine import checkpoint, distributed, scoring
from headwater.provenance import NOT_RECORDED, sha256
from headwater.refusals import Refusal
from headwater.tasks import classification


def predict(
    *,
    run: grid.Run,
    cases: Path,
    images: Path,
    model: Path,
    predictions: Path,
    saved: Path | None = None,
    threads: int = 1,
    device: distributed.Wanted = "auto",
) -> None:
    """Write the scores of a run's model for the test split: one row per case and label, in the order of the cases.

    In the folder `saved` lies the progress of trainings; that of this run has served, and is taken away.
    """
    with distributed.world(threads=threads, device=device) as world:
        data = prepared.read(cases, images=images)
        network, labels, kind, fitted = _fitted(run, model, size=data.size)
        origin = _origin(run, data, fitted, model=model)
        rows = data.rows("test")
        if not len(rows):
            raise Refusal("has no test cases", file=cases, remedy="mend the split of the archive")
        training = run.recipe.training
        logits = scoring.score(
            network.to(world.device),
            images=data.images,
            rows=rows,
            batch=training.batch,
            world=world,
            precision=training.precision,
        )
        if not torch.isfinite(logits).all():
            raise Refusal("gives scores that are no numbers", file=model, remedy="fit it again with a lower lr")
        if world.first:
            scores = classification.evidence(logits, kind)
            table = _table(run, data, rows, labels, scores)
            formats.write_table(table, predictions, "predictions", origin=origin)
            if saved is not None:
                checkpoint.forget(saved / f"{run.digest}.pt")


def _fitted(
    run: grid.Run, model: Path, *, size: int
) -> tuple[classification.Classifier, list[str], str, dict[str, str]]:
    """(network, labels, kind of task, metadata) in a model file; refuses the model of another run."""
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
    return network, labels, metadata["task"], metadata


def _origin(run: grid.Run, data: prepared.Prepared, fitted: dict[str, str], *, model: Path) -> dict[str, str]:
    """What the scores come from; refuses a model that was fitted to other splits than it is tested on."""
    split = splits.digests(data.cases)[splits.ALL]
    if fitted.get("split", split) != split:
        raise Refusal(
            "was fitted to other splits of these cases", file=model, remedy="delete it and run finetune again"
        )
    encoder = fitted.get("encoder", NOT_RECORDED)
    return {"record": run.digest, "model": sha256(model), "encoder": encoder, "split": split}


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
