"""Features: what an encoder sees in the images of a corpus, at length one, piece by piece."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch.nn.functional as F

from headwater.core import files
from headwater.core.errors import UserError
from headwater.core.progress import bar
from headwater.data import store
from headwater.models import backbones
from headwater.models.encoder import Encoder, restore
from headwater.models.weight_files import load_weights
from headwater.study.source import Source
from headwater.training import scoring
from headwater.training.ddp import World

BATCH = 64

PIECE = 8192
"""Images whose features are written together, so that those of a large corpus need not fit into the memory."""


def encoder_of(source: Source, *, size: int, encoder: Path | None) -> Encoder:
    """The source's encoder for images of `size` pixels, drawn anew where it is a random start."""
    if (source.kind == "random") != (encoder is None):
        raise UserError(
            f"source {source.name!r} is {source.kind}",
            file=encoder,
            remedy="give --encoder the encoder of an adopted or pre-trained source, and of no other",
        )
    if encoder is None:
        return backbones.build(source.backbone, size=size, mean=source.mean, std=source.std, seed=source.seed)
    tensors, metadata = load_weights(encoder)
    return restore(tensors, metadata, name=source.backbone, size=size, file=encoder)[0]


def pieces_of(network: Encoder, corpus: store.Prepared, rows: np.ndarray, *, world: World) -> Iterator[np.ndarray]:
    """Directions float16 (at most PIECE, width) of the images of `rows`, in order."""
    if not len(rows):
        raise UserError("no image is in the train split", remedy="look at the archive's splits")
    begins = range(0, len(rows), PIECE)
    for begin in bar(begins, total=len(begins), what="features") if world.first else begins:
        part = rows[begin : begin + PIECE]
        # one number format on all devices, so that reductions do not depend on the machine
        features = scoring.score(network, images=corpus.images, rows=part, batch=BATCH, world=world, precision="fp32")
        if not features.isfinite().all():
            raise UserError(f"{network.name} gives features that are NaN or infinite", remedy="make its encoder again")
        yield F.normalize(features, dim=1).half().numpy()


def write(features: Iterator[np.ndarray], path: Path, *, shape: tuple[int, int]) -> None:
    """All pieces as one array, whole or not at all."""
    with files.whole(path) as temporary:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
        done = 0
        for piece in features:
            array[done : done + len(piece)] = piece
            done += len(piece)
        array.flush()
