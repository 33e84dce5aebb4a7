"""Encoders and fitted models that headwater itself wrote."""

from headwater.models.weights import Card

CARD = Card(
    title="headwater encoders and models", licence="that of the images they learned from", where="results/encoders"
)
DIMENSIONS = (2, 3)
RULES = ((r"^encoder\.backbone\.", ""),)
DROPPED = {r"^head\.": "head of another run; every dataset gets a fresh one"}


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) that the file says."""
    from headwater.models.encoder import normalisation as said

    return said(metadata, file="weights")
