"""The encoder: a network that normalises an image as its weights expect and gives one row of features."""

import copy
import json
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from headwater.core import registry
from headwater.core.errors import UserError

NO_WEIGHTS = ("num_batches_tracked", "relative_position_index")
"""What ends so counts batches or numbers places: no weight, and in no one's way when it is absent."""


class Encoder(nn.Module):
    """A backbone with its input normalisation; `width` features per image.

    `multiple` is what side lengths must be a multiple of; None where only the size it was built for fits. Images have
    `dimensions` sides, 2 or 3, and so many `colours`.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        name: str,
        size: int,
        multiple: int | None,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        dimensions: int,
        colours: int,
    ):
        super().__init__()
        self.backbone = backbone
        self.name = name
        self.size = size
        self.multiple = multiple
        self.normalisation = (tuple(mean), tuple(std))
        self.dimensions = dimensions
        self.colours = colours
        self.register_buffer("mean", _per_colour(mean, colours, "mean"), persistent=False)
        self.register_buffer("std", _per_colour(std, colours, "std"), persistent=False)
        self.width = self._measured_width()

    def forward(self, images: Tensor) -> Tensor:
        """Features (batch, width) of float images in [0, 1] (batch, colours, [depth,] height, width)."""
        return self.backbone(self.normalised(images))

    def normalised(self, images: Tensor) -> Tensor:
        """Images in [0, 1] in the units that the weights expect; refuses slices for volumes, and volumes for slices."""
        if images.ndim != self.dimensions + 2:
            raise UserError(f"{self.name} takes images of {self.dimensions} dimensions, not {images.ndim - 2}")
        sides = [1] * self.dimensions
        return (images - self.mean.view(1, -1, *sides)) / self.std.view(1, -1, *sides)

    def twin(self) -> "Encoder":
        """A copy with the same weights."""
        return copy.deepcopy(self)

    def tensors(self) -> dict[str, Tensor]:
        """The backbone's weights in its library's own spelling, on the CPU."""
        return {key: tensor.detach().cpu().contiguous() for key, tensor in self.backbone.state_dict().items()}

    def expected(self) -> dict[str, Tensor]:
        """The tensors that weights must bring: parameters and running statistics, no counters or tables of places."""
        return {key: tensor for key, tensor in self.backbone.state_dict().items() if not key.endswith(NO_WEIGHTS)}

    def resample(self, key: str, tensor: Tensor) -> Tensor | None:
        """A position embedding brought to this network's grid; None for any other tensor."""
        return self._by_library("resample", key, tensor)

    def resample_patch(self, key: str, tensor: Tensor) -> Tensor | None:
        """A patch embedding brought to this network's patch size; None for any other tensor."""
        return self._by_library("resample_patch", key, tensor)

    def _by_library(self, way: str, key: str, tensor: Tensor) -> Tensor | None:
        library = registry.load("backbones", self.name.partition("/")[0])
        return getattr(library, way, lambda *_: None)(key, tensor, self.backbone)

    def fill(self, tensors: Mapping[str, Tensor], *, file: object) -> list[str]:
        """Take over every tensor, none left as it was; names of the position embeddings brought to this grid.

        Refuses a tensor that is missing, unknown or of another shape.
        """
        expected, taken, interpolated = self.expected(), dict(tensors), []
        absent = sorted(expected.keys() - taken.keys())
        strange = sorted(key for key in taken.keys() - expected.keys() if not key.endswith(NO_WEIGHTS))
        if absent or strange:
            listed = ", ".join(f"{key} is missing" for key in absent[:3]) or ", ".join(
                f"{key} is unknown" for key in strange[:3]
            )
            raise UserError(
                f"not the weights of {self.name}: {len(absent)} tensors missing, {len(strange)} unknown ({listed})",
                file=file,
                remedy="make it again",
            )
        for key, place in expected.items():
            if taken[key].shape != place.shape:
                fitting = self.resample(key, taken[key])
                if fitting is None:
                    raise UserError(f"{key} is {_shape(taken[key])}, {self.name} has {_shape(place)}", file=file)
                taken[key] = fitting
                interpolated.append(key)
        own = {key: tensor for key, tensor in self.backbone.state_dict().items() if key.endswith(NO_WEIGHTS)}
        self.backbone.load_state_dict({**own, **taken})
        return interpolated

    def metadata(self) -> dict[str, str]:
        """What a weights file says of its network, as strings."""
        return {
            "backbone": self.name,
            "size": str(self.size),
            "mean": json.dumps(self.normalisation[0]),
            "std": json.dumps(self.normalisation[1]),
        }

    def sides(self, side: float) -> int:
        """The side length nearest to `side` that this network takes."""
        if self.multiple is None:
            return self.size
        return max(self.multiple, round(side / self.multiple) * self.multiple)

    def _measured_width(self) -> int:
        """Width of the features of one empty image; of the smallest volume, because a large one takes seconds."""
        self.eval()
        side = self.size if self.dimensions == 2 else self.sides(0)
        try:
            with torch.no_grad():
                features = self(torch.zeros(1, self.colours, *[side] * self.dimensions))
        except (RuntimeError, ValueError, AssertionError) as error:
            raise UserError(
                f"{self.name} does not take images of {self.size} pixels: {error}", remedy="use another size"
            ) from None
        self.train()
        return features.shape[1]


def draw(name: str, *, size: int, mean: tuple[float, ...], std: tuple[float, ...], seed: int) -> Encoder:
    """An encoder with random weights drawn under `seed`; the global random state stays as it was."""
    library, _, model = name.partition("/")
    try:
        module = registry.load("backbones", library)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            backbone, multiple = module.create(model, size=size)
        looks_at = {"dimensions": getattr(module, "DIMENSIONS", 2), "colours": getattr(module, "COLOURS", 3)}
        return Encoder(backbone, name=name, size=size, multiple=multiple, mean=mean, std=std, **looks_at)
    except ImportError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{name} needs a library that is not installed: {reason}", remedy="run make setup") from None


def restore(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, name: str, size: int, file: object
) -> tuple[Encoder, list[str]]:
    """(encoder, interpolated position embeddings) of a weights file of ours, for images of `size` pixels.

    Refuses the weights of another network.
    """
    if metadata.get("backbone") != name:
        raise UserError(
            f"holds a {metadata.get('backbone', 'network without a name')}, not a {name}",
            file=file,
            remedy="make it again",
        )
    mean, std = normalisation(metadata, file=file)
    encoder = draw(name, size=size, mean=mean, std=std, seed=0)
    return encoder, encoder.fill(tensors, file=file)


def normalisation(metadata: Mapping[str, str], *, file: object) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) that a weights file of ours was made with."""
    try:
        return tuple(json.loads(metadata["mean"])), tuple(json.loads(metadata["std"]))
    except (KeyError, ValueError):
        raise UserError(
            "does not say which mean and std its network expects", file=file, remedy="make it again"
        ) from None


def count(tensors: Mapping[str, Tensor]) -> int:
    """How many numbers the tensors hold."""
    return sum(tensor.numel() for tensor in tensors.values())


def _per_colour(values: tuple[float, ...], colours: int, what: str) -> Tensor:
    """One value per channel; a single one counts for all."""
    if len(values) not in (1, colours):
        remedy = f"give one, or one per channel ({colours})" if colours > 1 else "give one, as its images are grey"
        raise UserError(f"{what} has {len(values)} values", remedy=remedy)
    return torch.tensor(values, dtype=torch.get_default_dtype()).expand(colours).clone()


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
