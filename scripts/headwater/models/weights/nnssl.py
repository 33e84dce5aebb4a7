"""ResEnc-L networks as nnssl publishes them, pre-trained without labels: OpenMind's, tensors under `network_weights`.

The publisher's networks name each layer twice or thrice, and keep the encoder a second time within the decoder; the
copies are left out. Take `nnunet/resenc_l`. The file's adaptation plan says how its network is built and what it was
trained on; what it does not say is as in the papers.
"""

from pathlib import Path
from typing import Any

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.models.weights import Card
from headwater.study import adaptation_plan
from headwater.study.adaptation_plan import AdaptationPlan, Form

CARD = Card(
    title="nnssl (arXiv 2410.23132, 2412.17041): residual encoder U-Nets pre-trained on MR without labels",
    licence="CC BY-SA 4.0: what is made of the weights must be passed on under the same terms",
    where="https://huggingface.co/collections/MIC-DKFZ/openmind-models-6819c21c7fe6f0aaaab7dadf",
)
DIMENSIONS = (3,)
INTENSITY = "zscore"
PATCH = (160, 160, 160)
CHANNELS = 1
ENCODER_ONLY = True
PLANNED = True
FOOTNOTE = (
    "the axes of the pre-training are not checked, as nnssl leaves volumes as their files have them; nor is the "
    "spacing where the file has no adaptation plan"
)
PRESETS = {"ResEncL": "resenc_l", "NoSkipResEncL": "resenc_l"}
"""Our names of nnssl's presets that are residual encoders."""
RULES = (
    (r"^(module\.)?(_orig_mod\.)?", ""),
    (r"^(stem|stages)\.", r"encoder.\1."),
)
DROPPED = {
    r"\.all_modules\.": "the layer beside it under a second name",
    r"^decoder\.encoder\.": "the encoder under a second name",
    r"^decoder\.seg_layers\.": "layers that restored the volume; every dataset gets a fresh head",
    r"^(mask_token|projector|predictor|head)": "only the pre-training needs it; every dataset gets a fresh head",
}
SIGNS = (r"stem\.convs\.0\.all_modules\.", r"stages\.0\.blocks\.")


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) that change nothing: the weights expect z-scores of each volume."""
    return (0.0,), (1.0,)


def check(file: Path, metadata: dict[str, str], *, options: Record, backbone: str) -> None:
    """Refuse weights of another network than the backbone, by the adaptation plan in their file if there is one."""
    plan = adaptation_plan.read(file)
    fitting = [] if plan is None else [f"nnunet/{name}" for name in _networks(plan)]
    if plan is None or not backbone or backbone in fitting:
        return
    raise UserError(
        f"holds {_told(plan)} by its adaptation plan, not {backbone}",
        file=file,
        remedy=f"set backbone: {fitting[0]}" if fitting else "choose other weights: no backbone here is built like it",
    )


def _networks(plan: AdaptationPlan) -> list[str]:
    """Our networks that are built as the plan says."""
    if plan.form is None:
        return [PRESETS[plan.architecture]] if plan.architecture in PRESETS else []
    forms = registry.constant("backbones", "nnunet", "FORMS", default={})
    residual = plan.architecture == "ResidualEncoderUNet"
    return [name for name, form in forms.items() if residual and _alike(plan.form, *form)]


def _alike(form: Form, widths: tuple[int, ...], depths: tuple[int, ...]) -> bool:
    """Whether an encoder of a plan has these channels and blocks, and kernels and strides like those of nnU-Net's."""
    levels = len(widths)
    strides = [[1] * 3, *[[2] * 3] * (levels - 1)]
    wanted = {"features_per_stage": list(widths), "n_blocks_per_stage": list(depths)}
    cubes = {"kernel_sizes": [[3] * 3] * levels, "strides": strides}
    return all(_times(getattr(form, key), levels) == value for key, value in wanted.items()) and all(
        [_times(side, 3) for side in _times(getattr(form, key), levels)] == value for key, value in cubes.items()
    )


def _times(value: Any, count: int) -> list[Any]:
    """Values of each level or axis; a single one stands for all of them."""
    return value if isinstance(value, list) else [value] * count


def _told(plan: AdaptationPlan) -> str:
    """A plan's network, for people."""
    shown = [] if plan.form is None else [f"{key} {value}" for key, value in plan.form]
    return f"a {plan.architecture}" + (f" of {', '.join(shown)}" if shown else "")
