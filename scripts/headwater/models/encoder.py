"""The encoder: a backbone without head that normalises its input and returns a feature vector per image."""

import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

import torch
from torch import Tensor, nn

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.models import backbones, compiled, slices
from headwater.models.orientation import OURS, turned, turned_back
from headwater.models.orientation import of as orientation_of
from headwater.models.timm_library import timm
from headwater.models.weight_files import MADE_AGAIN

NO_WEIGHTS = ("num_batches_tracked", "relative_position_index")
"""Suffixes of buffers that are not weights (counters and index tables), so a checkpoint need not have them."""

Size = int | tuple[int, ...]
"""Side length of square images or cubes, or one per axis; of a slice of a volume one of them is 1."""


class Encoder(nn.Module):
    """A backbone with its input normalisation; `width` features per image, and for many backbones maps of features.

    Side lengths must be a multiple of `multiple`; None means that only `size` fits. Images have 2 or 3 `dimensions`
    and `colours` channels. Volumes are turned to the `orientation` of the backbone's weights, and maps turned back. A
    backbone for pictures whose `size` has three sides is given slices, as volumes that are one voxel wide at `depth`.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        name: str,
        size: Size,
        multiple: int | None,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        dimensions: int,
        colours: int,
        orientation: str = OURS,
    ):
        super().__init__()
        self.backbone = backbone
        self.name = name
        self.size = size
        self.multiple = multiple
        self.normalisation = (tuple(mean), tuple(std))
        self.dimensions = dimensions
        self.depth = slices.depth_of(size, dimensions=dimensions)
        self.colours = colours
        self.orientation = orientation
        self.compiled: dict[str, Callable] = {}
        # not persistent: a weights file has them in its metadata, so that its tensors are those of the backbone alone
        self.register_buffer("mean", _per_colour(mean, colours, "mean"), persistent=False)
        self.register_buffer("std", _per_colour(std, colours, "std"), persistent=False)
        # networks of volumes, of which even a small one takes seconds, say how many features they give
        self.width = backbone.pyramid[-1][0] if hasattr(backbone, "pyramid") else self._measured_width()

    def forward(self, images: Tensor) -> Tensor:
        """Features (batch, width) of float images: (batch, colours, height, width) in [0, 1] or (..., x, y, z)."""
        return self.backbone(self.normalised(images))

    def levels(self, images: Tensor) -> list[Tensor]:
        """Maps of features (batch, widths[i], *space / strides[i]) of float images, the finest first."""
        levels = self._pass("levels")(self.backbone, self.normalised(images))
        return [turned_back(level, self.orientation) for level in levels]

    def decoded(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """What the levels of the backbone's own decoder make of these levels; the first has the image's resolution."""
        if not self.outlines:
            raise UserError(f"{self.name} has no decoder of its own", remedy="choose another backbone")
        try:
            decoded = self._pass("decoded")(self.backbone, [turned(level, self.orientation) for level in levels])
            return [turned_back(output, self.orientation) for output in decoded]
        except ValueError as error:
            # instance norms have nothing to compare at a single position, to which a small volume shrinks
            raise UserError(
                f"{self.name} cannot outline volumes this small: {error}", remedy="use a larger size"
            ) from None

    @property
    def outlines(self) -> Sequence[tuple[int, int]]:
        """(channels, stride) of the outputs of the backbone's own decoder, the finest first; none if it has none."""
        return getattr(self.backbone, "outlines", ())

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, the finest first."""
        return tuple(width for width, _ in self._pyramid)

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels or voxels of the image along each axis for one position of each level."""
        return tuple(stride for _, stride in self._pyramid)

    @property
    def space(self) -> tuple[int, ...]:
        """Side lengths of the images, axis by axis; a slice has three, one of them 1."""
        return self.size if isinstance(self.size, tuple) else (self.size,) * self.dimensions

    @property
    def frame(self) -> tuple[int, ...]:
        """Side lengths of what the backbone gets, axis by axis: of a slice its rows and columns."""
        sides = slices.sides_of(self.size, depth=self.depth)
        return sides if isinstance(sides, tuple) else (sides,) * self.dimensions

    @property
    def _pyramid(self) -> Sequence[tuple[int, int]]:
        """(channels, stride) of each level."""
        of_library = getattr(self._library, "pyramid", None)
        return of_library(self.backbone) if of_library else self.backbone.pyramid

    @property
    def _library(self) -> ModuleType:
        return registry.load("backbones", self.name.partition("/")[0])

    def normalised(self, images: Tensor) -> Tensor:
        """Images normalised, and volumes turned, as the weights expect; refuses slices for volumes, and the reverse."""
        if images.ndim != len(self.space) + 2:
            raise UserError(
                f"{self.name} takes images of {len(self.space)} dimensions, not {images.ndim - 2}",
                remedy="choose another backbone",
            )
        images, sides = slices.as_pictures(images, depth=self.depth), [1] * self.dimensions
        # a slice has one channel, which all colours share
        return turned((images - self.mean.view(1, -1, *sides)) / self.std.view(1, -1, *sides), self.orientation)

    def compute_twice(self) -> None:
        """Let backward passes compute the backbone's blocks a second time; refuses those that cannot."""
        # timm's switch does nothing in some networks
        if not backbones.is_checkpointed(self.name):
            raise UserError(
                f"gradient checkpointing of {self.name} is not known to keep less", remedy="remove checkpointing"
            )
        self.backbone.set_grad_checkpointing()

    def compile_passes(self) -> None:
        """Let torch compile the backbone: of plain vision transformers, which methods call in parts, each block."""
        if isinstance(self.backbone, timm.models.VisionTransformer):
            for block in self.backbone.blocks:
                compiled.in_place(block)
            return
        compiled.in_place(self.backbone)
        self.compiled = {name: compiled.function(made) for name in ("levels", "decoded") if (made := self._pass(name))}

    def _pass(self, name: str) -> Callable | None:
        """What gives the levels of the backbone, or those of its own decoder: a function of it and of its input."""
        of_library = getattr(self._library, name, None)
        return self.compiled.get(name) or of_library or getattr(type(self.backbone), name, None)

    def twin(self) -> "Encoder":
        """A copy with the same weights."""
        return copy.deepcopy(self)

    def tensors(self) -> dict[str, Tensor]:
        """The backbone's weights under its library's names, on the CPU."""
        return {key: tensor.detach().cpu().contiguous() for key, tensor in self.backbone.state_dict().items()}

    def expected(self) -> dict[str, Tensor]:
        """The tensors that weights must contain: parameters and running statistics, not counters or index tables."""
        return {key: tensor for key, tensor in self.backbone.state_dict().items() if not key.endswith(NO_WEIGHTS)}

    def resample(self, key: str, tensor: Tensor) -> Tensor | None:
        """A position embedding resampled to this network's grid; None for any other tensor."""
        return self._by_library("resample", key, tensor)

    def resample_patch(self, key: str, tensor: Tensor) -> Tensor | None:
        """A patch embedding resampled to this network's patch size; None for any other tensor."""
        return self._by_library("resample_patch", key, tensor)

    def _by_library(self, function: str, key: str, tensor: Tensor) -> Tensor | None:
        return getattr(self._library, function, lambda *_: None)(key, tensor, self.backbone)

    def fill(self, tensors: Mapping[str, Tensor], *, file: object) -> list[str]:
        """Load all weights of the backbone; the names of the position embeddings that were interpolated.

        Refuses a tensor that is missing, unknown or of another shape.
        """
        expected, loaded, interpolated = self.expected(), dict(tensors), []
        missing = sorted(expected.keys() - loaded.keys())
        unknown = sorted(key for key in loaded.keys() - expected.keys() if not key.endswith(NO_WEIGHTS))
        if missing or unknown:
            listed = ", ".join(f"{key} is missing" for key in missing[:3]) or ", ".join(
                f"{key} is unknown" for key in unknown[:3]
            )
            raise UserError(
                f"not the weights of {self.name}: {len(missing)} tensors missing, {len(unknown)} unknown ({listed})",
                file=file,
                remedy=MADE_AGAIN,
            )
        for key, own in expected.items():
            if loaded[key].shape != own.shape:
                resampled = self.resample(key, loaded[key])
                if resampled is None:
                    raise UserError(
                        f"{key} is {_shape(loaded[key])}, but {_shape(own)} in {self.name}",
                        file=file,
                        remedy=MADE_AGAIN,
                    )
                loaded[key] = resampled
                interpolated.append(key)
        # load_state_dict is strict, so counters that the file lacks are filled in from the network itself
        counters = {key: tensor for key, tensor in self.backbone.state_dict().items() if key.endswith(NO_WEIGHTS)}
        self.backbone.load_state_dict({**counters, **loaded})
        return interpolated

    def metadata(self) -> dict[str, str]:
        """The metadata of a weights file that describe its network, as strings."""
        return {
            "backbone": self.name,
            "size": json.dumps(self.size),
            "mean": json.dumps(self.normalisation[0]),
            "std": json.dumps(self.normalisation[1]),
            **({"orientation": self.orientation} if self.orientation != OURS else {}),
        }

    def sides(self, side: float) -> int:
        """The side length nearest to `side` that this network accepts."""
        if self.multiple is None:
            return self.space[0]
        return max(self.least, round(side / self.multiple) * self.multiple)

    @property
    def least(self) -> int:
        """The smallest side length that this network accepts."""
        return getattr(self.backbone, "least", self.multiple or 1)

    def _measured_width(self) -> int:
        """The number of features, measured on an empty image."""
        # volumes as small as possible
        space = self.space if self.dimensions == 2 or self.multiple is None else (self.least,) * self.dimensions
        # in evaluation, so that BatchNorm's running statistics do not see the empty image
        self.eval()
        try:
            with torch.no_grad():
                features = self(torch.zeros(1, self.colours, *space))
        except (RuntimeError, ValueError, AssertionError) as error:
            raise UserError(
                f"{self.name} does not take images of {self.size} pixels: {error}", remedy="use another size"
            ) from None
        self.train()
        return features.shape[1]


def draw(
    name: str,
    *,
    size: Size,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    seed: int,
    zero_residual: bool = False,
    orientation: str = OURS,
) -> Encoder:
    """An encoder with random weights from `seed`; the global random state is unchanged."""
    library, _, model = name.partition("/")
    try:
        module = registry.load("backbones", library)
        dimensions = getattr(module, "DIMENSIONS", 2)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            create = module.create_zero_residual if zero_residual else module.create
            depth = slices.depth_of(size, dimensions=dimensions)
            backbone, multiple = create(model, size=slices.sides_of(size, depth=depth))
        images = {"dimensions": dimensions, "colours": getattr(module, "COLOURS", 3)}
        normalised = {"mean": mean, "std": std, "orientation": orientation}
        return Encoder(backbone, name=name, size=size, multiple=multiple, **normalised, **images)
    except ImportError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{name} needs a library that is not installed: {reason}", remedy="run make setup") from None


def restore(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, name: str, size: Size, file: object
) -> tuple[Encoder, list[str]]:
    """(encoder, interpolated position embeddings) of a weights file by headwater, for images of `size` pixels.

    Refuses the weights of another network.
    """
    if metadata.get("backbone") != name:
        raise UserError(
            f"holds a {metadata.get('backbone', 'network without a name')}, not a {name}",
            file=file,
            remedy=MADE_AGAIN,
        )
    mean, std = normalisation(metadata, file=file)
    turned_to = orientation_of(metadata, file=file, remedy=MADE_AGAIN)
    encoder = draw(name, size=size, mean=mean, std=std, seed=0, orientation=turned_to)
    return encoder, encoder.fill(tensors, file=file)


def refuse_other_source(metadata: Mapping[str, str], source: str, *, file: object) -> None:
    """Refuse the weights of a source of another name; a file that names none, made by hand, is let pass."""
    named = json.loads(metadata.get("source", "{}")).get("name", source)
    if named != source:
        thing = f"is the encoder of source {named!r}, not of {source!r}"
        raise UserError(thing, file=file, remedy=MADE_AGAIN)


def size_in(metadata: Mapping[str, str]) -> Size:
    """The size of images in the metadata of a weights file by headwater."""
    size = json.loads(metadata["size"])
    return tuple(size) if isinstance(size, list) else size


def normalisation(
    metadata: Mapping[str, str], *, file: object, remedy: str = MADE_AGAIN
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of the input normalisation in the metadata of a weights file by headwater."""
    try:
        mean, std = (tuple(json.loads(metadata[name])) for name in ("mean", "std"))
        usable = mean and std and all(map(math.isfinite, mean + std)) and min(std) > 0
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        usable = False
    if not usable:
        raise UserError(
            "has no mean and std of the input normalisation in its metadata, or none that are finite and a std above 0",
            file=file,
            remedy=remedy,
        )
    return mean, std


def count(tensors: Mapping[str, Tensor]) -> int:
    """The total number of elements of the tensors."""
    return sum(tensor.numel() for tensor in tensors.values())


def _per_colour(values: tuple[float, ...], colours: int, name: str) -> Tensor:
    """One value per channel; a single value is used for all channels."""
    if len(values) not in (1, colours):
        remedy = f"give one, or one per channel ({colours})" if colours > 1 else "give one, as its images are grey"
        raise UserError(f"{name} has {len(values)} values", remedy=remedy)
    return torch.tensor(values, dtype=torch.get_default_dtype()).expand(colours).clone()


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
