"""Predictor: a fine-tuned network read back from its file, with what it was fitted to predict."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from headwater.core.errors import UserError
from headwater.core.fingerprints import NOT_RECORDED, sha256
from headwater.models import resizing, task_set
from headwater.models.encoder import Size, draw, normalisation, size_in
from headwater.models.orientation import of as orientation_of
from headwater.models.task_network import TaskNetwork
from headwater.models.task_set import TaskSet
from headwater.models.weight_files import MADE_AGAIN, load_weights
from headwater.study.grid import Run
from headwater.study.paths import Paths

MODEL = Path(Paths("").model("")).name
"""The name of the model file in a run's folder."""


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A run's network, its tasks, and the size of the images that it was fitted to."""

    run: Run
    file: Path
    network: TaskNetwork
    tasks: TaskSet
    size: Size
    metadata: dict[str, str]
    """What the file says of itself."""

    @property
    def labels(self) -> list[str]:
        """The labels that it predicts, in the order of its outputs."""
        return list(self.tasks.labels)

    @property
    def origin(self) -> dict[str, str]:
        """What its predictions come from: the run, the model's file and the encoder's."""
        encoder = self.metadata.get("encoder", NOT_RECORDED)
        return {"record": self.run.digest, "model": sha256(self.file), "encoder": encoder}

    @property
    def stored(self) -> Size:
        """The size of the images that the study prepared for it, which is its own unless it sees a smaller view."""
        return int(self.metadata["stored"]) if "stored" in self.metadata else self.size

    def taking(self, size: Size) -> nn.Module:
        """The network for images of `size` pixels, which are brought to its own size; of volumes it sees patches."""
        return resizing.taking(size, self.network, size=self.size)


OTHER_VERSION = "was fitted by another version of headwater, or by another program"
FIT_AGAIN = "fit it again by this version: snakemake --forcerun finetune"


def file_in(place: Path) -> Path:
    """The model file of a run's folder, or the file itself; refuses a place without one."""
    file = place / MODEL if place.is_dir() else place
    if not file.is_file():
        thing = "there is no model here" if place.is_dir() else "there is no such file or folder"
        raise UserError(thing, file=place, remedy=f"name a run's folder below results, or its {MODEL}")
    if file.suffix != Path(MODEL).suffix:
        raise UserError("is no model", file=file, remedy=f"name a run's folder below results, or its {MODEL}")
    return file


def from_file(model: Path) -> Predictor:
    """The network in a model file, of whichever run it is."""
    _, metadata = load_weights(model)
    if "run" not in metadata:
        thing = "is an encoder, not the model of a run" if "backbone" in metadata else "is no model of headwater's"
        raise UserError(thing, file=model, remedy=f"name a run's folder below results, or its {MODEL}")
    try:
        run = Run.from_json(metadata["run"])
    except ValueError:
        raise UserError(OTHER_VERSION, file=model, remedy=FIT_AGAIN) from None
    return read(run, model)


def read(run: Run, model: Path) -> Predictor:
    """The network in a model file; refuses the model of another run."""
    tensors, metadata = load_weights(model)
    if metadata.get("run") != run.as_json():
        raise UserError(
            f"is not the model of run {run.path} ({run.digest})", file=model, remedy="delete it and run finetune again"
        )
    mean, std = normalisation(metadata, file=model)
    size = size_in(metadata)
    tasks = task_set.read(metadata, unnamed=run.dataset.task)
    orientation = orientation_of(metadata, file=model, remedy=MADE_AGAIN)
    fitted = {"probe": run.recipe.kind == "linear_probe", "deep": run.recipe.deep_supervision}
    encoder = draw(run.source.backbone, size=size, mean=mean, std=std, seed=0, orientation=orientation)
    network = TaskNetwork(encoder, tasks=tasks, seeds=dict.fromkeys(tasks.tasks, 0), **fitted)
    different = network.state_dict().keys() ^ tensors.keys()
    if different:
        raise UserError(
            f"does not fit its network: {', '.join(sorted(different)[:3])}", file=model, remedy="run finetune again"
        )
    network.load_state_dict(tensors)
    return Predictor(run=run, file=model, network=network, tasks=tasks, size=size, metadata=metadata)
