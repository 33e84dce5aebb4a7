"""Layouts of published weights: one file per naming scheme, with the translation to the network's parameter names.

A plug-in defines
    CARD: Card
    RULES: tuple of (pattern, replacement)      regular expressions applied to each key, in order
    DROPPED: dict of pattern -> reason          keys without a place in the network, and why that is correct
    normalisation(backbone, metadata) -> (mean, std)   the input normalisation that the weights were trained with
    arrange(tensors, expected) -> tensors (optional)   changes beyond renaming, applied under the new names: join,
                                                    split, transpose or multiply tensors
    ARRANGED: dict of pattern -> how            (with arrange) keys that it replaces by others
    resample(key, tensor, shape) -> Tensor|None (optional)   a position embedding interpolated as the publisher's code
                                                    does; None: as the backbone's library does
    download(backbone) -> tensors (optional)    the weights from the library's own hub
    check(file, metadata, options=..., backbone=...) (optional)   refuses a damaged or unfit file by what its metadata
                                                say; the backbone is empty where it need not be the file's
    SIGNS: tuple of patterns (optional)         patterns that all match only in files of this layout
    DIMENSIONS: tuple of ints (optional)        of its networks' images: (2,) for slices (the default), (3,) for volumes
    ENCODER_ONLY: bool (optional)               whether its files need not hold a decoder: the coverage asked for is the
                                                encoder's
    FOOTNOTE: text (optional)                   how its networks differ from the published ones
What its networks of volumes were trained on, all optional: volumes are turned to the orientation, and all else is
checked against what archives feed (study/input_contract.py)
    ORIENTATION: text                           what a volume's three axes grow to, such as "RAS": right, anterior,
                                                superior
    SPACING: three numbers                      millimetres between voxels along x, y and z
    INTENSITY: "zscore" or (kind, low, high)    z-scores of each volume; ("window", low, high) in Hounsfield units, or
                                                ("percentiles", low, high) of each volume, scaled to [0, 1]
    PATCH: three ints                           voxels of a patch along x, y and z
    CHANNELS: int                               of an input volume
    PLANNED: bool                               whether its files may hold an adaptation plan of nnssl, which goes
                                                before the constants above (study/adaptation_plan.py)
"""

from typing import Literal

from headwater.core.records import Record

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Card(Record):
    """What users must know about published weights before using them."""

    title: str
    licence: str
    where: str
    trained_on: tuple[str, ...] = ()
    """Archives, or collections named in origins.py, that all weights of this layout were trained on."""


class Options(Record):
    """How a checkpoint differs from its layout; all layouts have these options."""

    prefix: str = ""
    """What every key of the network begins with, such as `model.`; keys without it are left behind."""
    wrapper: str = ""
    """The entry of the checkpoint that holds the tensors; found when there is only one."""
    mean: tuple[float, ...] = ()
    """Input normalisation that the weights were trained with; empty: the layout's own."""
    std: tuple[float, ...] = ()
    patch: Literal["exact", "resample"] = "exact"
    """`resample`: bring the patch embedding to the backbone's patch size; the coverage report has a footnote of it."""
