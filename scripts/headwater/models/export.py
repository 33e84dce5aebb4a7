"""Exports a network for other programs, and reads back what was written to see that it says the same."""

import errno
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.core.files import write_json
from headwater.models import loading
from headwater.models.backbones import timm as timm_backbones
from headwater.models.loading import Loaded
from headwater.models.task_network import TaskNetwork
from headwater.models.timm_library import timm

Format = Literal["safetensors", "onnx", "torchscript", "torch-export"]

CLOSE = 1e-4
"""The largest difference of an output; what differs more is not kept."""

DESCRIPTION = "headwater.json"
"""The file beside an export that says what goes in and what comes out."""

Answers = Callable[[Tensor], list[Tensor]]
"""What an export that was read back gives for images."""


def export(model: Path, *, to: Format, out: Path) -> None:
    """Write a model or an encoder in a format that other programs read, with a description of its inputs and outputs.

    What is written is read back and compared with the original on random images; if an output differs by more than
    1e-4, nothing is kept.

    Args:
        model: A run's folder, its model file, or an encoder's file, such as results/my_study/encoders/dino.safetensors.
        to: safetensors with timm's config, for timm and the Hugging Face hub; onnx; torchscript; or torch-export.
        out: The folder to write, which must be new or empty.
    """
    loaded = loading.read(model)
    with new_folder(out) as folder:
        write(loaded, folder, to=to)
    print(f"{out}: {', '.join(sorted(file.name for file in out.iterdir()))}; outputs agree to {CLOSE:g}")


def write(loaded: Loaded, folder: Path, *, to: Format) -> None:
    """Write an export into a folder; refuses one that does not say what the original says."""
    with warnings.catch_warnings(), torch.no_grad():
        # of libraries, on what their next versions will do
        warnings.simplefilter("ignore")
        answers = WRITERS[to](loaded, folder)
        # one more image than the export was made with, which must not be fixed in it
        images = loaded.images(3)
        differs = max(
            float((own - other).abs().max())
            for own, other in zip(outputs(loaded.network, images), answers(images), strict=True)
        )
    if not differs <= CLOSE:
        thing = f"as {to} gives outputs that differ by {differs:.2g}, more than {CLOSE:g}"
        raise UserError(thing, file=loaded.file, remedy="export it in another format")
    write_json(described(loaded, to=to), folder / DESCRIPTION)


def described(loaded: Loaded, *, to: Format) -> dict[str, Any]:
    """What goes into an export, and what comes out."""
    mean, std = loaded.normalisation
    # timm's networks get images that are normalised; all others normalise themselves
    given = f"normalised: (image - {mean}) / {std} per channel" if to == "safetensors" else "in [0, 1]"
    return {
        "backbone": loaded.encoder.name,
        "images": f"float (batch, {', '.join(map(str, loaded.images(1).shape[1:]))}), {given}",
        "outputs": list(names(loaded)),
        "labels": loaded.labels,
        "preparation": loaded.metadata.get("preparation"),
    }


def names(loaded: Loaded) -> tuple[str, ...]:
    """What the outputs are called: features of an encoder, logits of a model or of each of its targets."""
    if loaded.fitted is None:
        return ("features",)
    tasks = loaded.fitted.tasks
    return tuple(tasks.tasks) if tasks.named else ("logits",)


def outputs(network: nn.Module, images: Tensor) -> list[Tensor]:
    """What a network gives, one tensor for each target."""
    return list(Plain(network)(images))


class Plain(nn.Module):
    """A network whose outputs are a tuple, as formats for other programs want it."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The output for each target."""
        given = self.network(images)
        return tuple(given.values()) if isinstance(given, dict) else (given,)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder that is there whole, or not at all; refuses one that holds something."""
    # a link is followed, and "." has a name
    out = out.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError("is there already", file=out, remedy="name a new folder")
    made = out.with_name(f".{out.name}.partly")
    shutil.rmtree(made, ignore_errors=True)
    try:
        made.mkdir(parents=True)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG):
            raise
        raise UserError(f"cannot be made: {error.strerror}", file=out, remedy="name another folder") from None
    try:
        yield made
        made.replace(out)
    finally:
        shutil.rmtree(made, ignore_errors=True)


# formats


def timm_network(loaded: Loaded) -> nn.Module:
    """The same network as timm makes it; refuses what timm cannot."""
    library, _, architecture = loaded.encoder.name.partition("/")
    head = loaded.network.head if isinstance(loaded.network, TaskNetwork) else None
    if library != "timm" or not isinstance(head, nn.Linear | None) or loaded.encoder.depth is not None:
        thing = "is no network of timm with one linear layer on top, which is all that its layout can say"
        raise UserError(thing, file=loaded.file, remedy="export it as onnx, torchscript or torch-export")
    classes = 0 if head is None else head.out_features
    network = timm_backbones.classifying(architecture, size=loaded.encoder.size, classes=classes).eval()
    # the classifier, which the backbone lacks, is filled in below
    network.load_state_dict({**network.state_dict(), **loaded.encoder.backbone.state_dict()})
    if head is not None:
        classifier = network.get_classifier()
        if not isinstance(classifier, nn.Linear) or classifier.weight.shape != head.weight.shape:
            thing = f"has no linear classifier in timm's {architecture}"
            raise UserError(thing, file=loaded.file, remedy="export it as onnx, torchscript or torch-export")
        classifier.load_state_dict(head.state_dict())
    return network


def _safetensors(loaded: Loaded, folder: Path) -> Answers:
    encoder = loaded.encoder
    mean, std = map(tuple, loaded.normalisation)
    seen = {"mean": mean, "std": std, "crop_pct": 1.0}
    seen |= {"input_size": (encoder.colours, *encoder.space), "interpolation": "bilinear"}
    labels = {"label_names": loaded.labels} if loaded.labels else {}
    timm.models.save_for_hf(
        timm_network(loaded), folder, model_config=labels, safe_serialization=True, data_config=seen
    )
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    return lambda images: [network(encoder.normalised(images))]


def _onnx(loaded: Loaded, folder: Path) -> Answers:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"ONNX needs {error.name}", remedy="pip install 'headwater[export]'") from None
    file = folder / "model.onnx"
    program = torch.onnx.export(
        Plain(loaded.network),
        (loaded.images(2),),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        input_names=["images"],
        output_names=list(names(loaded)),
        verbose=False,
    )
    program.save(file)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda images: list(map(torch.from_numpy, session.run(None, {"images": images.numpy()})))


def _torchscript(loaded: Loaded, folder: Path) -> Answers:
    file = folder / "model.torchscript.pt"
    torch.jit.trace(Plain(loaded.network), loaded.images(2), check_trace=False).save(str(file))
    network = torch.jit.load(str(file))
    return lambda images: list(network(images))


def _torch_export(loaded: Loaded, folder: Path) -> Answers:
    file = folder / "model.pt2"
    shapes = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(Plain(loaded.network), (loaded.images(2),), dynamic_shapes=shapes), file)
    network = torch.export.load(file).module()
    return lambda images: list(network(images))


WRITERS: dict[str, Callable[[Loaded, Path], Answers]] = {
    "safetensors": _safetensors,
    "onnx": _onnx,
    "torchscript": _torchscript,
    "torch-export": _torch_export,
}
