"""Encoders and models written by headwater itself."""

from headwater.models.weights import Card

CARD = Card(
    title="headwater encoders and models", licence="that of the images they learned from", where="results/encoders"
)
DIMENSIONS = (2, 3)
RULES = ((r"^encoder\.backbone\.", ""),)
DROPPED = {r"^head\.": "head of another run; every dataset gets a fresh one"}


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) in the file's metadata."""
    from headwater.models.encoder import normalisation as normalisation_of

    return normalisation_of(metadata, file="weights")
