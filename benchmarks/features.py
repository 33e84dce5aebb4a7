"""Whether methods learn better features than nothing, and as good ones as the same methods made of lightly's parts.

    python benchmarks/features.py [--samples ../shared/data] [--sets photographs ...] [--methods simclr ...]
                                  [--steps 300] [--seeds 3] [--table features.csv]

Each method pre-trains a small network (timm/test_resnet at 32 pixels, SparK at 64; iBOT, I-JEPA and SimMIM
timm/test_vit at 64, MAE at 128) from the same weights for as many steps, once as headwater does it and once by
lightly's modules, losses and transforms, with the same optimiser. What the features say of other images is then told
by their ten nearest neighbours and by a logistic regression, as the share of images whose class is right. SparK and
I-JEPA have no peer here.

`photographs` are windows of the two photographs that scikit-learn ships; the class is the place, and windows of the
left half of each place are learned from, those of the right half asked. `grey photographs` are the same without their
colours. `radiographs` (ChestX-ray14, the projection is the class) and `slices` (LUNA16, upper or lower of the two of a
scan) are the real samples in `--samples`, apart by patient; they are left out where they are absent.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
# this folder holds a file with the name of a standard module, which nobody else may meet
sys.path[0] = str(Path(__file__).resolve().parent.parent / "scripts")

import lightly.loss
import lightly.models.modules as parts
import lightly.models.utils as tools
import lightly.transforms
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import torchvision.transforms.v2 as T
from lightly.models.modules.heads import VICRegProjectionHead
from lightly.utils.scheduler import cosine_schedule
from PIL import Image
from sklearn.datasets import load_sample_images
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from headwater.core import registry
from headwater.core.progress import bar
from headwater.models import backbones
from headwater.models.encoder import Encoder
from headwater.models.tasks import Task
from headwater.study.recipe import Training
from headwater.study.source import Source
from headwater.training import schedule
from headwater.training.views import draws

SIDE, BATCH, NEIGHBOURS = 64, 64, 10
OF_TRANSFORMERS = ("ibot", "ijepa", "mae", "simmim")
COLOURS = {"saturation", "hue", "grey"}
"""The keys of views that say something of colours."""


@dataclass(frozen=True)
class Sample:
    """Images uint8 (count, channels, SIDE, SIDE) with a class each: some to learn from, others to ask about."""

    learned: np.ndarray
    learned_classes: np.ndarray
    asked: np.ndarray
    asked_classes: np.ndarray
    like: str
    """The usual views of such images."""


# the samples


def photographs(samples: Path, *, grey: bool = False) -> Sample:
    """Windows of 24 places of two photographs."""
    chance, places = np.random.default_rng(0), (3, 4)
    taken: dict[bool, list] = {True: [], False: []}
    for photograph in load_sample_images().images:
        height, width = (side // count for side, count in zip(photograph.shape, places, strict=False))
        for down, across in product(*map(range, places)):
            place = photograph[down * height : (down + 1) * height, across * width : (across + 1) * width]
            for half, asked in ((place[:, : width // 2], False), (place[:, width // 2 :], True)):
                for _ in range(10 if asked else 30):
                    side = int(chance.integers(44, min(half.shape[:2]) + 1))
                    top, left = (int(chance.integers(room - side + 1)) for room in half.shape[:2])
                    taken[asked].append(
                        _resized(Image.fromarray(half[top : top + side, left : left + side]), grey=grey)
                    )
    number = 2 * places[0] * places[1]
    return Sample(
        np.stack(taken[False]), np.repeat(np.arange(number), 30),
        np.stack(taken[True]), np.repeat(np.arange(number), 10), like="photographs",
    )  # fmt: skip


def radiographs(samples: Path) -> Sample | None:
    """The radiographs of ChestX-ray14; whether they were taken from behind or before."""
    folder = samples / "chestxray14_64px"
    if not folder.exists():
        return None
    table = pd.read_csv(folder / "Data_Entry_2017_v2020.csv", index_col=False)
    table = table[[(folder / "images_001" / "images" / name).exists() for name in table["Image Index"]]]
    images = [_resized(Image.open(folder / "images_001" / "images" / name), grey=True) for name in table["Image Index"]]
    return _apart(images, (table["View Position"] == "AP").to_numpy(int), table["Patient ID"], like="radiographs")


def slices(samples: Path) -> Sample | None:
    """Two slices of each of 60 CT scans; which is the lower number."""
    files = sorted((samples / "luna16_slices").glob("*.png"))
    if not files:
        return None
    scans = pd.Series([file.name.partition(".mhd")[0] for file in files])
    numbers = pd.Series([int(file.stem.rpartition("_")[2]) for file in files])
    upper = (numbers > numbers.groupby(scans).transform("mean")).to_numpy(int)
    return _apart([_resized(Image.open(file), grey=True) for file in files], upper, scans, like="ct")


def _resized(image: Image.Image, *, grey: bool) -> np.ndarray:
    """(channels, SIDE, SIDE)."""
    small = image.convert("L" if grey else "RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.atleast_3d(np.asarray(small)).transpose(2, 0, 1)


def _apart(images: list[np.ndarray], classes: np.ndarray, patients: pd.Series, *, like: str) -> Sample:
    """A third of the patients is asked about."""
    asked = (pd.factorize(patients)[0] % 3 == 0).astype(bool)
    every = np.stack(images)
    return Sample(every[~asked], classes[~asked], every[asked], classes[asked], like=like)


SETS = {
    "photographs": photographs,
    "grey photographs": lambda samples: photographs(samples, grey=True),
    "radiographs": radiographs,
    "slices": slices,
}


# what features say


@torch.no_grad()
def told(encoder: Encoder, sample: Sample) -> tuple[float, float]:
    """The shares of images whose class is right, by neighbours and by a linear probe."""
    known, asked = (_features(encoder, images) for images in (sample.learned, sample.asked))
    near = sample.learned_classes[(F.normalize(asked) @ F.normalize(known).T).topk(NEIGHBOURS).indices.numpy()]
    votes = np.stack([(near == kind).sum(axis=1) for kind in range(sample.learned_classes.max() + 1)], axis=1)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    linear = probe.fit(known.numpy(), sample.learned_classes).score(asked.numpy(), sample.asked_classes)
    return float((votes.argmax(axis=1) == sample.asked_classes).mean()), float(linear)


def _features(encoder: Encoder, images: np.ndarray) -> Tensor:
    shown = F.interpolate(_in_colour(torch.from_numpy(images)), size=encoder.size, mode="area")
    return torch.cat([encoder.eval()(part) for part in shown.split(256)])


def _in_colour(images: Tensor) -> Tensor:
    return images.float().expand(-1, 3, -1, -1) / 255


# the same methods of lightly's parts


class Peer(nn.Module):
    """A method of lightly's parts: `loss` of a list of views, each (batch, 3, h, w) from 0 to 1."""

    def __init__(self, encoder: Encoder, *, transform: Callable, steps: int):
        super().__init__()
        self.encoder, self.transform, self.steps = encoder, transform, steps

    def before(self, step: int) -> None:
        """What moves between steps."""


class SimclrPeer(Peer):
    def __init__(self, encoder: Encoder, *, steps: int):
        super().__init__(
            encoder, transform=lightly.transforms.SimCLRTransform(encoder.size, normalize=None), steps=steps
        )
        self.head, self.criterion = parts.SimCLRProjectionHead(encoder.width, 128, 64), lightly.loss.NTXentLoss(0.2)

    def forward(self, views: list[Tensor], classes: Tensor) -> Tensor:
        return self.criterion(*self.head(self.encoder(torch.cat(views))).chunk(2))


class MocoPeer(Peer):
    def __init__(self, encoder: Encoder, *, steps: int):
        made = lightly.transforms.MoCoV2Transform(encoder.size, min_scale=0.2, normalize=None)
        super().__init__(encoder, transform=made, steps=steps)
        self.head = parts.MoCoProjectionHead(encoder.width, 128, 64)
        self.late = nn.Sequential(encoder.twin(), parts.MoCoProjectionHead(encoder.width, 128, 64)).requires_grad_(
            False
        )
        self.late.load_state_dict(nn.Sequential(encoder, self.head).state_dict())
        self.criterion = lightly.loss.NTXentLoss(0.2, memory_bank_size=(256, 64))

    def before(self, step: int) -> None:
        tools.update_momentum(nn.Sequential(self.encoder, self.head), self.late, 0.9)

    def forward(self, views: list[Tensor], classes: Tensor) -> Tensor:
        with torch.no_grad():
            keys = self.late(views[1])
        return self.criterion(self.head(self.encoder(views[0])), keys)


class ByolPeer(Peer):
    def __init__(self, encoder: Encoder, *, steps: int):
        first = lightly.transforms.BYOLView1Transform(encoder.size, normalize=None)
        second = lightly.transforms.BYOLView2Transform(encoder.size, normalize=None)
        super().__init__(encoder, transform=lightly.transforms.BYOLTransform(first, second), steps=steps)
        self.head, self.predictor = (
            parts.BYOLProjectionHead(encoder.width, 128, 64),
            parts.BYOLPredictionHead(64, 128, 64),
        )
        self.late = nn.Sequential(encoder.twin(), parts.BYOLProjectionHead(encoder.width, 128, 64)).requires_grad_(
            False
        )
        self.late.load_state_dict(nn.Sequential(encoder, self.head).state_dict())
        self.criterion = lightly.loss.NegativeCosineSimilarity()

    def before(self, step: int) -> None:
        tools.update_momentum(
            nn.Sequential(self.encoder, self.head), self.late, cosine_schedule(step, self.steps, 0.9, 1.0)
        )

    def forward(self, views: list[Tensor], classes: Tensor) -> Tensor:
        with torch.no_grad():
            aims = [self.late(view) for view in views]
        said = [self.predictor(self.head(self.encoder(view))) for view in views]
        return (self.criterion(said[0], aims[1]) + self.criterion(said[1], aims[0])) / 2


class MocoV3Peer(Peer):
    def __init__(self, encoder: Encoder, *, steps: int):
        first = lightly.transforms.BYOLView1Transform(encoder.size, normalize=None)
        second = lightly.transforms.BYOLView2Transform(encoder.size, normalize=None)
        super().__init__(encoder, transform=lightly.transforms.BYOLTransform(first, second), steps=steps)
        self.head, late = (parts.MoCoProjectionHead(encoder.width, 128, 64, 3, batch_norm=True) for _ in range(2))
        self.predictor = parts.MoCoProjectionHead(64, 128, 64, 2, batch_norm=True)
        late.load_state_dict(self.head.state_dict())
        self.late = nn.Sequential(encoder.twin(), late).requires_grad_(False)

    def before(self, step: int) -> None:
        tools.update_momentum(
            nn.Sequential(self.encoder, self.head), self.late, cosine_schedule(step, self.steps, 0.9, 1.0)
        )

    def forward(self, views: list[Tensor], classes: Tensor) -> Tensor:
        with torch.no_grad():
            aims = [F.normalize(self.late(view)) for view in views]
        said = [F.normalize(self.predictor(self.head(self.encoder(view)))) for view in views]
        own = torch.arange(len(classes))
        return 0.4 * sum(F.cross_entropy(said[one] @ aims[1 - one].T / 0.2, own) for one in (0, 1))


class VicregPeer(Peer):
    def __init__(self, encoder: Encoder, *, steps: int):
        super().__init__(
            encoder, transform=lightly.transforms.VICRegTransform(encoder.size, normalize=None), steps=steps
        )
        self.head, self.criterion = VICRegProjectionHead(encoder.width, 128, 64), lightly.loss.VICRegLoss()

    def forward(self, views: list[Tensor], classes: Tensor) -> Tensor:
        return self.criterion(*(self.head(self.encoder(view)) for view in views))


class BarlowTwinsPeer(Peer):
    def __init__(self, encoder: Encoder, *, steps: int):
        first = lightly.transforms.BYOLView1Transform(encoder.size, normalize=None)
        second = lightly.transforms.BYOLView2Transform(encoder.size, normalize=None)
        super().__init__(encoder, transform=lightly.transforms.BYOLTransform(first, second), steps=steps)
        self.head = parts.BarlowTwinsProjectionHead(encoder.width, 128, 64)
        self.criterion = lightly.loss.BarlowTwinsLoss()

    def forward(self, views: list[Tensor], classes: Tensor) -> Tensor:
        return self.criterion(*(self.head(self.encoder(view)) for view in views))


class SwavPeer(Peer):
    def __init__(self, encoder: Encoder, *, steps: int):
        sides = (encoder.size, encoder.size // 2)
        made = lightly.transforms.SwaVTransform(crop_sizes=sides, crop_counts=(2, 4), normalize=None)
        super().__init__(encoder, transform=made, steps=steps)
        self.head, self.prototypes = parts.SwaVProjectionHead(encoder.width, 128, 64), parts.SwaVPrototypes(64, 32)
        self.criterion = lightly.loss.SwaVLoss()

    def forward(self, views: list[Tensor], classes: Tensor) -> Tensor:
        self.prototypes.normalize()
        features = torch.cat([self.encoder(torch.cat(views[:2])), self.encoder(torch.cat(views[2:]))])
        said = self.prototypes(F.normalize(self.head(features), dim=1)).chunk(len(views))
        return self.criterion(said[:2], said[2:])


class DinoPeer(Peer):
    def __init__(self, encoder: Encoder, *, steps: int):
        made = lightly.transforms.DINOTransform(
            global_crop_size=encoder.size,
            global_crop_scale=(0.1, 1.0),
            n_local_views=0,
            cj_strength=1.0,
            cj_sat=0.8,
            normalize=None,
        )
        super().__init__(encoder, transform=made, steps=steps)
        self.head, late = (parts.DINOProjectionHead(encoder.width, 128, 32, 256, batch_norm=True) for _ in range(2))
        late.load_state_dict(self.head.state_dict())
        self.late = nn.Sequential(encoder.twin(), late).requires_grad_(False)
        self.late[0].load_state_dict(encoder.state_dict())
        self.criterion = lightly.loss.DINOLoss(256, center_momentum=0.0)

    def before(self, step: int) -> None:
        tools.update_momentum(
            nn.Sequential(self.encoder, self.head), self.late, cosine_schedule(step, self.steps, 0.9, 1.0)
        )

    def forward(self, views: list[Tensor], classes: Tensor) -> Tensor:
        with torch.no_grad():
            aims = self.late(torch.cat(views)).chunk(2)
        said = self.head(self.encoder(torch.cat(views))).chunk(2)
        return self.criterion(list(aims), list(said), teacher_temp=0.02)


class IbotPeer(Peer):
    def __init__(self, encoder: Encoder, *, steps: int):
        made = lightly.transforms.DINOTransform(
            global_crop_size=encoder.size,
            global_crop_scale=(0.25, 1.0),
            local_crop_size=encoder.size // 2,
            local_crop_scale=(0.05, 0.25),
            n_local_views=4,
            normalize=None,
        )
        super().__init__(encoder, transform=made, steps=steps)
        self.grid, late = encoder.backbone.patch_embed.grid_size, encoder.twin()
        late.load_state_dict(encoder.state_dict())
        self.head, late_head = (parts.DINOProjectionHead(encoder.width, 128, 32, 256) for _ in range(2))
        late_head.load_state_dict(self.head.state_dict())
        self.late = nn.ModuleList([late, late_head]).requires_grad_(False)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, encoder.width))
        self.criterion, self.of_patches = lightly.loss.DINOLoss(256), lightly.loss.IBOTPatchLoss(256)

    def before(self, step: int) -> None:
        tools.update_momentum(
            nn.ModuleList([self.encoder, self.head]), self.late, cosine_schedule(step, self.steps, 0.9, 1.0)
        )

    def forward(self, views: list[Tensor], classes: Tensor) -> Tensor:
        large = self.encoder.normalised(torch.cat(views[:2]))
        mask = tools.random_block_mask((len(large), *self.grid), min_num_masks_per_block=1)
        asked = {"weight_initialization": "skip", "pos_embed_initialization": "skip"}
        student = parts.MaskedVisionTransformerTIMM(self.encoder.backbone, mask_token=self.token, **asked)
        tokens = student.encode(large, mask=F.pad(mask.flatten(1), (1, 0)))
        with torch.no_grad():
            late = self.late[0].backbone.forward_features(large)
            aims, patch_aims = self.late[1](late[:, 0]).chunk(2), self.late[1](late[:, 1:][mask.flatten(1)])
        said = [*self.head(tokens[:, 0]).chunk(2), *self.head(self.encoder(torch.cat(views[2:]))).chunk(len(views) - 2)]
        of_patches = self.of_patches(patch_aims, self.head(tokens[:, 1:][mask.flatten(1)]), mask, teacher_temp=0.04)
        return self.criterion(list(aims), said, teacher_temp=0.04) + of_patches


class MaePeer(Peer):
    def __init__(self, encoder: Encoder, *, steps: int):
        still = {"mean": [0.0] * 3, "std": [1.0] * 3}
        super().__init__(encoder, transform=lightly.transforms.MAETransform(encoder.size, normalize=still), steps=steps)
        backbone, count = encoder.backbone, encoder.backbone.patch_embed.num_patches
        self.side, self.count = backbone.patch_embed.patch_size[0], count + 1
        asked = {"weight_initialization": "skip", "pos_embed_initialization": "skip"}
        self.masked = parts.MaskedVisionTransformerTIMM(backbone, **asked)
        self.embed, self.draw = nn.Linear(backbone.embed_dim, 64), nn.Linear(64, 3 * self.side**2)
        self.decoder = parts.MaskedVisionTransformerDecoderTIMM(count, 64, 2, 4)

    def forward(self, views: list[Tensor], classes: Tensor) -> Tensor:
        images = self.encoder.normalised(views[0])
        kept, hidden = tools.random_token_mask((len(images), self.count), mask_ratio=0.75)
        embedded = self.embed(self.masked.encode(images, idx_keep=kept))
        whole = tools.set_at_index(embedded.new_zeros(len(images), self.count, 64), kept, embedded)
        said = self.draw(tools.get_at_index(self.decoder(whole, idx_mask=hidden), hidden))
        aims = tools.get_at_index(tools.patchify(images, self.side), hidden - 1)
        aims = (aims - aims.mean(dim=-1, keepdim=True)) / (aims.var(dim=-1, keepdim=True) + 1e-6).sqrt()
        return F.mse_loss(said, aims)


class SimmimPeer(Peer):
    def __init__(self, encoder: Encoder, *, steps: int):
        still = {"mean": [0.0] * 3, "std": [1.0] * 3}
        made = lightly.transforms.MAETransform(encoder.size, min_scale=0.67, normalize=still)
        super().__init__(encoder, transform=made, steps=steps)
        backbone = encoder.backbone
        self.side, self.count = backbone.patch_embed.patch_size[0], backbone.patch_embed.num_patches + 1
        asked = {"weight_initialization": "skip", "pos_embed_initialization": "skip"}
        self.masked, self.draw = (
            parts.MaskedVisionTransformerTIMM(backbone, **asked),
            nn.Linear(backbone.embed_dim, 3 * self.side**2),
        )

    def forward(self, views: list[Tensor], classes: Tensor) -> Tensor:
        images = self.encoder.normalised(views[0])
        _, hidden = tools.random_token_mask((len(images), self.count), mask_ratio=0.6)
        said = self.draw(tools.get_at_index(self.masked.encode(images, idx_mask=hidden), hidden))
        return F.l1_loss(said, tools.get_at_index(tools.patchify(images, self.side), hidden - 1))


class SupervisedPeer(Peer):
    def __init__(self, encoder: Encoder, *, steps: int):
        crop = T.RandomResizedCrop(encoder.size, scale=(0.08, 1.0), antialias=True)
        made = T.Compose([T.ToImage(), crop, T.RandomHorizontalFlip(), T.ToDtype(torch.float32, scale=True)])
        super().__init__(encoder, transform=lambda image: [made(image)], steps=steps)
        self.head = nn.Linear(encoder.width, 64)

    def forward(self, views: list[Tensor], classes: Tensor) -> Tensor:
        return F.cross_entropy(self.head(self.encoder(views[0])), classes)


PEERS = {
    "simclr": SimclrPeer,
    "moco": MocoPeer,
    "moco_v3": MocoV3Peer,
    "byol": ByolPeer,
    "vicreg": VicregPeer,
    "barlow_twins": BarlowTwinsPeer,
    "swav": SwavPeer,
    "dino": DinoPeer,
    "ibot": IbotPeer,
    "mae": MaePeer,
    "simmim": SimmimPeer,
    "supervised": SupervisedPeer,
}

OPTIONS = {
    "simclr": {"dimension": 64, "hidden_dimension": 128, "temperature": 0.2},
    "moco": {"dimension": 64, "hidden_dimension": 128, "queue": 256, "momentum": 0.9, "group": 32},
    "moco_v3": {"dimension": 64, "hidden_dimension": 128, "momentum": 0.9},
    "byol": {"dimension": 64, "hidden_dimension": 128, "target_momentum": 0.9},
    "vicreg": {"dimension": 64, "hidden_dimension": 128},
    "barlow_twins": {"dimension": 64, "hidden_dimension": 128},
    "swav": {"prototypes": 32, "dimension": 64, "hidden_dimension": 128, "small_views": 4, "small_size": 0.5},
    "dino": {
        "output_dimension": 256, "hidden_dimension": 128, "bottleneck_dimension": 32, "batch_norm": True,
        "local_views": 0, "teacher_momentum": 0.9, "teacher_temperature": 0.02, "centre_momentum": 0.0,
        "frozen_last_layer": 0.0, "warmup": 0.0,
    },
    "ibot": {
        "output_dimension": 256, "hidden_dimension": 128, "bottleneck_dimension": 32,
        "local_views": 4, "local_size": 0.5, "teacher_momentum": 0.9, "teacher_temperature": 0.04,
        "normalise_last_layer": True,
    },
    "ijepa": {"predictor_dimension": 64, "predictor_depth": 2, "predictor_heads": 4, "target_momentum": 0.9},
    "mae": {"decoder_dimension": 64, "decoder_depth": 2, "decoder_heads": 4},
    "simmim": {"mask_side": 16},
    "spark": {"decoder_dimension": 64},
    "supervised": {},
}  # fmt: skip
"""What is small here, of both, and by which they learn in few steps."""

HOW = {
    "dino": {"optimiser": "sgd", "lr": 0.05},
    "mae": {"lr": 1e-3, "betas": (0.9, 0.95), "warmup_steps": 30},
}
"""How methods are optimised that learn little as the others are."""

VIEWS = {
    "dino": {"like": "photographs", "crop": 0.1, "brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2},
}
"""Views of methods that learn little with the usual ones of a set, for all sets."""

SIDES = {"ibot": 64, "ijepa": 64, "mae": 128, "simmim": 64, "spark": 64}
"""What networks see across, where it is not 32."""


# trainings


def started(method: str, *, seed: int) -> Encoder:
    """The encoder from which both start."""
    backbone = "timm/test_vit" if method in OF_TRANSFORMERS else "timm/test_resnet"
    return backbones.build(backbone, size=SIDES.get(method, 32), mean=(0.5,), std=(0.25,), seed=seed)


def by_headwater(method: str, sample: Sample, *, steps: int, seed: int) -> Encoder:
    """The encoder that a method of ours leaves."""
    length = how(method, steps)
    channels = sample.learned.shape[1]
    views = {"like": sample.like} | VIEWS.get(method, {})
    if views["like"] == "photographs" and channels == 1:
        # methods that change colours have nothing to change
        usual = registry.constant("methods", method, "PHOTOGRAPHS", default={})
        views |= dict.fromkeys(COLOURS & usual.keys(), 0)
    source = Source.model_validate(
        {"name": "x", "backbone": "timm/test_resnet", "corpus": "c", "training": length.model_dump(), "views": views}
        | {"method": {"name": method, "options": OPTIONS[method]}}
    )
    kinds = int(sample.learned_classes.max()) + 1
    aims = np.eye(kinds, dtype=np.float32)[sample.learned_classes]
    learner = registry.load("methods", method).learner(
        started(method, seed=seed),
        options=registry.chosen("methods", source.method),
        views=source.views,
        size=SIDE,
        labels=kinds,
        task=Task(name="classification", labels=tuple(map(str, range(kinds))), form="multiclass"),
        targets=aims,
        steps=steps,
    )
    groups, images = learner.parameter_groups(length), torch.from_numpy(sample.learned)

    def loss(step: int, chosen: Tensor) -> Tensor:
        keys = draws.keys(seed=seed, epochs=torch.full((len(chosen),), step), cases=chosen)
        with torch.no_grad():
            seen = learner.views(images[chosen], keys)
        return learner(seen, torch.from_numpy(aims)[chosen])

    learner.train()
    _fit(
        groups, length, sample, steps=steps, seed=seed, loss=loss, before=lambda step: learner.before_step(step=step),
        after=lambda step: learner.after_step(step=step, steps=steps),
    )  # fmt: skip
    return learner.encoder


def by_lightly(method: str, sample: Sample, *, steps: int, seed: int) -> Encoder:
    """The encoder that the same method leaves, made of lightly's parts."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002  lightly's transforms draw from it, too
    peer, classes = PEERS[method](started(method, seed=seed), steps=steps), torch.from_numpy(sample.learned_classes)
    images = [Image.fromarray(np.repeat(image, 4 - len(image), 0)[:3].transpose(1, 2, 0)) for image in sample.learned]
    length = how(method, steps)

    def loss(step: int, chosen: Tensor) -> Tensor:
        seen = [peer.transform(images[number]) for number in chosen.tolist()]
        return peer([torch.stack(view) for view in zip(*seen, strict=True)], classes[chosen])

    groups = [{"params": [each for each in peer.parameters() if each.requires_grad]}]
    peer.train()
    _fit(groups, length, sample, steps=steps, seed=seed, loss=loss, before=peer.before, after=lambda step: None)
    return peer.encoder


def how(method: str, steps: int) -> Training:
    """How both are optimised."""
    usual = {"lr": 2e-3, "weight_decay": 1e-4, "warmup_steps": 10}
    return Training(steps=steps, batch=BATCH, **usual | HOW.get(method, {}))


def _fit(
    groups: list[dict],
    length: Training,
    sample: Sample,
    *,
    steps: int,
    seed: int,
    loss: Callable[[int, Tensor], Tensor],
    before: Callable[[int], None],
    after: Callable[[int], None],
) -> None:
    optimiser = schedule.optimiser(groups, length)
    rate = schedule.learning_rate(optimiser, length, steps=steps)
    for step in range(steps):
        torch.manual_seed(1000 * seed + step)
        chosen = torch.randperm(len(sample.learned))[:BATCH]
        rate.step_update(step)
        before(step)
        value = loss(step, chosen)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        after(step)


def measured(what: str, method: str, seed: int, *, steps: int, samples: Path) -> list[dict]:
    """Rows of one method, set and seed: nothing learned, ours, the peer's."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FutureWarning)
    sample = SETS[what](samples)
    ways = {"random": lambda: started(method, seed=seed)}
    ways["headwater"] = lambda: by_headwater(method, sample, steps=steps, seed=seed)
    if method in PEERS:
        ways["lightly"] = lambda: by_lightly(method, sample, steps=steps, seed=seed)
    rows = []
    for way, make in ways.items():
        neighbours, linear = told(make(), sample)
        rows.append({"set": what, "method": method, "seed": seed, "way": way, "kNN": neighbours, "linear": linear})
    return rows


def told_apart(table: pd.DataFrame) -> pd.DataFrame:
    """Means over the seeds in percent, and headwater's less lightly's with its standard error over the seeds."""
    columns = []
    for probe in ("kNN", "linear"):
        each = 100 * table.pivot_table(index=["set", "method", "seed"], columns="way", values=probe, sort=False)
        of_methods = each.groupby(level=["set", "method"], sort=False)
        columns.append(of_methods.mean().add_prefix(f"{probe} "))
        if "lightly" in each:
            apart = (each["headwater"] - each["lightly"]).groupby(level=["set", "method"], sort=False)
            columns += [apart.mean().rename(f"{probe} difference"), apart.sem().rename(f"{probe} standard error")]
    return pd.concat(columns, axis=1).round(1)


def main() -> None:
    """Print a table of means over the seeds, in percent."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--methods", nargs="+", choices=OPTIONS, default=list(OPTIONS))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--table", type=Path, help="where each seed's row is written")
    asked = parser.parse_args()
    sets = [name for name in asked.sets if SETS[name](asked.samples) is not None]
    jobs = list(product(sets, asked.methods, range(asked.first_seed, asked.first_seed + asked.seeds)))
    rows: list[dict] = []
    with ProcessPoolExecutor(asked.workers, mp_context=get_context("spawn")) as workers:
        pending = [workers.submit(measured, *job, steps=asked.steps, samples=asked.samples) for job in jobs]
        for done in bar(pending, total=len(pending), what="trainings"):
            rows += done.result()
            table = pd.DataFrame(rows)
            if asked.table:
                # after each training, as all of them take the better part of an hour
                table.to_csv(asked.table, index=False)
    print(told_apart(table).to_string())


if __name__ == "__main__":
    main()
