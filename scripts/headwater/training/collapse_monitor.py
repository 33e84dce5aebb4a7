"""Collapse monitor: follow feature quality during a pre-training, stop it on collapse, and score steps by a probe."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from headwater.core.errors import UserError, did_you_mean
from headwater.data import store
from headwater.models.encoder import Encoder
from headwater.study.source import PROBED, Probe, Source
from headwater.training import scoring
from headwater.training.ddp import World
from headwater.training.feature_spread import effective_rank, spread
from headwater.training.loop import Learner

SAMPLE = 256
"""Training images whose features show whether an encoder still tells images apart."""

BATCH = 64
"""Images that are scored at once."""

CHOICE = "probe/auroc"
"""The curve by which a step is chosen."""


@dataclass(frozen=True, kw_only=True)
class ProbeSet:
    """The images and targets of a probe: no test row is in it."""

    images: np.ndarray
    training: np.ndarray
    """Rows that the probe learns from."""
    validation: np.ndarray
    """Rows that it is scored on."""
    targets: tuple[np.ndarray, np.ndarray]
    """Targets of the rows of either, (rows, labels)."""


def probe_set(probe: Probe, data: store.Prepared, *, file: Path) -> ProbeSet:
    """The images and targets of a probe in an archive; refuses labels that cannot be learned or scored."""
    # scikit-learn takes a moment to import, which a pre-training without a probe need not wait for
    from headwater.training import feature_probe

    for label in probe.labels:
        if label not in data.labels:
            raise UserError(f"has no label {label!r}", file=file, remedy=did_you_mean(label, data.labels))
    rows = [evenly(data.rows(split), most=probe.images) for split in PROBED]
    targets = tuple(data.targets(part, list(probe.labels) or data.labels) for part in rows)
    if not feature_probe.asked(targets):
        raise UserError(
            "no label has both classes in the train and in the validation split",
            file=file,
            remedy="probe with another archive, or raise probe.images",
        )
    return ProbeSet(images=data.images, training=rows[0], validation=rows[1], targets=targets)


@dataclass(frozen=True, kw_only=True)
class CollapseMonitor:
    """Measures a source's encoder on `images` uint8 (cases, channels, h, w), of which it learns from `rows`."""

    source: Source
    images: np.ndarray
    rows: np.ndarray
    world: World
    probed: ProbeSet | None = None

    def measure(self, learner: Learner) -> dict[str, float]:
        """Feature quality, and the probe's score if there is one, by the names of their curves."""
        quality = {f"features/{name}": value for name, value in self.features(learner.encoder).items()}
        return quality | ({CHOICE: self.probe(learner.encoder)} if self.probed else {})

    def probe(self, encoder: Encoder) -> float:
        """Macro AUROC of the source's probe by the encoder's features."""
        from headwater.training import feature_probe

        training, validation = (
            self._features(encoder, self.probed.images, rows) for rows in (self.probed.training, self.probed.validation)
        )
        return feature_probe.macro_auroc(self.source.probe, training, validation, targets=self.probed.targets)

    @property
    def select(self) -> tuple[str, Literal["max"]] | None:
        """What chooses the step whose encoder is kept; None keeps the last."""
        return (CHOICE, "max") if self.probed else None

    def features(self, encoder: Encoder) -> dict[str, float]:
        """Spread and effective rank of the features of some training images, the same ones each time."""
        features = self._features(encoder, self.images, evenly(self.rows, most=SAMPLE))
        return {"spread": spread(features), "rank": effective_rank(features)}

    def refuse_collapse(self, step: int, measured: dict[str, float]) -> None:
        """Refuse features below a floor of the source; a single image cannot show a collapse."""
        name = self.source.name
        for what, floor in self.source.collapse:
            value = measured[f"features/{what}"]
            # in floating point a rank of exactly 1 may come out slightly lower; `not` refuses NaN as well
            if len(self.rows) > 1 and not value >= floor * (1 - 1e-9):
                raise UserError(
                    f"source {name!r} collapsed: at step {step} the {what} of its features is {value:.3g}, below"
                    f" {floor:g}: images are hardly told apart",
                    remedy=f"lower lr, raise batch or warmup_steps, or lower sources.{name}.collapse.{what}",
                )

    def _features(self, encoder: Encoder, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Features float32 (rows, width)."""
        # fp32 whatever the training uses, so that values of all steps and devices can be compared
        features = scoring.score(encoder, images=images, rows=rows, batch=BATCH, world=self.world, precision="fp32")
        return features.numpy()


def evenly(rows: np.ndarray, *, most: int) -> np.ndarray:
    """At most so many rows, evenly spread from the first to the last."""
    return rows[np.linspace(0, max(0, len(rows) - 1), min(most, len(rows))).astype(int)]
