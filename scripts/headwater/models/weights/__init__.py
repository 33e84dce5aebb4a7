"""Published weights: one file per spelling in which checkpoints name their tensors, and how it becomes ours.

A plug-in holds
    CARD: Card
    RULES: tuple of (pattern, replacement)      regular expressions applied to each key, in order
    DROPPED: dict of pattern -> reason          keys that the network has no place for, and why that is right
    normalisation(backbone, metadata) -> (mean, std)   what the network expects its input to be normalised by
    arrange(tensors, expected) -> tensors (optional)   what renaming alone cannot do, on tensors under their new names:
                                                    joined, cut, turned, or multiplied into others
    ARRANGED: dict of pattern -> what became of them    (with arrange) keys that it uses up
    resample(key, tensor, shape) -> Tensor|None (optional)   a position embedding brought to another grid as the
                                                    publisher's code does it; None: as the backbone's library does
    download(backbone) -> tensors (optional)    the weights from the library's own hub
    SIGNS: tuple of patterns (optional)         keys that only files in this spelling have, one for each pattern
    DIMENSIONS: tuple of ints (optional)        what its networks look at: (2,), slices, else (3,), volumes
"""

from typing import Literal

from headwater.core.records import Record

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Card(Record):
    """What is to be known of published weights before they are used."""

    title: str
    licence: str
    where: str
    trained_on: tuple[str, ...] = ()
    """Archives, or collections that origins.py names, which all weights of this layout have seen."""


class Options(Record):
    """How a checkpoint differs from its layout; every layout understands these."""

    prefix: str = ""
    """What every key of the network begins with, such as `model.`; keys without it are left behind."""
    wrapper: str = ""
    """The entry of the checkpoint that holds the tensors; found when there is only one."""
    mean: tuple[float, ...] = ()
    """Input normalisation that the weights were trained with; empty: the layout's own."""
    std: tuple[float, ...] = ()
    patch: Literal["exact", "resample"] = "exact"
    """`resample`: bring the patch embedding to the backbone's patch size; the coverage report has a footnote of it."""
