"""Features of several views of each image, as the pre-training makes them; alignment and LiDAR are measured on them."""

from functools import partial
from typing import Any

import numpy as np
import torch

from headwater.core import registry
from headwater.study.source import Source
from headwater.training import reading, scoring
from headwater.training.ddp import World, share
from headwater.training.loop import Learner
from headwater.training.reading.ahead import read_ahead
from headwater.training.views import draws

COUNT = 10
"""Views of each image."""


def differ(source: Source) -> bool:
    """Whether two views of an image differ: always if the method compares them, else if `views` changes anything."""
    return _compared(source) > 1 or source.views.vary


def _compared(source: Source) -> int:
    """How many views of one call of `Learner.views` show as much as is usual; small crops come after these."""
    return 1 if registry.constant("methods", source.method.name, "VIEWS", default=None) is None else 2


def of(learner: Learner, *, source: Source, images: Any, rows: np.ndarray, batch: int, world: World) -> np.ndarray:
    """Features float32 (rows, COUNT, width) of views of the images of `rows`, on every rank.

    The views are the same whenever they are asked for: their random numbers are those of epochs before the first. A
    method's views are drawn by twos if it compares them. At most `batch` images are shown to the network at a time.
    """
    own, at_once = share(len(rows), world), _compared(source)
    # with fewer images than ranks an idle rank looks at one too, to know the width
    places = own if len(own) else np.arange(1)
    cases = torch.from_numpy(rows)
    chances = [
        draws.keys(seed=source.seed, epochs=torch.full_like(cases, -1 - call), cases=cases)
        for call in range(COUNT // at_once)
    ]
    unlabelled, kind = np.zeros((len(rows), 0), np.float32), reading.of(images)
    read = partial(kind.step, images, unlabelled, rows=rows, device=world.device)
    pieces = [places[start : start + batch] for start in range(0, len(places), batch)]
    features = []
    with scoring.evaluating(learner.encoder, world=world, precision="fp32"):
        for piece, (loaded, _) in zip(
            pieces, read_ahead(lambda some: read(places=some, keys=chances[0][some]), pieces), strict=True
        ):
            shown = loaded.to(world.device, non_blocking=True)
            seen = [learner.views(shown, keys[piece].to(world.device))[:at_once] for keys in chances]
            features.append(torch.stack([learner.encoder(view).float() for call in seen for view in call], dim=1))
    return scoring.gathered(*features, rows=len(rows), own=len(own), world=world).numpy()
