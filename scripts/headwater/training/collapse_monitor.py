"""Watched: what an encoder makes of some of its training images while it learns, and whether it should learn on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from headwater.core.errors import UserError, did_you_mean
from headwater.data import store
from headwater.models.backbones._encoder import Encoder
from headwater.study.source import PROBED, Probe, Source
from headwater.training import ddp, scoring
from headwater.training.feature_spread import effective_rank, spread
from headwater.training.loop import Learner

LOOKED_AT = 256
"""Images whose features are looked at to tell whether an encoder still tells images apart."""

BATCH = 64
"""Images that are scored at once."""


CHOICE = "probe/auroc"
"""The curve by which a step is chosen."""


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What a probe looks at: no test row is in it."""

    images: np.ndarray
    training: np.ndarray
    """Rows whose labels are known to it."""
    validation: np.ndarray
    """Rows whose labels it is asked for."""
    targets: tuple[np.ndarray, np.ndarray]
    """Targets of the rows of either, (rows, labels)."""


def probed(probe: Probe, data: store.Prepared, *, file: Path) -> Probed:
    """What a probe looks at in an archive; refuses what it cannot be asked."""
    # scikit-learn takes a moment, which a pre-training without a probe need not wait for
    from headwater.training import feature_probe

    for label in probe.labels:
        if label not in data.labels:
            raise UserError(f"has no label {label!r}", file=file, remedy=did_you_mean(label, data.labels))
    rows = [evenly(data.rows(split), most=probe.images) for split in PROBED]
    targets = tuple(data.targets(one, list(probe.labels) or data.labels) for one in rows)
    if not feature_probe.asked(targets):
        raise UserError(
            "no label has both classes in the train and in the validation split",
            file=file,
            remedy="probe with another archive, or raise probe.images",
        )
    return Probed(images=data.images, training=rows[0], validation=rows[1], targets=targets)


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Looks at a source's encoder: `images` uint8 (cases, channels, h, w), of which it learns from `rows`."""

    source: Source
    images: np.ndarray
    rows: np.ndarray
    world: ddp.World
    probed: Probed | None = None

    def measured(self, learner: Learner) -> dict[str, float]:
        """What a look at a learner tells, by the names of the curves."""
        told = {f"features/{name}": value for name, value in self.features(learner.encoder).items()}
        return told | ({CHOICE: self.probe(learner.encoder)} if self.probed else {})

    def probe(self, encoder: Encoder) -> float:
        """Macro AUROC of the source's probe by the encoder's features."""
        from headwater.training import feature_probe

        training, validation = (
            self._scored(encoder, self.probed.images, rows) for rows in (self.probed.training, self.probed.validation)
        )
        return feature_probe.macro_auroc(self.source.probe, training, validation, targets=self.probed.targets)

    @property
    def select(self) -> tuple[str, Literal["max"]] | None:
        """What chooses the step whose encoder is kept."""
        return (CHOICE, "max") if self.probed else None

    def features(self, encoder: Encoder) -> dict[str, float]:
        """Spread and effective rank of the features of some training images, the same ones each time."""
        told = self._scored(encoder, self.images, evenly(self.rows, most=LOOKED_AT))
        return {"spread": spread(told), "rank": effective_rank(told)}

    def refuse_collapse(self, step: int, measured: dict[str, float]) -> None:
        """Refuse features that are below a floor of the source; of a single image there is nothing to tell."""
        name = self.source.name
        for what, floor in self.source.collapse:
            value = measured[f"features/{what}"]
            # exactly one direction may come out as a little less than one
            if len(self.rows) > 1 and not value >= floor * (1 - 1e-9):
                raise UserError(
                    f"source {name!r} collapsed: at step {step} the {what} of its features is {value:.3g}, below"
                    f" {floor:g}: images are hardly told apart",
                    remedy=f"lower lr, raise batch or warmup_steps, or lower sources.{name}.collapse.{what}",
                )

    def _scored(self, encoder: Encoder, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Features float32 (rows, width)."""
        # one number format for all steps and devices, whatever the training's own is
        scored = scoring.score(encoder, images=images, rows=rows, batch=BATCH, world=self.world, precision="fp32")
        return scored.numpy()


def evenly(rows: np.ndarray, *, most: int) -> np.ndarray:
    """At most so many rows, evenly spread from the first to the last."""
    return rows[np.linspace(0, max(0, len(rows) - 1), min(most, len(rows))).astype(int)]
