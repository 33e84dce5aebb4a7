"""Collapse monitor: measures features during pre-training, stops on collapse, and scores steps by a feature probe."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from headwater.core.errors import UserError, did_you_mean
from headwater.data import store
from headwater.models import resizing
from headwater.models.encoder import Encoder
from headwater.study.source import CHOSEN, PROBED, Probe, Source
from headwater.training import ddp, feature_views, scoring
from headwater.training.ddp import World
from headwater.training.feature_spread import alignment, lidar, rankme, spread, uniformity
from headwater.training.loop import Learner

SAMPLE = 256
"""How many training images the quality of features is measured on; so no rank is higher."""

BATCH = 64
"""Images per forward pass."""

CHOICE = "probe/auroc"
"""The metric that chooses the step to keep."""


@dataclass(frozen=True, kw_only=True)
class ProbeSet:
    """The images and targets of a feature probe, without test rows."""

    images: np.ndarray
    training: np.ndarray
    """Rows that the probe learns from."""
    validation: np.ndarray
    """Rows that it is scored on."""
    targets: tuple[np.ndarray, np.ndarray]
    """Targets of the training and the validation rows, each (rows, labels)."""
    held: np.ndarray
    """Which training rows are held out where the penalty of a linear probe is chosen."""


def probe_set(probe: Probe, data: store.Prepared, *, file: Path) -> ProbeSet:
    """The images and targets of a feature probe on an archive; refuses labels that cannot be learned or scored."""
    # imported here because scikit-learn is slow to import and only probes need it
    from headwater.training import feature_probe

    for label in probe.labels:
        if label not in data.labels:
            raise UserError(f"has no label {label!r}", file=file, remedy=did_you_mean(label, data.labels))
    rows = [evenly(data.rows(split), most=probe.images) for split in PROBED]
    targets = tuple(data.targets(part, list(probe.labels) or data.labels) for part in rows)
    if not feature_probe.scorable(targets):
        raise UserError(
            "no label has both classes in the train and in the validation split",
            file=file,
            remedy="probe with another archive, or raise probe.images",
        )
    held = feature_probe.held_out(data.cases["patient"].to_numpy()[rows[0]])
    if probe.inverse_penalty == CHOSEN and not feature_probe.scorable((targets[0][~held], targets[0][held])):
        raise UserError(
            f"no label has both classes among the {held.sum()} images held out of the train split and among the others,"
            " so no penalty can be chosen",
            file=file,
            remedy="probe with another archive, raise probe.images, or set probe.inverse_penalty to a number",
        )
    return ProbeSet(images=data.images, training=rows[0], validation=rows[1], targets=targets, held=held)


@dataclass(frozen=True, kw_only=True)
class CollapseMonitor:
    """Measures a source's encoder on `images` uint8 (cases, channels, h, w), of which `rows` are its corpus."""

    source: Source
    images: np.ndarray
    rows: np.ndarray
    world: World
    probed: Mapping[str, ProbeSet] = field(default_factory=dict)
    """What each probe looks at, by the place of its keys."""

    def measure(self, learner: Learner) -> dict[str, float]:
        """Feature quality, and what probes score, by name of the tracked metric."""
        quality = {f"features/{name}": value for name, value in self.quality(learner).items()}
        return quality | ({f"probe/{name}": value for name, value in self.probe(learner.encoder).items()})

    def probe(self, encoder: Encoder) -> dict[str, float]:
        """Macro AUROC of each feature probe on the encoder's features, and its penalty if that is chosen.

        Of those that choose nothing, the names end with archive and kind.
        """
        told = {}
        for key, probe in self.source.probes.items():
            behind = "" if key == "probe" else f"/{probe.archive}/{probe.kind}"
            told |= {f"{name}{behind}": value for name, value in self._probe(probe, self.probed[key], encoder).items()}
        return told

    def _probe(self, probe: Probe, probed: ProbeSet, encoder: Encoder) -> dict[str, float]:
        training, validation = (
            self._features(encoder, probed.images, rows) for rows in (probed.training, probed.validation)
        )
        # the first rank alone fits: the others would only repeat it
        score, penalty = float("nan"), float("nan")
        if self.world.first:
            from headwater.training import feature_probe

            fitted = feature_probe.with_penalty(probe, training, targets=probed.targets[0], held=probed.held)
            score = feature_probe.macro_auroc(fitted, training, validation, targets=probed.targets)
            penalty = fitted.inverse_penalty
        score, penalty = ddp.of_first((score, penalty), self.world)
        return {"auroc": score} | ({"inverse_penalty": penalty} if probe.inverse_penalty == CHOSEN else {})

    @property
    def select(self) -> tuple[str, Literal["max"]] | None:
        """The metric that chooses the kept step, and its direction; None keeps the last step."""
        return (CHOICE, "max") if self.source.probe else None

    def features(self, encoder: Encoder) -> dict[str, float]:
        """Spread and rank (RankMe) of the features of a fixed sample of the training images, for which floors are."""
        return _floored(self._sampled(encoder))

    def quality(self, learner: Learner) -> dict[str, float]:
        """The same, how evenly the features lie, and how those of views of an image agree, if its views differ."""
        features = self._sampled(learner.encoder)
        if len(features) < 2:
            return _floored(features)
        quality = {**_floored(features), "uniformity": uniformity(features)}
        if not feature_views.differ(self.source):
            return quality
        training = self.source.training
        # no more at a time than in training
        batch = max(1, min(BATCH, training.batch // (training.parts * self.world.size)))
        given = {"source": self.source, "images": self.images, "rows": self.sample, "batch": batch, "world": self.world}
        views = feature_views.of(learner, **given)
        return {**quality, "alignment": alignment(views), "lidar": lidar(views)}

    def record(self, quality: dict[str, float], *, encoder: Encoder, step: int) -> dict[str, Any]:
        """What is kept beside the encoder of the quality of its features, and of what probes say of it."""
        about = {
            "source": self.source.digest,
            "step": step,
            "images": len(self.sample),
            "views": feature_views.COUNT if "lidar" in quality else 0,
        }
        found = {"features": quality, "probe": self.probe(encoder)}
        # JSON knows no NaN
        return about | {
            of: {name: value if math.isfinite(value) else None for name, value in values.items()}
            for of, values in found.items()
        }

    @property
    def sample(self) -> np.ndarray:
        """The rows on which features are measured."""
        return evenly(self.rows, most=SAMPLE)

    def refuse_collapse(self, step: int, measured: dict[str, float]) -> None:
        """Stop the pre-training if a measure of its features is below the source's floor."""
        name = self.source.name
        for measure, floor in self.source.collapse:
            value = measured[f"features/{measure}"]
            # a rank of exactly 1 may be rounded to slightly less; written with `not` so that NaN fails too; one image
            # alone always has rank 1 and no spread
            if len(self.rows) > 1 and not value >= floor * (1 - 1e-9):
                raise UserError(
                    f"source {name!r} collapsed: at step {step} the {measure} of its features is {value:.3g}, below"
                    f" {floor:g}, so the features of all images are nearly alike",
                    remedy=f"lower lr, raise batch or warmup_steps, or lower sources.{name}.collapse.{measure}",
                )

    def _sampled(self, encoder: Encoder) -> np.ndarray:
        return self._features(encoder, self.images, self.sample)

    def _features(self, encoder: Encoder, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Features float32 (rows, width)."""
        # always fp32, whatever the training uses, so that values can be compared between steps and devices
        how = {"batch": BATCH, "world": self.world, "precision": "fp32"}
        taking = resizing.taking(images.shape[-1], encoder, size=encoder.size)
        features = scoring.score(taking, images=images, rows=rows, **how)
        return features.numpy()


def _floored(features: np.ndarray) -> dict[str, float]:
    return {"spread": spread(features), "rank": rankme(features)}


def evenly(rows: np.ndarray, *, most: int) -> np.ndarray:
    """At most `most` of the rows, evenly spaced from the first to the last."""
    return rows[np.linspace(0, max(0, len(rows) - 1), min(most, len(rows))).astype(int)]
