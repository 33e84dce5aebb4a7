"""Provenance of predictions: each run's files with the SHA-256 of the files that they were made from."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from headwater.core.fingerprints import NOT_RECORDED, sha256
from headwater.data.tables import TEXT, WHOLE, Table, read_origin
from headwater.evaluation.validation_choices import TestedNetwork

RUN_FILES = Table(
    name="provenance",
    columns={
        "dataset": TEXT,
        "recipe": TEXT,
        "source": TEXT,
        "seed": WHOLE,
        "run": TEXT,
        # predictions.parquet, validation.parquet or elsewhere.parquet of the run, and its fingerprint
        "file": TEXT,
        "predictions": TEXT,
        "record": TEXT,
        "model": TEXT,
        "encoder": TEXT,
        "split": TEXT,
    },
    keys=("dataset", "recipe", "source", "seed", "file"),
)
"""The predictions of each run, and the SHA-256 of the files that they were made from."""

RECORDED = ("record", "model", "encoder", "split")
"""Entries that a file of predictions has: digest of the run's record, SHA-256 of model, encoder and split."""


def row(file: Path, *, run: tuple[str, str, int], dataset: str) -> dict[str, Any]:
    """A row of `RUN_FILES`: one file of a run on a dataset."""
    source, recipe, seed = run
    origin = read_origin(file)
    return {
        "dataset": dataset,
        "recipe": recipe,
        "source": source,
        "seed": seed,
        "run": f"{dataset}/{source}/{recipe}/seed{seed}",
        "file": file.name,
        "predictions": sha256(file),
        **{name: origin.get(name, NOT_RECORDED) for name in RECORDED},
    }


def of_networks(networks: Iterable[TestedNetwork]) -> Iterator[dict[str, Any]]:
    """A row for each file of the networks, each file once."""
    files = {
        part.file: (part.run, network.fitted_to) for network in networks for part in (network.test, network.validation)
    }
    for file, (run, dataset) in files.items():
        yield row(file, run=run, dataset=dataset)
