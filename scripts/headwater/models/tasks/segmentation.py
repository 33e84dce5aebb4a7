"""Segmentation: where in a volume each structure lies, voxel by voxel; each voxel belongs to one of them or to none."""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from monai.losses import DiceLoss
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.data.store import Prepared
from headwater.data.volumes import UNKNOWN, Volumes
from headwater.models import outlines
from headwater.models.decoder import SLOPE, Decoder
from headwater.models.encoder import Encoder
from headwater.models.slices import as_volumes

EVIDENCE = (
    "target", "true_positive", "false_positive", "false_negative", "hausdorff95", "surface_dice", "reference_ml",
    "predicted_ml",
)  # fmt: skip
KINDS = {"target": "binary"}
SCORE = "dice"
NEEDS = "is outlined"
CLASSES = ("positive",)
LEVELS = True
WEIGHTED = False

Outlines = Sequence[tuple[int, int]]
"""(channels, stride) of the outputs of a decoder, the finest first."""

MEASURES = ("loss", *EVIDENCE[1:])
"""What is measured of each case and structure: the loss of the whole case, and the evidence but the target."""


def form(targets: np.ndarray, *, labels: Sequence[str] = (), partial: bool = False) -> str:
    """Structures exclude each other, whichever of the archive's are asked for."""
    return "exclusive"


def targets(data: Prepared, rows: np.ndarray, *, labels: Sequence[str]) -> np.ndarray:
    """Float32 (rows, labels): 1 where the reference shows the structure, 0 where not, NaN where there is none."""
    return data.targets(rows, list(labels))


def eligible(targets: np.ndarray) -> np.ndarray:
    """For each structure, whether some reference shows it."""
    return (targets == 1).any(axis=0)


class _Outlining(nn.Module):
    """Layers that tell the structures apart, on a new decoder of the encoder's levels or on the backbone's own.

    With `deep` there is one for each lower resolution as well, the lowest left out, as in nnU-Net; the first is drawn
    the same with and without them.
    """

    def __init__(self, encoder: Encoder, *, decoder: Decoder | None, labels: int, seed: int, deep: bool):
        super().__init__()
        self.depth, self.space, self.decoder = encoder.depth, encoder.frame, decoder
        self.TAKES = "levels" if decoder else "decoded"
        outputs = decoder.outlines if decoder else encoder.outlines
        if deep:
            _refuse_shallow(outputs, name=encoder.name)
        widths = [width for width, _ in (outputs[:-1] if deep else outputs[:1])]
        self.last, *lower = (
            _last(width, labels, encoder.dimensions, seed=seed + number) for number, width in enumerate(widths)
        )
        self.lower = nn.ModuleList(lower)

    def forward(self, given: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Logits (batch, 1 + labels, *space) of the background and of each structure.

        In training under deep supervision those of all resolutions, the finest first.
        """
        decoded = self.decoder(given, space=self.space) if self.decoder else given
        finest = self._logits(self.last, decoded[0])
        if not self.training or not len(self.lower):
            return finest
        return [finest, *map(self._logits, self.lower, decoded[1:])]

    def _logits(self, layer: nn.Module, decoded: Tensor) -> Tensor:
        return as_volumes(layer(decoded), depth=self.depth)


def head(encoder: Encoder, *, labels: int, seed: int, deep: bool = False) -> nn.Module:
    """The backbone's own decoder if it has one, else a plain U-Net's, and a last layer."""
    if not encoder.outlines:
        return probe(encoder, labels=labels, seed=seed, deep=deep)
    return _Outlining(encoder, decoder=None, labels=labels, seed=seed, deep=deep)


def probe(encoder: Encoder, *, labels: int, seed: int, deep: bool = False) -> nn.Module:
    """A plain U-Net's decoder and a last layer, whatever the backbone has: what learns where the encoder is frozen."""
    decoder = Decoder(encoder.widths, encoder.strides, dimensions=encoder.dimensions, seed=seed)
    return _Outlining(encoder, decoder=decoder, labels=labels, seed=seed, deep=deep)


def _refuse_shallow(outlines: Outlines, *, name: str) -> None:
    """Refuse deep supervision of a decoder that has no output between its finest and its lowest one."""
    if len(outlines) < 3:
        raise UserError(
            f"the decoder of {name} has no output between its finest and its lowest one",
            remedy="remove deep_supervision, or choose a deeper backbone",
        )


def _last(width: int, labels: int, dimensions: int, *, seed: int) -> nn.Module:
    """A convolution of single positions to the background and the structures, with a bias of 0.

    Weights are normal (He, fan in) as in nnU-Net. Small ones, as heads of classes have, let all structures begin alike:
    the encoder then hears what sets them apart from the background long before what sets them apart from each other.
    """
    layer = (nn.Conv2d if dimensions == 2 else nn.Conv3d)(width, 1 + labels, kernel_size=1)
    drawn = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        layer.weight.copy_(math.sqrt(2 / ((1 + SLOPE**2) * width)) * drawn)
        layer.bias.zero_()
    return layer


def label_weights(targets: np.ndarray, *, form: str, wanted: bool) -> Tensor:
    """All 1: Dice weighs structures alike, however small they are."""
    return torch.ones(targets.shape[1])


def loss(outputs: Tensor | Sequence[Tensor], targets: Tensor, *, weights: Tensor, form: str) -> Tensor:
    """The mean over the cases of Dice loss and cross-entropy (Isensee 2021, supplementary note 2).

    `outputs` (batch, 1 + labels, *space), `targets` uint8 (batch, *space). Cases whose label map is unknown add
    nothing, and the denominator is the number of cases, so that the mean over equal shares of a batch is its loss.
    Outputs of several resolutions, the finest first, are weighted 1, 1/2, 1/4, ... in a sum of 1.
    """
    if isinstance(outputs, Tensor):
        return _losses(outputs, targets).mean()
    halved = [0.5**number for number in range(len(outputs))]
    losses = [_losses(output, _thinned(targets, output)).mean() for output in outputs]
    return sum(weight * each for weight, each in zip(halved, losses, strict=True)) / sum(halved)


def _thinned(targets: Tensor, outputs: Tensor) -> Tensor:
    """Label maps at the resolution of outputs: of each voxel what lies in its middle, as in nnU-Net."""
    space = outputs.shape[2:]
    return F.interpolate(targets[:, None].float(), size=space, mode="nearest-exact")[:, 0].to(targets.dtype)


def _losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of each case (batch,); 0 where its label map is unknown."""
    logits, known = outputs.float(), (targets != UNKNOWN).flatten(1).all(dim=1)
    classes = torch.where(targets == UNKNOWN, 0, targets).long()[:, None]
    overlap = DiceLoss(include_background=False, to_onehot_y=True, softmax=True, reduction="none")(logits, classes)
    entropy = F.cross_entropy(logits, classes[:, 0], reduction="none")
    return torch.where(known, overlap.flatten(1).mean(dim=1) + entropy.flatten(1).mean(dim=1), 0.0)


def measured(
    logits: Tensor,
    *,
    volumes: Volumes,
    row: int,
    values: Sequence[int | None],
    tolerance: float,
    surfaces: bool,
) -> tuple[Tensor, np.ndarray]:
    """(MEASURES of a case, float64 (labels, measures); its predicted label map uint8, on the source's grid).

    `logits` float32 (1 + labels, x, y, z) on the prepared grid; `values`: of each structure in the case's label maps,
    None for one that they do not have. Without `surfaces` distances of borders are NaN.
    """
    drawn, reference = volumes.to_source(row, logits.numpy()).argmax(axis=0).astype(np.uint8), volumes.reference(row)
    spacing = volumes.source_spacing(row)
    wanted = np.zeros(256, np.uint8)
    found = np.full((len(values), len(MEASURES)), np.nan)
    for at, value in enumerate(values):
        if value is not None:
            wanted[value] = at + 1
            one, other = drawn == at + 1, reference == value
            outline = (outlines.measure if surfaces else _counted)(one, other, spacing=spacing, tolerance=tolerance)
            found[at, 1:] = [getattr(outline, name) for name in MEASURES[1:]]
    masked = torch.from_numpy(wanted[volumes.mask(row)])
    found[:, 0] = _losses(logits[None], masked[None]).item() if logits.isfinite().all() else np.nan
    return torch.from_numpy(found), drawn


def _counted(
    predicted: np.ndarray, reference: np.ndarray, *, spacing: np.ndarray, tolerance: float
) -> outlines.Outline:
    """Voxels and millilitres, without distances."""
    both, of_drawn, of_real = (int(np.count_nonzero(mask)) for mask in (predicted & reference, predicted, reference))
    millilitres = float(np.prod(spacing)) / outlines.CUBIC_MM
    return outlines.Outline(
        true_positive=both,
        false_positive=of_drawn - both,
        false_negative=of_real - both,
        hausdorff95=np.nan,
        surface_dice=np.nan,
        reference_ml=of_real * millilitres,
        predicted_ml=of_drawn * millilitres,
    )


def loss_of(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean over the cases of their losses, of outputs as `measured` gives them; unknown cases add nothing."""
    return torch.where(targets.isfinite().all(dim=1), outputs[:, 0, 0], 0.0).mean()


def sound(outputs: Tensor) -> bool:
    """Whether all logits were numbers, of outputs as `measured` gives them."""
    return bool(outputs[..., 0].isfinite().all())


def evidence(
    outputs: Tensor, targets: np.ndarray, *, form: str, columns: Sequence[int] | None = None
) -> dict[str, np.ndarray]:
    """Voxels, millimetres and millilitres (cases, labels) on the source's grid; NaN where there is no reference."""
    chosen = outputs.numpy() if columns is None else outputs.numpy()[:, list(columns)]
    known = np.isfinite(targets)
    return {"target": targets} | {
        name: np.where(known, chosen[..., MEASURES.index(name)], np.nan) for name in EVIDENCE[1:]
    }


def validation_score(evidence: dict[str, np.ndarray]) -> float | None:
    """The mean over the structures of their mean Dice over the cases whose reference shows them."""
    shared = 2 * evidence["true_positive"]
    either = shared + evidence["false_positive"] + evidence["false_negative"]
    present = evidence["target"] == 1
    each = [
        float((shared[present[:, at], at] / either[present[:, at], at]).mean())
        for at in np.flatnonzero(present.any(axis=0))
    ]
    return float(np.mean(each)) if each else None
