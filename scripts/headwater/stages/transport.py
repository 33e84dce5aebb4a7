"""Transport: the scores of networks fine-tuned on one dataset for the test images of others (external validation)."""

from pathlib import Path

import pandas as pd

from headwater.data import store
from headwater.evaluation.predictions import ELSEWHERE
from headwater.study.grid import Run
from headwater.study.shared_labels import Exchanges
from headwater.training import ddp, prediction


def transport(
    *,
    runs: list[Run],
    asked: Exchanges,
    cases: list[Path],
    images: list[Path],
    models: list[Path],
    elsewhere: list[Path],
    threads: int = 1,
    device: ddp.DeviceChoice = "auto",
) -> None:
    """Write the scores of each run's model for the test splits of other datasets: one row per dataset, case and label.

    `cases` and `images` are those of the datasets in `asked`, in its order; models and products in the order of the
    runs. Images of another size than the network was fine-tuned on are resized, bilinearly with antialiasing.
    """
    with ddp.world(threads=threads, device=device) as world:
        archives = [
            (exchange, table, store.read(table, images=pixels, seen=exchange.seen))
            for exchange, table, pixels in zip(asked.others, cases, images, strict=True)
        ]
        for fitted, product in prediction.predictors(runs, models, elsewhere):
            parts = [
                prediction.elsewhere(fitted, exchange, data, cases=table, world=world)
                for exchange, table, data in archives
            ]
            if world.first:
                ELSEWHERE.write(pd.concat(parts, ignore_index=True), product, origin=fitted.origin)
