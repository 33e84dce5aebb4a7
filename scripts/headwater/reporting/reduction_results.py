"""Reductions: the share of the corpus that each keeps, its cost, and the performance of the networks."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headwater.core import registry, text, timing
from headwater.core.errors import UserError
from headwater.core.records import Choice
from headwater.data import tables
from headwater.data.tables import MACRO
from headwater.reporting import formatting, pivot
from headwater.reporting.printed_table import PrintedTable, plain
from headwater.reporting.references import less_is_more
from headwater.study.grid import Grid
from headwater.study.paths import Paths, history, seconds_of_reduction, seconds_of_training
from headwater.study.source import Source

HOUR = 3600

OURS = ("value", "value_se", "value_low", "value_high")
PAIR = ("difference", "difference_se", "difference_low", "difference_high", "p", "p_adjusted")

WORDS = ("Dataset", "Metric", "Recipe", "Source", "Corpus", "Reduction", "By", "Differs")
"""Columns of words."""


def costs(paths: Paths, *, grid: Grid) -> pd.DataFrame:
    """Corpus, reduction, length and cost of each source that was pre-trained here, in full precision.

    Seconds that were not recorded are NaN.
    """
    sources = [source for source in grid.sources if source.kind == "pretrained" and not source.control]
    return pd.DataFrame([_cost(source, paths=paths, grid=grid) for source in sources])


def _cost(source: Source, *, paths: Paths, grid: Grid) -> dict[str, Any]:
    """One source's row."""
    manifest = Path(paths.manifest(source.corpus, source.reduction))
    if not manifest.is_file():
        raise UserError(f"no manifest of {source.corpus}, {source.reduction}", remedy="run reduce first")
    kept, source_of_features = tables.read_column(manifest, "kept"), grid.looked_at_by(source.reduction)
    images, left = len(kept), int(kept.sum())
    rows = Path(paths.rows(source.corpus, source.reduction))
    training = source.training
    steps = training.steps or math.ceil(training.epochs * left / training.batch)
    has_features = source_of_features is not None
    features = Path(paths.account_of_features(source.corpus, source_of_features)) if has_features else None
    return {
        "source": source.name,
        "method": source.method.name,
        "corpus": source.corpus,
        "reduction": source.reduction,
        "looked": has_features,
        "by": sized(grid.reductions[source.reduction]),
        "images": images,
        "kept": left,
        "share": left / images,
        "reduction_seconds": _seconds(seconds_of_reduction(rows)),
        "features_seconds": _seconds(features) if features else np.nan,
        "pretraining_seconds": _seconds(seconds_of_training(Path(history(paths.encoder(source.name))))),
        "steps": steps,
        "epochs": steps * training.batch / left,
        "study_reduction_hours": less_is_more.hours("reduction", source, grid),
        "study_pretraining_hours": less_is_more.hours("pretraining", source, grid),
    }


def _seconds(file: Path) -> float:
    """The recorded seconds of a job; NaN if there are none."""
    seconds = timing.seconds(file)
    return np.nan if seconds is None else seconds


def sized(choice: Choice) -> str:
    """A reduction with the option that sets its size and its scope, such as `hash, distance 6, per volume`."""
    options = registry.chosen("reductions", choice).model_dump()
    size = next((name for name in ("share", "like") if options.get(name) is not None), None)
    size = size or next((name for name in ("n", "distance", "similarity") if name in options), None)
    words = [
        choice.name,
        f"{size} {options[size]}" if size else "",
        f"per {options['per']}" if "per" in options else "",
    ]
    words += [
        f"seen by {options['source']}" if "source" in options else "",
        "neighbours" if options.get("mode") == "neighbour" else "",
    ]
    return ", ".join(filter(None, words))


def cost_table(costs: pd.DataFrame, *, warnings: list[str], notes: list[str], grid: Grid) -> PrintedTable:
    """The printed table of sizes and costs."""
    lines = [
        {
            "Source": grid.wording.title("sources", row.source),
            "Corpus": row.corpus,
            "Reduction": row.reduction,
            "By": row.by,
            "Kept": f"{row.kept:,} of {row.images:,}",
            "Share": _percent(row.share),
            "To reduce": _took(row.reduction_seconds + (row.features_seconds if row.looked else 0)),
            "Pre-training": _took(row.pretraining_seconds),
            "Steps": f"{row.steps:,}",
            "Epochs": f"{row.epochs:.4g}",
            "Study: to reduce": _took(row.study_reduction_hours * HOUR),
            "Study: pre-training": _took(row.study_pretraining_hours * HOUR),
        }
        for row in costs.itertuples()
    ]
    table = _table("Reductions: what was kept, and what it took", lines, exact=costs.drop(columns="looked"))
    return replace(table, warnings=warnings, notes=notes)


def measured(rows: pd.DataFrame, costs: pd.DataFrame, *, grid: Grid) -> PrintedTable:
    """The macro of each source on each dataset by its reduction, beside the published study's value."""
    exact = pd.DataFrame(_measured(rows, costs.set_index("source"), grid))
    lines = [_line(row, grid) for row in exact.itertuples()]
    table = _table("Reductions: what the networks reached", lines, exact=exact.drop(columns="printed_p"))
    shown = table.shown.drop(columns=formatting.single(grid))
    return replace(table, shown=shown, bold=table.bold[shown.columns])


def _line(row: Any, grid: Grid) -> dict[str, str]:
    """One printed row."""
    reference, digits = grid.comparing.reference, formatting.digits(row.metric)
    called = grid.wording.title
    one = called("sources", reference) if isinstance(reference, str) else "the reference"
    apart = (getattr(row, name) for name in PAIR[:4])
    versus = {
        f"Difference from {one}": formatting.with_error(*apart, sign="+", digits=digits),
        "Adjusted p": row.printed_p,
    }
    return {
        "Dataset": called("datasets", row.dataset),
        "Metric": formatting.titles(grid)[row.metric],
        "Recipe": called("recipes", row.recipe),
        "Source": called("sources", row.source),
        "Corpus": row.corpus or text.NONE,
        "Reduction": row.reduction or text.NONE,
        "Kept": _percent(row.share),
        "Value": formatting.with_error(*(getattr(row, name) for name in OURS), digits=digits),
        **(versus if reference else {}),
        "Study": _study(row.study_value, row.study_spread),
        "Differs": row.differs or text.NONE,
    }


def _measured(rows: pd.DataFrame, kept: pd.DataFrame, grid: Grid) -> Iterator[dict[str, Any]]:
    """One row per dataset, metric, recipe and source, without controls."""
    datasets = {dataset.name: dataset for dataset in grid.datasets}
    for (dataset, metric, recipe, _), part in rows[rows["label"] == MACRO].groupby(pivot.PLACE, sort=False):
        line = list(part.itertuples())
        pairs = {row.source: row for row in line if row.reference == grid.comparing.reference_on(dataset)}
        for source in (source for source in grid.fitted_to(dataset) if not source.control):
            value, pair = pivot.value_of(line, source.name), pairs.get(source.name)
            published = less_is_more.auroc(source, datasets[dataset], grid) if metric == "auroc" else None
            yield {
                **{"dataset": dataset, "metric": metric, "recipe": recipe, "source": source.name},
                **{"corpus": source.corpus or "", "reduction": source.reduction if source.corpus else ""},
                "share": kept["share"].get(source.name, np.nan),
                **{name: value[name] for name in OURS},
                **{name: getattr(pair, name) if pair else np.nan for name in PAIR},
                "printed_p": formatting.adjusted(pair) + (" *" if pair.significant else "") if pair else text.NONE,
                "study_value": published.value if published else np.nan,
                "study_spread": published.spread if published else np.nan,
                "differs": published.differs if published else "",
            }


def arms(sources: pd.Series, *, grid: Grid) -> dict[str, list[Any]]:
    """For each source its arm (all but the reduction), the kind of its reduction, and the distance of hashes."""
    chosen = [grid.source(name) for name in sources]
    learned = [source.kind == "pretrained" for source in chosen]
    both = list(zip(chosen, learned, strict=True))
    return {
        "arm": [_arm(source) if pretrained else "" for source, pretrained in both],
        "way": [grid.reductions[source.reduction].name if pretrained else "" for source, pretrained in both],
        "distance": [
            _distance(grid.reductions[source.reduction]) if pretrained else np.nan for source, pretrained in both
        ],
    }


def _arm(source: Source) -> str:
    """Method, corpus and length of a pre-training."""
    training = source.training
    length = f"{training.steps:,} steps" if training.steps else f"{training.epochs:g} epochs"
    return f"{source.method.name}, {source.corpus}, {length}"


def _distance(choice: Choice) -> float:
    """The distance in bits of a reduction by hash within volumes, which the published study varies; else NaN."""
    options = registry.chosen("reductions", choice)
    swept = choice.name == "hash" and options.share is None and options.per == "volume" and options.of == "difference"
    return float(options.distance) if swept else np.nan


def notes(costs: pd.DataFrame, *, grid: Grid) -> list[str]:
    """The footnotes of both tables."""
    sentences = [
        "Kept: of the training split, the only one learned from. To reduce: including the computation of features,"
        " where a reduction needs them. Pre-training: over all recorded attempts. Times are as the jobs recorded them,"
        " on whatever machine they ran.",
    ]
    if any(source.training and source.training.epochs for source in grid.sources):
        sentences.append(
            "At equal epochs a smaller corpus means fewer steps: a difference may come from the cases or the steps."
        )
    if costs[["study_reduction_hours", "study_pretraining_hours"]].notna().any(axis=None):
        sentences.append(
            "Study: the numbers in the first author's plotting scripts of January 2023 (arXiv 2410.14524), from other "
            "machines; its error bars differ between commits, and its test sets have 203 and 29 images."
        )
    return sentences


def _table(title: str, lines: list[dict[str, str]], *, exact: pd.DataFrame) -> PrintedTable:
    """A printed table without the columns of the published study that are empty."""
    shown = pd.DataFrame(lines)
    empty = [name for name in shown if name.startswith(("Study", "Differs")) and set(shown[name]) == {text.NONE}]
    shown = shown.drop(columns=empty)
    return PrintedTable(title=title, shown=shown, bold=plain(shown), exact=exact, words=WORDS)


def _study(value: float, spread: float) -> str:
    """A number of the published study, with its error bar if it has one."""
    return text.three(value) if math.isnan(spread) else formatting.mean_and_sd(value, spread)


def _percent(share: float) -> str:
    return text.NONE if math.isnan(share) else f"{100 * share:.1f}%"


def _took(seconds: float) -> str:
    """A duration in seconds, minutes or hours."""
    if math.isnan(seconds):
        return text.NONE
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 100 * 60 else f"{seconds / HOUR:,.0f} h"
