"""Fitted: a network as its fine-tuning left it, and what it says of an archive's images."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.core.fingerprints import NOT_RECORDED, sha256
from headwater.data.store import Prepared
from headwater.models.backbones._encoder import draw, normalisation
from headwater.models.tasks import Kind, classification
from headwater.study.grid import Run
from headwater.training import checkpoint, ddp, scoring


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A run's network, what it was fitted to tell, and the size of the images that it was fitted to."""

    run: Run
    file: Path
    network: classification.Classifier
    labels: list[str]
    kind: Kind
    size: int
    metadata: dict[str, str]
    """What the file says of itself."""

    @property
    def origin(self) -> dict[str, str]:
        """What its scores come from: the run, the model's file and the encoder's."""
        encoder = self.metadata.get("encoder", NOT_RECORDED)
        return {"record": self.run.digest, "model": sha256(self.file), "encoder": encoder}

    def scores(self, data: Prepared, *, split: str, cases: Path, world: ddp.World) -> tuple[np.ndarray, np.ndarray]:
        """(rows, scores) of a split, scores (rows, labels); images of another size are brought to its own."""
        rows = data.rows(split)
        if not len(rows):
            raise UserError(f"has no {split} cases", file=cases, remedy="mend the split of the archive")
        training = self.run.recipe.training
        network = self.network if data.size == self.size else Resizing(self.network, size=self.size)
        logits = scoring.score(
            network.to(world.device),
            images=data.images,
            rows=rows,
            batch=training.batch,
            world=world,
            precision=training.precision,
        )
        if not torch.isfinite(logits).all():
            raise UserError("gives scores that are no numbers", file=self.file, remedy="fit it again with a lower lr")
        return rows, classification.evidence(logits, self.kind)


class Resizing(nn.Module):
    """A network in front of which images are brought to one size, smoothly and the same each time."""

    def __init__(self, network: nn.Module, *, size: int):
        super().__init__()
        self.network = network
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        """What the network gives for float images (batch, 3, any height, any width)."""
        return self.network(F.interpolate(images, size=(self.size, self.size), mode="bilinear", antialias=True))


def read(run: Run, model: Path) -> Fitted:
    """The network in a model file; refuses the model of another run."""
    tensors, metadata = checkpoint.load_weights(model)
    if metadata.get("run") != run.as_json():
        raise UserError(
            f"is not the model of run {run.path} ({run.digest})", file=model, remedy="delete it and run finetune again"
        )
    mean, std = normalisation(metadata, file=model)
    labels, size = json.loads(metadata["labels"]), int(metadata["size"])
    encoder = draw(run.source.backbone, size=size, mean=mean, std=std, seed=0)
    network = classification.Classifier(encoder, labels=len(labels), seed=0)
    absent = network.state_dict().keys() ^ tensors.keys()
    if absent:
        raise UserError(
            f"does not fit its network: {', '.join(sorted(absent)[:3])}", file=model, remedy="run finetune again"
        )
    network.load_state_dict(tensors)
    about = {"labels": labels, "kind": metadata["task"], "size": size, "metadata": metadata}
    return Fitted(run=run, file=model, network=network, **about)
