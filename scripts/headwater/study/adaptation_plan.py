"""Adaptation plan: what a checkpoint of nnssl says of the pre-training that its weights come from, without torch.

Wald 2024, arXiv 2410.23132; the plan is nnssl's `adaptation_planning.AdaptationPlan`, an entry of the file beside the
weights. Sides and spacings are those of nnU-Net's arrays, whose axes are z, y and x unless the plan has moved them.
"""

import io
import pickle
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater.core.errors import UserError

ENTRY, WEIGHTS = "nnssl_adaptation_plan", "network_weights"
"""The entries of a checkpoint that hold the plan and the tensors."""

LARGEST = 64 * 2**20
"""Bytes of a table of contents that are read; the tensors themselves lie beside it."""

UNREADABLE = (
    *(ArithmeticError, AttributeError, EOFError, ImportError, LookupError, MemoryError, OSError, RuntimeError),
    *(TypeError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error),
)
"""What damaged bytes raise; the file is refused when it is adopted."""

SCHEMES = {"ZScoreNormalization": "zscore"}
"""How values are shown, by nnU-Net's names; others have no counterpart here."""


@dataclass(frozen=True, kw_only=True)
class AdaptationPlan:
    """How the network of a checkpoint is built, and what it was trained on."""

    architecture: str
    """nnssl's name of it, such as ResEncL."""
    form: Mapping[str, Any]
    """Features, blocks, kernels and strides of an architecture that is not one of nnssl's presets; else empty."""
    keys: tuple[str, ...]
    """How the names of the encoder's tensors, and those of its stem, begin."""
    trained: Mapping[str, Any] = field(default_factory=dict)
    """Spacing, intensity, patch and channels of the training, as layouts state them, as far as the plan tells them."""


def read(file: Path) -> AdaptationPlan | None:
    """The plan in a checkpoint; None if it has none, or is no checkpoint. Refuses a plan that lacks its parts."""
    content = _content(file)
    plan = content.get(ENTRY)
    if not isinstance(plan, dict):
        return None
    try:
        read = _parsed(plan)
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        raise UserError(
            f"its {ENTRY} is not as nnssl writes it ({type(error).__name__}: {error})",
            file=file,
            remedy="ask its publisher for a complete one, or save network_weights alone",
        ) from None
    _refuse_absent(read.keys, content.get(WEIGHTS), file=file)
    return read


def _parsed(plan: Mapping[str, Any]) -> AdaptationPlan:
    built, pretrained = plan["architecture_plans"], plan["pretrain_plan"]
    # the first, as nnU-Net takes it; nnssl writes the one that it used
    configuration = next(iter(pretrained["configurations"].values()))
    patch = plan.get("recommended_downstream_patchsize") or configuration.get("patch_size")
    trained = {
        "spacing": _spacing(configuration, pretrained),
        "patch": tuple(int(side) for side in _of_axes(patch, pretrained)) if patch else None,
        "intensity": _intensity(configuration.get("normalization_schemes")),
        "channels": plan.get("pretrain_num_input_channels"),
    }
    return AdaptationPlan(
        architecture=str(built["arch_class_name"]),
        form=built.get("arch_kwargs") or {},
        keys=(plan["key_to_encoder"], plan["key_to_stem"]),
        trained={kind: value for kind, value in trained.items() if value is not None},
    )


def _spacing(configuration: Mapping[str, Any], pretrained: Mapping[str, Any]) -> tuple[float, ...] | str | None:
    """Millimetres along x, y and z; `native` where volumes were not resampled."""
    if configuration.get("spacing_style") == "noresample":
        return "native"
    spacing = configuration.get("spacing")
    return None if spacing is None else tuple(float(length) for length in _of_axes(spacing, pretrained))


def _of_axes(values: Sequence[float], pretrained: Mapping[str, Any]) -> list[float]:
    """What belongs to the axes of nnU-Net's arrays, along x, y and z."""
    if len(values) != 3:
        raise ValueError(f"{list(values)} are no three axes")
    moved = pretrained.get("transpose_backward") or range(3)
    return [values[axis] for axis in moved][::-1]


def _intensity(schemes: Sequence[str] | None) -> str | None:
    """How values were shown, one scheme for each channel, of which there is one."""
    return SCHEMES.get(schemes[0], schemes[0]) if schemes else None


def _refuse_absent(keys: Sequence[str], tensors: Any, *, file: Path) -> None:
    """Refuse a plan of another file: one that names tensors which are not there."""
    for key in keys:
        if isinstance(tensors, dict) and not any(str(name).startswith(key) for name in tensors):
            raise UserError(
                f"its {ENTRY} names tensors below {key}, and the file has none",
                file=file,
                remedy="ask its publisher for the plan of these weights, or save network_weights alone",
            )


class _Nothing:
    """In place of all that a checkpoint holds besides text, numbers and containers: tensors above all."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _Contents(pickle.Unpickler):
    """Reads text, numbers and containers; nothing that a file names is imported or run."""

    def find_class(self, module: str, name: str) -> type:
        return OrderedDict if (module, name) == ("collections", "OrderedDict") else _Nothing

    def persistent_load(self, identity: Any) -> None:
        return None


def _content(file: Path) -> dict[str, Any]:
    """The entries of a file by torch.save, without tensors; empty if it is none."""
    try:
        with zipfile.ZipFile(file) as archive:
            (name,) = (entry for entry in archive.namelist() if entry.endswith("/data.pkl"))
            if archive.getinfo(name).file_size > LARGEST:
                return {}
            content = _Contents(io.BytesIO(archive.read(name))).load()
    except UNREADABLE:
        return {}
    return content if isinstance(content, dict) else {}
