"""Transport: the scores of networks fine-tuned on one dataset for the test images of others (external validation)."""

from pathlib import Path

import pandas as pd

from headwater.data import prepared
from headwater.evaluation.predictions import ELSEWHERE, with_evidence
from headwater.study.grid import Run
from headwater.study.shared_labels import Exchanges
from headwater.study.target import evidence
from headwater.training import ddp, prediction


def transport(
    *,
    runs: list[Run],
    asked: Exchanges,
    cases: list[Path],
    images: list[Path],
    models: list[Path],
    elsewhere: list[Path],
    patch: list[int] | None = None,
    threads: int = 1,
    device: ddp.DeviceChoice = "auto",
) -> None:
    """Write the scores of each run's model for the test splits of other datasets: one row per dataset, case and label.

    `cases` and `images` are those of the datasets in `asked`, in its order; models and products in the order of the
    runs. Images of another size than the network was fine-tuned on are resized, bilinearly with antialiasing.
    PATCH are the sides of what is seen of volumes, which are those of the networks.
    """
    with ddp.world(threads=threads, device=device) as world:
        archives = [
            (exchange, table, prepared.read(table, images=pixels, seen=exchange.seen, patch=patch))
            for exchange, table, pixels in zip(asked.others, cases, images, strict=True)
        ]
        written = with_evidence(ELSEWHERE, evidence(runs[0].dataset.tasks))
        for fitted, product in prediction.predictors(runs, models, elsewhere):
            parts = [
                prediction.elsewhere(fitted, exchange, data, cases=table, world=world)
                for exchange, table, data in archives
            ]
            if world.first:
                written.write(written.frame(pd.concat(parts, ignore_index=True)), product, origin=fitted.origin)
