"""Provenance: which files a number was made from, told by the fingerprints that each product keeps of its sources."""

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd

from headwater.formats import told
from headwater.grid import Grid
from headwater.refusals import Refusal

NOT_RECORDED = "not recorded"
"""What stands for the fingerprint of a source in a product from before products kept them."""

RANDOM = "random"
"""What stands for the fingerprint of an encoder where the weights were drawn."""

LENGTH = 12
"""Hexadecimal digits of a fingerprint that are shown to people, and of the name of a set of runs."""

PREDICTED = ("record", "model", "encoder", "split")
"""What predictions keep: digest of the run's record, fingerprints of model, encoder and split."""

RUN = ["dataset", "recipe", "source", "seed"]
"""What a run is known by."""


def sha256(file: Path) -> str:
    """The fingerprint of a file, read piece by piece."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise Refusal(f"cannot be read: {error}", file=file) from None


def of_predictions(file: Path, *, run: tuple[str, str, int], dataset: str) -> dict[str, Any]:
    """A row of the table of provenance: a run, and the fingerprints of what it came from."""
    source, recipe, seed = run
    kept = told(file)
    return {
        "dataset": dataset,
        "recipe": recipe,
        "source": source,
        "seed": seed,
        "run": f"{dataset}/{source}/{recipe}/seed{seed}",
        "predictions": sha256(file),
        **{name: kept.get(name, NOT_RECORDED) for name in PREDICTED},
    }


def name_of(runs: pd.DataFrame) -> str:
    """The name of a set of runs: it changes with every byte of their predictions, and with nothing else."""
    return hashlib.sha256("\n".join(sorted(runs["predictions"])).encode()).hexdigest()[:LENGTH]


def named(rows: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The judged comparisons with a column that names the runs of a row's source and reference."""
    by_place = dict(list(runs.groupby(["dataset", "recipe"])))

    def name(row: Any) -> str:
        here = by_place[row.dataset, row.recipe]
        return name_of(here[here["source"].isin([row.source, row.reference])])

    return rows.assign(provenance=[name(row) for row in rows.itertuples()])


def of_lines(lines: pd.DataFrame, runs: pd.DataFrame, *, grid: Grid) -> pd.DataFrame:
    """The lines of a wide table with a column that names the runs of all sources in it, the controls aside."""
    sources = [source.name for source in grid.sources if not source.control]
    shown = runs[runs["source"].isin(sources)]
    names = {place: name_of(part) for place, part in shown.groupby(["dataset", "recipe"])}
    return lines.assign(provenance=[names[line] for line in zip(lines["dataset"], lines["recipe"], strict=True)])


def of_sources(rows: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Rows about one source each, with a column that names its runs, which may have been fitted to another dataset."""
    names = {place: name_of(part) for place, part in runs.groupby(["dataset", "recipe", "source"])}
    fitted_to = rows["fitted_to" if "fitted_to" in rows else "dataset"]
    places = zip(fitted_to, rows["recipe"], rows["source"], strict=True)
    return rows.assign(provenance=[names[place] for place in places])


def sets(rows: pd.DataFrame, runs: pd.DataFrame, *, grid: Grid) -> pd.DataFrame:
    """One row per name and run, for all names in the tables, in order."""
    sources = [source.name for source in grid.sources if not source.control]
    wanted = {(row.dataset, row.recipe, tuple(sorted({row.source, row.reference}))) for row in rows.itertuples()}
    wanted |= {(dataset, recipe, tuple(sources)) for dataset, recipe, _ in wanted}
    wanted |= {(run.dataset, run.recipe, (run.source,)) for run in runs.itertuples()}
    parts = {}
    for dataset, recipe, who in sorted(wanted):
        here = (runs["dataset"] == dataset) & (runs["recipe"] == recipe) & runs["source"].isin(who)
        parts[name_of(runs[here])] = runs[here]
    whole = pd.concat([part.assign(provenance=name) for name, part in sorted(parts.items())])
    columns = ["provenance", *(column for column in runs.columns)]
    return whole.sort_values(["provenance", *RUN], ignore_index=True)[columns]


def short(fingerprint: str) -> str:
    """A fingerprint as people are shown it; words stay words."""
    return fingerprint[:LENGTH] if len(fingerprint) == 64 else fingerprint
