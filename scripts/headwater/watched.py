"""Watched: what an encoder makes of some of its training images while it learns, and whether it should learn on."""

from dataclasses import dataclass

import numpy as np

from headwater import grid
from headwater.backbones._encoder import Encoder
from headwater.engine import distributed, scoring
from headwater.engine.loop import Learner
from headwater.refusals import Refusal
from headwater.statistics.collapse import effective_rank, spread

LOOKED_AT = 256
"""Images whose features are looked at to tell whether an encoder still tells images apart."""

BATCH = 64
"""Images that are scored at once."""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Looks at a source's encoder: `images` uint8 (cases, channels, h, w), of which it learns from `rows`."""

    source: grid.Source
    images: np.ndarray
    rows: np.ndarray
    world: distributed.World

    def measured(self, learner: Learner) -> dict[str, float]:
        """What a look at a learner tells, by the names of the curves."""
        return {f"features/{name}": value for name, value in self.features(learner.encoder).items()}

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
                raise Refusal(
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
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]
