"""Embed: what an encoder sees in each training image of a corpus, as a row of numbers for each."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch.nn.functional as F

from headwater.core import files
from headwater.core.errors import UserError
from headwater.core.fingerprints import RANDOM, sha256
from headwater.core.progress import bar
from headwater.data import store
from headwater.models import backbones
from headwater.models.backbones._encoder import Encoder, restore
from headwater.study.source import Source
from headwater.training import checkpoint, ddp, scoring

BATCH = 64

PIECE = 8192
"""Images whose features are written together, so that those of a large corpus need not fit into the memory."""


def embed(
    *,
    source: Source,
    cases: Path,
    images: Path,
    features: Path,
    account: Path,
    encoder: Path | None = None,
    threads: int = 1,
    device: ddp.Wanted = "auto",
) -> None:
    """Write the features of a source's encoder for the training images, in the order of their rows; and what it took.

    FEATURES are directions, float16 (training images, width); validation and test images are not looked at.
    """
    began = time.monotonic()
    with ddp.world(threads=threads, device=device) as world:
        corpus = store.read(cases, images=images, seen=source.seen)
        network = _encoder(source, size=corpus.size, encoder=encoder)
        rows = corpus.rows("train")
        pieces = _pieces(network, corpus, rows, world=world)
        if not world.first:
            for _ in pieces:
                pass
            return
        _write(pieces, features, shape=(len(rows), network.width))
        told = {
            "source": source.name,
            "record": source.digest,
            "backbone": source.backbone,
            "encoder": sha256(encoder) if encoder else RANDOM,
            "cases": sha256(cases),
            "images": len(rows),
            "width": network.width,
            "device": world.device.type,
            "seconds": round(time.monotonic() - began, 3),
        }
        files.write_json(told, account)


def _encoder(source: Source, *, size: int, encoder: Path | None) -> Encoder:
    """The source's encoder for images of `size` pixels, drawn anew where it is a random start."""
    if (source.kind == "random") != (encoder is None):
        raise UserError(
            f"source {source.name!r} is {source.kind}",
            file=encoder,
            remedy="give --encoder the encoder of an adopted or pre-trained source, and of no other",
        )
    if encoder is None:
        return backbones.build(source.backbone, size=size, mean=source.mean, std=source.std, seed=source.seed)
    tensors, metadata = checkpoint.load_weights(encoder)
    return restore(tensors, metadata, name=source.backbone, size=size, file=encoder)[0]


def _pieces(network: Encoder, corpus: store.Prepared, rows: np.ndarray, *, world: ddp.World) -> Iterator[np.ndarray]:
    """The features of some images at a time, each at length one."""
    if not len(rows):
        raise UserError("no image is in the train split", remedy="look at the archive's splits")
    begins = range(0, len(rows), PIECE)
    for begin in bar(begins, total=len(begins), what="features") if world.first else begins:
        told = {"images": corpus.images, "batch": BATCH, "world": world, "precision": "fp32"}
        found = scoring.score(network, rows=rows[begin : begin + PIECE], **told)
        if not found.isfinite().all():
            raise UserError(f"{network.name} gives features that are no numbers", remedy="make its encoder again")
        yield F.normalize(found, dim=1).half().numpy()


def _write(pieces: Iterator[np.ndarray], path: Path, *, shape: tuple[int, int]) -> None:
    """All pieces as one array, whole or not at all."""
    with files.whole(path) as temporary:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
        done = 0
        for piece in pieces:
            array[done : done + len(piece)] = piece
            done += len(piece)
        array.flush()
