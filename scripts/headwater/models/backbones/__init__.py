"""Backbones: networks that turn an image into features; one file per library of networks.

A plug-in defines
    create(model, *, size) -> (Module, multiple)   a network with random weights whose forward pass returns pooled
                                                   features (batch, width), and the number that side lengths must be a
                                                   multiple of (None: only `size` itself fits)
    create_zero_residual(model, *, size) (optional)    the same with each residual branch at zero, for models whose name
                                                   begins with one of ZEROABLE
    levels(network, images) -> list (optional)     maps of features of normalised images, the finest first; else the
                                                   network's own method
    pyramid(network) -> sequence (optional)        (channels, stride) of each level; else the network's own attribute
    INITIALISATIONS: dict (optional)               the distribution of first weights, by how models' names
                                                   begin
    resample(key, tensor, network) -> Tensor|None (optional)   a position embedding interpolated to this network's
                                                   grid; None for any other tensor
    resample_patch(key, tensor, network) -> Tensor|None (optional)   a patch embedding resampled to its patch size
    MODELS: tuple of names (optional)              its models; else those that the library's source code registers
    DIMENSIONS: int (optional)                     of its input images: 3 for volumes, else 2 for slices
    COLOURS: int (optional)                        channels of its input images, else 3
    DECODER: dict (optional)                       how the keys of the decoder begin, by how models' names begin: what
                                                   features do not depend on, and only outlining uses
    STRIDE: dict (optional)                        voxels along each axis for one position of the deepest features, by
                                                   how models' names begin; of convolutional networks for volumes
    SHALLOW: pattern (optional)                    of the names of models whose decoder has no output between the finest
                                                   and the lowest, so that there is none for deep supervision
    GROUPED: bool (optional)                       whether its networks tell their layers apart, by
                                                   timm's `group_matcher`; else False
    ATTENTIVE: tuple (optional)                    how names begin of models with attention that LoRA adapts; else none
    CHANNELS_LAST: tuple (optional)                how names begin of models for volumes that a CPU trains faster with
                                                   their weights laid out channels last
    CHECKPOINTED: tuple (optional)                 the networks of which gradient checkpointing is known to keep less,
                                                   as a method's BACKBONES; their models' `set_grad_checkpointing`
    DROPPED: tuple (optional)                      the networks that can leave out blocks (models/stochastic_depth.py),
                                                   as a method's BACKBONES; else none
    BATCH_NORM: tuple (optional)                   the networks of which it is known, without building them, that they
                                                   have BatchNorm, as a method's BACKBONES
    FOOTNOTE: text (optional)                      how its networks differ from those whose weights are published
For volumes, `create` takes one side or three. Networks may have
    levels(images), pyramid                        as above; the last level has as many channels as there are features
    decoded(levels) -> list, outlines              the outputs of their own decoder's levels, the finest, at the
                                                   resolution of the image, first; (channels, stride) of each
    least: int                                     the smallest side that they take, if not the multiple
torch is not imported until a network is built, so that checking a plan is quick.
"""

import importlib.util
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core import registry
from headwater.core.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from headwater.models.encoder import Encoder, Size

OTHER_NORM = re.compile(r"_(s?gn|ln|evos)$")
"""How the names of models end that have another norm than those of the same family."""

REGISTERED = re.compile(r"^@register_model(?:\([^\n]*\))?\s*\ndef (\w+)\(", re.MULTILINE)


def models(library: str) -> list[str]:
    """The models of an installed library."""
    return sorted(_files(library))


def family(backbone: str) -> str:
    """Library and source file of a network, such as `timm/vision_transformer`; networks of one file are built alike."""
    library, _, model = backbone.partition("/")
    return f"{library}/{_files(library).get(model.partition('.')[0], '')}"


@cache
def _files(library: str) -> dict[str, str]:
    """The source file of each model of an installed library, read from its source code without importing it."""
    if listed := _listed(library):
        return {name: name for name in listed}
    package = importlib.util.find_spec(library)
    if package is None or not package.submodule_search_locations:
        raise UserError(f"{library} is not installed", remedy=f"pip install {library}")
    files = [file for folder in package.submodule_search_locations for file in Path(folder).rglob("*.py")]
    return {name: file.stem for file in files for name in REGISTERED.findall(file.read_text(encoding="utf-8"))}


def _listed(library: str) -> tuple[str, ...]:
    return registry.constant("backbones", library, "MODELS", default=())


def check(backbone: str) -> None:
    """Refuse a backbone, such as `timm/resnet50` or `timm/resnet50.a1_in1k`, that its library does not have."""
    library, _, model = backbone.partition("/")
    available = models(library)
    # in timm, the part after a dot names a set of weights
    if model not in available and (_listed(library) or model.partition(".")[0] not in available):
        raise UserError(f"backbone {backbone!r}: {library} has no such model", remedy=did_you_mean(model, available))


def belongs(backbone: str, kinds: Sequence[str]) -> bool:
    """Whether a network is of one of these kinds: a library, its source file, or how names in a library begin."""
    library = backbone.partition("/")[0]
    # a library of files has names that begin alike in several of them
    return backbone.startswith(tuple(kinds)) if _listed(library) else bool({library, family(backbone)} & {*kinds})


def decoder(backbone: str) -> tuple[str, ...]:
    """How the keys of a network's decoder begin; none if it has no decoder."""
    return _by_beginning(backbone, "DECODER", default=())


def is_channels_last(backbone: str) -> bool:
    """Whether a CPU trains this network for volumes faster with its weights laid out channels last."""
    library, _, model = backbone.partition("/")
    return model.startswith(tuple(registry.constant("backbones", library, "CHANNELS_LAST", default=())))


def is_checkpointed(backbone: str) -> bool:
    """Whether gradient checkpointing of this network is known to keep less."""
    library = backbone.partition("/")[0]
    return belongs(backbone, registry.constant("backbones", library, "CHECKPOINTED", default=()))


def is_dropped(backbone: str) -> bool:
    """Whether this network can leave out blocks in training."""
    library = backbone.partition("/")[0]
    return belongs(backbone, registry.constant("backbones", library, "DROPPED", default=()))


def has_batch_norm(backbone: str) -> bool:
    """Whether this network is known to have BatchNorm; others may have it too."""
    library = backbone.partition("/")[0]
    known = belongs(backbone, registry.constant("backbones", library, "BATCH_NORM", default=()))
    return known and not OTHER_NORM.search(backbone.partition(".")[0])


def stride(backbone: str) -> int:
    """Voxels along each axis for one position of the deepest features of a convolutional network for volumes."""
    return _by_beginning(backbone, "STRIDE", default=1)


def _by_beginning(backbone: str, constant: str, *, default: Any) -> Any:
    """What a constant of the library says of models whose names begin like this one's."""
    library, _, model = backbone.partition("/")
    kinds = registry.constant("backbones", library, constant, default={})
    return next((value for beginning, value in kinds.items() if model.startswith(beginning)), default)


def build(
    name: str,
    *,
    size: "Size",
    mean: tuple[float, ...],
    std: tuple[float, ...],
    seed: int,
    **further: Any,
) -> "Encoder":
    """The encoder with this backbone, such as `timm/resnet50`, and random weights from `seed`.

    With `zero_residual` each residual branch starts at zero; `orientation` is that of volumes for its weights.
    """
    check(name)
    from headwater.models.encoder import draw

    return draw(name, size=size, mean=mean, std=std, seed=seed, **further)
