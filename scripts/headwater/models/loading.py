"""Networks for other programs: a model or an encoder read from its file as a module of torch."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.models import predictor
from headwater.models.encoder import Encoder, restore, size_in
from headwater.models.predictor import Predictor
from headwater.models.task_network import TaskNetwork
from headwater.models.weight_files import load_weights


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A network in evaluation, and what its file says."""

    file: Path
    network: TaskNetwork | Encoder
    metadata: dict[str, str]
    fitted: Predictor | None = None
    """The run that it was fitted by; none of an encoder."""

    @property
    def encoder(self) -> Encoder:
        """The encoder of a model, or the encoder itself."""
        return self.network.encoder if isinstance(self.network, TaskNetwork) else self.network

    @property
    def labels(self) -> list[str]:
        """The labels in the order of the outputs; none of an encoder."""
        return self.fitted.labels if self.fitted else []

    @property
    def normalisation(self) -> tuple[list[float], list[float]]:
        """(mean, std) of the images that the network normalises, a number for each channel."""
        colours = self.encoder.colours
        mean, std = (list(values) * (colours // len(values)) for values in self.encoder.normalisation)
        return mean, std

    def images(self, count: int) -> Tensor:
        """So many random images as it takes them: float (count, colours, *space) in [0, 1]."""
        # slices of volumes have one channel, which all colours share
        colours = 1 if self.encoder.depth is not None else self.encoder.colours
        return torch.rand(count, colours, *self.encoder.space, generator=torch.Generator().manual_seed(count))


def load(path: Path | str) -> nn.Module:
    """The network of a run's folder, of its model file, or of an encoder's file, in evaluation and on the CPU.

    It takes float images (batch, colours, *space) in [0, 1], or of volumes as the study shows them, and normalises
    them itself. A model gives what its head does, such as logits (batch, labels), a dict of several targets, or of
    outlines logits (batch, classes, *space); its labels are `network.tasks.labels`. An encoder gives features (batch,
    width).
    """
    return read(Path(path)).network


def read(place: Path) -> Loaded:
    """The same with what the file says."""
    file = predictor.file_in(place)
    tensors, metadata = load_weights(file)
    if "run" in metadata:
        fitted = predictor.from_file(file)
        return Loaded(file=file, network=fitted.network.eval(), metadata=metadata, fitted=fitted)
    if "backbone" not in metadata:
        raise UserError("is neither a model nor an encoder of headwater's", file=file, remedy="see results/*/encoders")
    encoder, _ = restore(tensors, metadata, name=metadata["backbone"], size=size_in(metadata), file=file)
    return Loaded(file=file, network=encoder.eval(), metadata=metadata)
