"""Features of a corpus: an encoder's outputs for all its images, scaled to length 1, computed in chunks."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch.nn.functional as F

from headwater.core import files
from headwater.core.errors import UserError
from headwater.core.progress import bar
from headwater.data import store
from headwater.models import backbones, resizing
from headwater.models.encoder import Encoder, Size, refuse_other_source, restore
from headwater.models.weight_files import load_weights
from headwater.study.source import Source
from headwater.training import scoring
from headwater.training.ddp import World

BATCH = 64

PIECE = 8192
"""Images per chunk, so that the features of a large corpus need not fit into memory."""


def encoder_of(source: Source, *, size: Size, encoder: Path | None) -> Encoder:
    """The source's encoder for images of `size` pixels, with newly drawn weights for a random start."""
    if (source.kind == "random") != (encoder is None):
        raise UserError(
            f"source {source.name!r} is {source.kind}",
            file=encoder,
            remedy="give --encoder for an adopted or pre-trained source, and only then",
        )
    if encoder is None:
        drawn = {"seed": source.seed, "zero_residual": source.initialisation == "zero_residual"}
        return backbones.build(source.backbone, size=size, mean=source.mean, std=source.std, **drawn)
    tensors, metadata = load_weights(encoder)
    refuse_other_source(metadata, source.original.name, file=encoder)
    return restore(tensors, metadata, name=source.backbone, size=size, file=encoder)[0]


def pieces_of(network: Encoder, corpus: store.Prepared, rows: np.ndarray, *, world: World) -> Iterator[np.ndarray]:
    """Features float16 (at most PIECE, width) of length 1 of the images of `rows`, in order."""
    if not len(rows):
        raise UserError("no image is in the train split", remedy="check the archive's splits")
    taking = resizing.taking(corpus.size, network, size=network.size)
    begins = range(0, len(rows), PIECE)
    for begin in bar(begins, total=len(begins), what="features") if world.first else begins:
        part = rows[begin : begin + PIECE]
        # fp32 on all devices, so that reductions do not depend on the machine
        features = scoring.score(taking, images=corpus.images, rows=part, batch=BATCH, world=world, precision="fp32")
        if not features.isfinite().all():
            raise UserError(
                f"features of {network.name} are NaN or infinite", remedy="delete its encoder and run its rule again"
            )
        yield F.normalize(features, dim=1).half().numpy()


def write(features: Iterator[np.ndarray], path: Path, *, shape: tuple[int, int]) -> None:
    """Write all chunks as one array, atomically."""
    with files.whole(path) as temporary:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
        done = 0
        for piece in features:
            array[done : done + len(piece)] = piece
            done += len(piece)
        array.flush()
