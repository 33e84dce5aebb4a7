"""Adaptation plan: what a checkpoint of nnssl says of the pre-training that its weights come from, without torch.

Wald 2024, arXiv 2410.23132; the plan is nnssl's `adaptation_planning.AdaptationPlan`, an entry of the file beside the
weights. Sides and spacings are those of nnU-Net's arrays, whose axes are z, y and x unless the plan has moved them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError

from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.study import checkpoint_contents

ENTRY, WEIGHTS = "nnssl_adaptation_plan", "network_weights"
"""The entries of a checkpoint that hold the plan and the tensors."""

REMEDY = "or save network_weights alone"

SCHEMES = {"ZScoreNormalization": "zscore"}
"""How values are shown, by nnU-Net's names; others have no counterpart here."""

MOST = 100
"""Levels of a network, and channels."""

Value = TypeVar("Value")
Name = Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]
Whole = Annotated[int, Field(ge=1)]
Length = Annotated[float, Field(gt=0)]
Three = Annotated[list[Value], Field(min_length=3, max_length=3)]
Some = Annotated[list[Value], Field(max_length=MOST)]


def _permutation(axes: list[int]) -> list[int]:
    if sorted(axes) != [0, 1, 2]:
        raise ValueError(f"must be 0, 1 and 2 in some order (got {axes})")
    return axes


def _first_entry(value: Any) -> Any:
    """The first, as nnU-Net takes it; nnssl writes the one that it used."""
    return dict(islice(value.items(), 1)) if isinstance(value, dict) else value


def _none_if_empty(value: Any) -> Any:
    return None if isinstance(value, dict) and not value else value


class Part(Record):
    """A part of a plan as nnssl writes it, of which what is not needed here is left out."""

    model_config = ConfigDict(extra="ignore")


class Form(Part):
    """Channels, blocks, kernels and strides of a network; one number stands for all levels, or all axes."""

    features_per_stage: Whole | Some[Whole] | None = None
    n_blocks_per_stage: Whole | Some[Whole] | None = None
    kernel_sizes: Whole | Some[Whole | Some[Whole]] | None = None
    strides: Whole | Some[Whole | Some[Whole]] | None = None


class Built(Part):
    """The network of the weights."""

    arch_class_name: Name
    arch_kwargs: Annotated[Form | None, BeforeValidator(_none_if_empty)] = None


class Configuration(Part):
    """How volumes were fed in the pre-training."""

    spacing_style: str | None = None
    spacing: Three[Length] | None = None
    patch_size: Three[Whole] | None = None
    normalization_schemes: Some[Name] | None = None


class Pretraining(Part):
    """The configuration of the pre-training by its name, and how it moved the axes of volumes."""

    configurations: Annotated[dict[str, Configuration], Field(min_length=1), BeforeValidator(_first_entry)]
    transpose_backward: Annotated[list[int], Field(max_length=MOST), AfterValidator(_permutation)] | None = None


class Written(Part):
    """A plan as nnssl writes it."""

    architecture_plans: Built
    pretrain_plan: Pretraining
    recommended_downstream_patchsize: Three[Whole] | None = None
    pretrain_num_input_channels: Whole | None = None
    key_to_encoder: Name
    key_to_stem: Name


@dataclass(frozen=True, kw_only=True)
class AdaptationPlan:
    """How the network of a checkpoint is built, and what it was trained on."""

    architecture: str
    """nnssl's name of it, such as ResEncL."""
    form: Form | None
    """The form of an architecture that is not one of nnssl's presets."""
    keys: tuple[str, ...]
    """How the names of the encoder's tensors, and those of its stem, begin."""
    trained: Mapping[str, Any] = field(default_factory=dict)
    """Spacing, intensity, patch and channels of the training, as layouts state them, as far as the plan tells them."""


def read(file: Path) -> AdaptationPlan | None:
    """The plan in a checkpoint; None if it has none, or is no checkpoint. Refuses a plan that is not nnssl's."""
    content = checkpoint_contents.read(file)
    if content.get(ENTRY) is None:
        return None
    try:
        plan = _parsed(Written.model_validate(content[ENTRY]))
    except ValidationError as error:
        raise UserError(
            f"its {ENTRY} is not as nnssl writes it ({_first(error)})",
            file=file,
            remedy=f"ask its publisher for a complete one, {REMEDY}",
        ) from None
    _refuse_absent(plan.keys, content.get(WEIGHTS), file=file)
    return plan


def _first(error: ValidationError) -> str:
    """The first mistake and its place, without what stands there: that may be of any size."""
    mistake = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in mistake["loc"])
    return f"{place or ENTRY}: {mistake['msg'].removeprefix('Value error, ')}"[:300]


def _parsed(plan: Written) -> AdaptationPlan:
    pretrained = plan.pretrain_plan
    (configuration,) = pretrained.configurations.values()
    patch, axes = plan.recommended_downstream_patchsize or configuration.patch_size, pretrained.transpose_backward
    schemes = configuration.normalization_schemes
    trained = {
        "spacing": "native" if configuration.spacing_style == "noresample" else _moved(configuration.spacing, axes),
        "patch": _moved(patch, axes),
        # one scheme for each channel, of which there is one
        "intensity": SCHEMES.get(schemes[0], schemes[0]) if schemes else None,
        "channels": plan.pretrain_num_input_channels,
    }
    return AdaptationPlan(
        architecture=plan.architecture_plans.arch_class_name,
        form=plan.architecture_plans.arch_kwargs,
        keys=(plan.key_to_encoder, plan.key_to_stem),
        trained={kind: value for kind, value in trained.items() if value is not None},
    )


def _moved(values: Sequence[float] | None, axes: Sequence[int] | None) -> tuple[float, ...] | None:
    """What belongs to the axes of nnU-Net's arrays, along x, y and z."""
    return None if values is None else tuple(values[axis] for axis in axes or range(3))[::-1]


def _refuse_absent(keys: Sequence[str], tensors: Any, *, file: Path) -> None:
    """Refuse a plan of another file: one that names tensors which are not there."""
    for key in keys:
        if isinstance(tensors, dict) and not any(name.startswith(key) for name in tensors):
            raise UserError(
                f"its {ENTRY} names tensors below {key}, and the file has none",
                file=file,
                remedy=f"ask its publisher for the plan of these weights, {REMEDY}",
            )
