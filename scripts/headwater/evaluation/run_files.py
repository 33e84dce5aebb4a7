"""Provenance of predictions: each run's files with the SHA-256 of the files that they were made from."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from headwater.core.errors import UserError
from headwater.core.fingerprints import NOT_RECORDED, sha256
from headwater.data.tables import TEXT, WHOLE, Table, read_origin
from headwater.evaluation.validation_choices import TestedNetwork
from headwater.study.paths import run_path

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
    keys=("dataset", "recipe", "source", "seed", "run", "file"),
)
"""The predictions of each run, and the SHA-256 of the files that they were made from."""

RECORDED = ("record", "model", "encoder", "split")
"""Entries that a file of predictions has: digest of the run's record, SHA-256 of model, encoder and split."""


def refuse_other_records(files: Sequence[Path], records: Sequence[str] | None) -> None:
    """Refuse predictions of runs with other settings than the config's; `records` are their digests, in order.

    One row of a table must not mix seeds that were trained differently. Without `records`, as when a comparison is made
    by hand, and for predictions that record none, nothing is compared.
    """
    if records is None:
        return
    if len(files) != len(records):
        raise UserError(f"{len(files)} files of predictions need as many records (got {len(records)})")
    for file, wanted in zip(files, records, strict=True):
        recorded = read_origin(file).get("record", NOT_RECORDED)
        if recorded not in (wanted, NOT_RECORDED):
            raise UserError(
                f"is of a run with other settings: its record is {recorded}, that of the config is {wanted}",
                file=file,
                remedy=f"restore the config, or delete {file.parent} and run snakemake again",
            )


def row(file: Path, *, run: tuple[str, str, int], dataset: str, part: str = "") -> dict[str, Any]:
    """A row of `RUN_FILES`: one file of a run on a dataset, or on the `part` of it that is a fold."""
    source, recipe, seed = run
    origin = read_origin(file)
    return {
        "dataset": dataset,
        "recipe": recipe,
        "source": source,
        "seed": seed,
        "run": run_path(part or dataset, source, recipe, seed),
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
