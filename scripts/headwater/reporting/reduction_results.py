"""Reduced: what each reduction left of its corpus, what that cost and saved, and what the networks came to."""

import math
from collections.abc import Iterator
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
from headwater.reporting.pivot import Wide
from headwater.reporting.references import less_is_more
from headwater.study.grid import Grid
from headwater.study.paths import account_of_features, reduction_of, seconds_of_reduction, seconds_of_training
from headwater.study.source import Source

COSTS, MEASURED = "reductions", "reductions_measured"
"""The two tables."""

HOUR = 3600

OURS = ("value", "value_se", "value_low", "value_high")
PAIR = ("difference", "difference_se", "difference_low", "difference_high", "p", "p_adjusted")

Place = tuple[str, str]
"""Corpus and reduction."""

Manifests = dict[Place, Path]


def costs(manifests: list[Path], *, encoders: Path, grid: Grid) -> pd.DataFrame:
    """For each source that was pre-trained here what it learned from, how long, and what that took, in full precision.

    `manifests` lie in a folder that bears their corpus' name; ENCODERS holds a folder for each source. Seconds that
    nobody noted are empty.
    """
    found = {(file.parent.name, reduction_of(file)): file for file in manifests}
    sources = [source for source in grid.sources if source.kind == "pretrained" and not source.control]
    for source in sources:
        if (source.corpus, source.reduction) not in found:
            thing = f"no manifest of {source.corpus}, {source.reduction}"
            raise UserError(thing, remedy="run reduce first")
    kept = {place: tables.read_column(file, "kept") for place, file in found.items()}
    return pd.DataFrame([_cost(source, found, kept, encoders=encoders, grid=grid) for source in sources])


def _cost(
    source: Source,
    found: dict[tuple[str, str], Path],
    kept: dict[tuple[str, str], pd.Series],
    *,
    encoders: Path,
    grid: Grid,
) -> dict[str, Any]:
    """One source's row."""
    place = source.corpus, source.reduction
    manifest, looker = found[place], grid.looked_at_by(source.reduction)
    images, left = len(kept[place]), int(kept[place].sum())
    training = source.training
    steps = training.steps or math.ceil(training.epochs * left / training.batch)
    return {
        "source": source.name,
        "method": source.method.name,
        "corpus": source.corpus,
        "reduction": source.reduction,
        "looked": looker is not None,
        "by": sized(grid.reductions[source.reduction]),
        "images": images,
        "kept": left,
        "share": left / images,
        "reduction_seconds": _seconds(seconds_of_reduction(manifest)),
        "features_seconds": _seconds(account_of_features(manifest, looker)) if looker else np.nan,
        "pretraining_seconds": _seconds(seconds_of_training(encoders / source.name)),
        "steps": steps,
        "epochs": steps * training.batch / left,
        "study_reduction_hours": less_is_more.hours("reduction", source, grid),
        "study_pretraining_hours": less_is_more.hours("pretraining", source, grid),
    }


def _seconds(file: Path) -> float:
    told = timing.seconds(file)
    return np.nan if told is None else told


def sized(choice: Choice) -> str:
    """A reduction by its name, what it keeps so many by, and over what: `hash, distance 6, per volume`."""
    told = registry.chosen("reductions", choice).model_dump()
    size = next((name for name in ("share", "like") if told.get(name) is not None), None)
    size = size or next((name for name in ("n", "distance", "similarity") if name in told), None)
    words = [choice.name, f"{size} {told[size]}" if size else "", f"per {told['per']}" if "per" in told else ""]
    words += [
        f"seen by {told['source']}" if "source" in told else "",
        "neighbours" if told.get("mode") == "neighbour" else "",
    ]
    return ", ".join(filter(None, words))


def cost_table(found: pd.DataFrame) -> Wide:
    """What was kept and what it took, for readers."""
    lines = [
        {
            "Source": row.source,
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
        for row in found.itertuples()
    ]
    return _table("Reductions: what was kept, and what it took", lines, exact=found.drop(columns="looked"))


def measured(rows: pd.DataFrame, found: pd.DataFrame, *, grid: Grid) -> Wide:
    """The macro of each source on each dataset, from judged comparisons, by what it learned from; and the study's."""
    exact = pd.DataFrame(_measured(rows, found.set_index("source"), grid))
    lines = [_line(row, grid) for row in exact.itertuples()]
    made = _table("Reductions: what the networks came to", lines, exact=exact.drop(columns="told_p"))
    shown = made.shown.drop(columns=formatting.single(grid))
    return Wide(title=made.title, shown=shown, bold=made.bold[shown.columns], exact=made.exact)


def _line(row: Any, grid: Grid) -> dict[str, str]:
    """One row in words."""
    reference = grid.comparing.reference
    versus = {
        f"Difference from {reference}": formatting.with_error(*(getattr(row, name) for name in PAIR[:4]), sign="+"),
        "Adjusted p": row.told_p,
    }
    return {
        "Dataset": row.dataset,
        "Metric": formatting.titles(grid)[row.metric],
        "Recipe": row.recipe,
        "Source": row.source,
        "Corpus": row.corpus or text.NONE,
        "Reduction": row.reduction or text.NONE,
        "Kept": _percent(row.share),
        "Value": formatting.with_error(*(getattr(row, name) for name in OURS)),
        **(versus if reference else {}),
        "Study": _study(row.study_value, row.study_spread),
        "Differs": row.differs or text.NONE,
    }


def _measured(rows: pd.DataFrame, kept: pd.DataFrame, grid: Grid) -> Iterator[dict[str, Any]]:
    """One row per dataset, metric, recipe and source that is no control."""
    datasets = {dataset.name: dataset for dataset in grid.datasets}
    for (dataset, metric, recipe, _), part in rows[rows["label"] == MACRO].groupby(pivot.PLACE, sort=False):
        line = list(part.itertuples())
        pairs = {row.source: row for row in line if row.reference == grid.comparing.reference}
        for source in (source for source in grid.sources if not source.control):
            value, pair = pivot.value_of(line, source.name), pairs.get(source.name)
            told = less_is_more.auroc(source, datasets[dataset], grid) if metric == "auroc" else None
            yield {
                **{"dataset": dataset, "metric": metric, "recipe": recipe, "source": source.name},
                **{"corpus": source.corpus or "", "reduction": source.reduction if source.corpus else ""},
                "share": kept["share"].get(source.name, np.nan),
                **{name: value[name] for name in OURS},
                **{name: getattr(pair, name) if pair else np.nan for name in PAIR},
                "told_p": formatting.adjusted(pair) + (" *" if pair.significant else "") if pair else text.NONE,
                "study_value": told.value if told else np.nan,
                "study_spread": told.spread if told else np.nan,
                "differs": told.differs if told else "",
            }


def arms(sources: pd.Series, *, grid: Grid) -> dict[str, list[Any]]:
    """For each source what it shares with others but the reduction, that reduction's kind, and a hash's distance."""
    found = [grid.source(name) for name in sources]
    learned = [source.kind == "pretrained" for source in found]
    told = list(zip(found, learned, strict=True))
    return {
        "arm": [_arm(source) if one else "" for source, one in told],
        "way": [grid.reductions[source.reduction].name if one else "" for source, one in told],
        "distance": [_distance(grid.reductions[source.reduction]) if one else np.nan for source, one in told],
    }


def _arm(source: Source) -> str:
    """Method, corpus and length of a pre-training."""
    long = f"{source.training.steps:,} steps" if source.training.steps else f"{source.training.epochs:g} epochs"
    return f"{source.method.name}, {source.corpus}, {long}"


def _distance(choice: Choice) -> float:
    """The bits of a reduction by hash within volumes, which the study sweeps over; NaN for any other."""
    told = registry.chosen("reductions", choice)
    swept = choice.name == "hash" and told.share is None and told.per == "volume" and told.of == "difference"
    return float(told.distance) if swept else np.nan


def notes(found: pd.DataFrame, *, grid: Grid) -> list[str]:
    """What a reader must know of both tables."""
    told = [
        "Kept: of the training split, which alone is learned from. To reduce: with features, where an encoder looks."
        " Pre-training: over all attempts that could note it. Both are what the jobs noted, on the machines they had.",
    ]
    if any(source.training and source.training.epochs for source in grid.sources):
        told.append(
            "At equal epochs a smaller corpus is learned from in fewer steps: a difference is of images and of steps."
        )
    if found[["study_reduction_hours", "study_pretraining_hours"]].notna().any(axis=None):
        told.append(
            "Study: the first author's plotting scripts of January 2023 (arXiv 2410.14524), on other machines; "
            "its error bars differ between commits, and it has one test set of 203 images and one of 29."
        )
    return told


def _table(title: str, lines: list[dict[str, str]], *, exact: pd.DataFrame) -> Wide:
    shown = pd.DataFrame(lines)
    empty = [name for name in shown if name.startswith(("Study", "Differs")) and set(shown[name]) == {text.NONE}]
    shown = shown.drop(columns=empty)
    return Wide(title=title, shown=shown, bold=pd.DataFrame(False, shown.index, shown.columns), exact=exact)


def _study(value: float, spread: float) -> str:
    """A number of the study, with its error bar where it has one."""
    return text.three(value) if math.isnan(spread) else formatting.mean_and_sd(value, spread)


def _percent(share: float) -> str:
    return text.NONE if math.isnan(share) else f"{100 * share:.1f}%"


def _took(seconds: float) -> str:
    """A time for readers: seconds, minutes or hours."""
    if math.isnan(seconds):
        return text.NONE
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 100 * 60 else f"{seconds / HOUR:,.0f} h"
