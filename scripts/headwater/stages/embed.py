"""Embed: an encoder's features for each training image of a corpus."""

import time
from pathlib import Path

from headwater.core import files
from headwater.core.fingerprints import RANDOM, sha256
from headwater.data import prepared
from headwater.study.source import Source
from headwater.training import ddp
from headwater.training.features import encoder_of, pieces_of, write


def embed(
    *,
    source: Source,
    cases: Path,
    images: Path,
    features: Path,
    account: Path,
    encoder: Path | None = None,
    dropped: Path | None = None,
    patch: list[int] | None = None,
    threads: int = 1,
    device: ddp.DeviceChoice = "auto",
) -> None:
    """Write the features of a source's encoder for the training images, in the order of their rows, and a record.

    FEATURES are float16 (training images, width), scaled to length 1; validation and test images, and those that
    DROPPED lists, are not used. PATCH are the sides of what is seen of volumes.
    """
    began = time.monotonic()
    with ddp.world(threads=threads, device=device) as world:
        corpus = prepared.read(cases, images=images, seen=source.seen, patch=patch, dropped=dropped)
        network = encoder_of(source, size=corpus.seen_in(source.view), encoder=encoder)
        rows = corpus.rows("train")
        pieces = pieces_of(network, corpus, rows, world=world)
        if not world.first:
            for _ in pieces:
                # scoring is collective: every rank must take part, though only the first one writes
                pass
            return
        write(pieces, features, shape=(len(rows), network.width))
        record = {
            "source": source.name,
            "record": source.digest,
            "backbone": source.backbone,
            "encoder": sha256(encoder) if encoder else RANDOM,
            "cases": sha256(cases),
            "features": sha256(features),
            "images": len(rows),
            "width": network.width,
            "device": world.device.type,
            "seconds": round(time.monotonic() - began, 3),
        }
        files.write_json(record, account)
