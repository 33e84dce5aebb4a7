"""Encoders and models written by headwater itself."""

from pathlib import Path

from headwater.core import weights_digest
from headwater.core.errors import UserError
from headwater.models.weights import Card, Options

CARD = Card(
    title="headwater encoders and models", licence="that of the images they learned from", where="results/encoders"
)
DIMENSIONS = (2, 3)
RULES = ((r"^encoder\.backbone\.", ""),)
DROPPED = {r"^head\.": "head of another run; every dataset gets a fresh one"}

AGAIN = "copy it again from where headwater wrote it, or make it again there"


def check(file: Path, metadata: dict[str, str], *, options: Options, backbone: str) -> None:
    """Refuse a file that has changed since it was written, or that says nothing usable about its network's images.

    `backbone`: the network that its weights are for, up to the tag of the weights; empty if another is meant.
    """
    # not at the top: these need torch, and plans read the card
    from headwater.models import encoder, orientation

    if metadata:
        weights_digest.metadata_of(file, remedy=AGAIN)
    named = metadata.get("backbone", backbone)
    if backbone and named.partition(".")[0] != backbone.partition(".")[0]:
        raise UserError(f"holds a {named}, not a {backbone}", file=file, remedy=f"set backbone: {named}")
    orientation.of(metadata, file=file, remedy=AGAIN)
    if not (options.mean and options.std):
        encoder.normalisation(metadata, file=file, remedy="set mean and std of the layout as in its training")


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) in the file's metadata."""
    from headwater.models.encoder import normalisation as normalisation_of

    return normalisation_of(metadata, file=f"weights for {backbone}")
