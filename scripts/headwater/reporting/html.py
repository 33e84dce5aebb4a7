"""Page: the report as one file that opens anywhere, without network or script."""

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import pandas as pd

from headwater import __version__
from headwater.core import text
from headwater.data import cards
from headwater.data.tables import MACRO, SPLITS, is_mean
from headwater.reporting import cohort as about_cases
from headwater.reporting import diagnostics, external_table, figures, formatting, prose
from headwater.reporting import reduction_results as of_reductions
from headwater.reporting.pivot import Wide
from headwater.study.archive import Dataset
from headwater.study.grid import Grid

TEMPLATES = Path(__file__).parent / "pages"


def index(
    rows: pd.DataFrame,
    svgs: dict[str, str],
    sound: dict[str, Wide],
    *,
    counts: dict[str, pd.DataFrame],
    rejects: dict[str, pd.DataFrame],
    ledger: pd.DataFrame,
    grid: Grid,
    crossed: pd.DataFrame | None = None,
    reduced: dict[str, Wide] | None = None,
) -> str:
    """The whole report as HTML, from judged comparisons, figures, tables of soundness, counts and rejects by archive,
    and the ledger.

    `crossed` is what networks reach elsewhere, where that was asked for; `reduced` what was kept of corpora.
    """
    drawn = {name: figures.inlined(svg, name=name, title=escape(_spoken(name))) for name, svg in svgs.items()}
    shown = formatting.readable(rows, grid=grid).drop(columns=list(formatting.DETAILS))
    macro = rows["label"] == MACRO
    return _rendered(
        "index.html",
        extent=prose.extent(grid),
        warnings=prose.warnings(rows, grid=grid),
        verdict=prose.verdict(rows, grid=grid),
        found=prose.found(rows, grid=grid),
        confirmatory=_differences(shown[macro], rows[macro]),
        legend=prose.legend(rows, grid=grid),
        forest=drawn.get("forest_macro"),
        ranks=drawn.get("ranks"),
        no_ranks=prose.ranks(rows, grid=grid),
        correction=prose.correction(grid),
        datasets=[_dataset(dataset, rows, shown, drawn, counts[dataset.archive], grid) for dataset in grid.datasets],
        sound=[_sound(name, table, grid) for name, table in sound.items()],
        sources=_table(_sources(grid), words=("Source", "Weights", "Backbone", "Corpus", "Length")),
        archives=_table(_archives(grid, rejects), words=("Archive", "What it is", "Licence", "Note")),
        apart=prose.apart(ledger, grid=grid),
        shared=_table(shared, words=tuple(shared)) if len(shared := _shared(ledger)) else None,
        elsewhere=None if crossed is None else _elsewhere(crossed, drawn, grid),
        reduced=None if reduced is None else _reduced(reduced, drawn, grid),
        notes=prose.notes(rows, grid=grid),
        version=__version__,
    )


def significance(rows: pd.DataFrame, *, grid: Grid) -> str:
    """The table of all comparisons as HTML."""
    return _rendered(
        "one_table.html",
        title="Differences between sources",
        table=_differences(formatting.readable(rows, grid=grid), rows),
        warnings=prose.warnings(rows, grid=grid),
        notes=prose.footnotes(rows, grid=grid),
    )


def wide_table(table: Wide, *, about: pd.DataFrame, notes: list[str], grid: Grid) -> str:
    """A wide table as HTML; `about` are the judged comparisons in it."""
    return _rendered(
        "one_table.html",
        title=table.title,
        table=_table(table.shown, words=text.LEFT),
        warnings=prose.warnings(about, grid=grid),
        notes=notes,
    )


def characteristics(table: Wide, *, notes: list[str], grid: Grid) -> str:
    """The table of the datasets' characteristics as HTML."""
    return _rendered(
        "one_table.html",
        title=table.title,
        table=_table(table.shown, words=text.LEFT),
        warnings=about_cases.warnings(grid),
        notes=notes,
    )


def _rendered(template: str, **content: Any) -> str:
    """A page from its template, every word escaped."""
    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    style = markupsafe.Markup((TEMPLATES / "style.css").read_text())
    return pages.get_template(template).render(style=style, **content).strip() + "\n"


SPOKEN = {
    "forest": "Differences with intervals",
    "roc": "ROC curves",
    "seeds": "What each training reached",
    "replicates": "Resampled differences",
    "ranks": "Mean ranks over test sets",
    "crossed": "By the dataset fitted to and the one tested on",
    "reliability": "Promised and observed shares",
    "subgroups": "Groups of patients against all others",
    "reductions": "By the share of the corpus that is kept",
}


def _spoken(name: str) -> str:
    kind, _, of = name.partition("_")
    return SPOKEN[kind] + (f": {of}" if of else "")


def _dataset(
    dataset: Dataset, rows: pd.DataFrame, shown: pd.DataFrame, drawn: dict[str, str], counts: pd.DataFrame, grid: Grid
) -> dict[str, Any]:
    """What the page says of one dataset."""
    here = rows["dataset"] == dataset.name
    labels = _label_counts(counts, rows[here], dataset)
    about = prose.about(grid.archive(dataset.archive))
    return {
        "name": dataset.name,
        "about": about[0].upper() + about[1:],
        "left_out": prose.left_out(rows, dataset=dataset, counts=counts),
        "title": formatting.dataset_of(next(rows[here].itertuples())),
        "table": _differences(shown[here].drop(columns=["Dataset"]), rows[here]),
        "forest": drawn.get(f"forest_{dataset.name}"),
        "roc": drawn.get(f"roc_{dataset.name}"),
        "seeds": drawn.get(f"seeds_{dataset.name}"),
        "replicates": drawn.get(f"replicates_{dataset.name}"),
        "reliability": drawn.get(f"reliability_{dataset.name}"),
        "subgroups": drawn.get(f"subgroups_{dataset.name}"),
        "labels": _table(labels, words=("Label", "Part in the comparison")),
    }


def _elsewhere(crossed: pd.DataFrame, drawn: dict[str, str], grid: Grid) -> dict[str, Any]:
    """What the page says of networks on other datasets' test cases."""
    return {
        "table": _table(external_table.table(crossed, grid=grid).shown, words=text.LEFT),
        "figures": [svg for name, svg in drawn.items() if name.startswith("crossed_")],
        "notes": external_table.footnotes(crossed, grid=grid),
    }


def _reduced(found: dict[str, Wide], drawn: dict[str, str], grid: Grid) -> dict[str, Any]:
    """What the page says of reduced corpora."""
    words = ("Dataset", "Metric", "Recipe", "Source", "Corpus", "Reduction", "By", "Differs")
    return {
        "tables": [_table(table.shown, words=words) for table in found.values()],
        "figures": [svg for name, svg in drawn.items() if name.startswith("reductions_")],
        "notes": of_reductions.notes(found[of_reductions.COSTS].exact, grid=grid),
    }


def _sound(name: str, table: Wide, grid: Grid) -> dict[str, Any]:
    """What the page says of calibration, thresholds or subgroups."""
    shown = _table(table.shown, words=text.LEFT) if len(table.shown) else None
    return {"name": name, "title": table.title, "table": shown, "notes": diagnostics.footnotes(name, grid=grid)}


def _table(shown: pd.DataFrame, *, words: Iterable[str]) -> dict:
    """A table for a template; the columns `words` stand to the left."""
    rows = [{"kind": "first", "cells": cells, "again": (), "remark": ""} for cells in shown.to_dict("records")]
    return {"columns": list(shown.columns), "words": list(words), "rows": rows}


def _differences(shown: pd.DataFrame, rows: pd.DataFrame) -> dict:
    """Judged comparisons for a template: a label's name once, its note below or instead of its rows."""
    drawn: list[dict] = []
    columns = [column for column in shown.columns if column != "Note"]
    named = [column for column in columns if column in ("Dataset", "Metric", "Recipe", "Label")]
    for _, group in rows.groupby(formatting.opens_group(rows).cumsum(), sort=False):
        macro = "macro " if is_mean(group["label"].iloc[0]) else ""
        note = group["note"].iloc[0]
        if group["value"].isna().all():
            cells = shown.loc[group.index[0], named].to_dict()
            drawn.append({"kind": f"{macro}first", "cells": cells, "again": (), "remark": note})
            continue
        for position, (at, significant) in enumerate(group["significant"].items()):
            kind = macro + ("significant " if significant else "") + ("" if position else "first")
            cells = shown.loc[at, columns].to_dict()
            drawn.append({"kind": kind, "cells": cells, "again": named if position else (), "remark": ""})
        if note:
            drawn.append({"kind": macro.strip(), "cells": {}, "again": (), "remark": note})
    return {"columns": columns, "words": list(text.LEFT), "rows": drawn}


def _label_counts(counts: pd.DataFrame, rows: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """For each label: in each split, cases and patients that bear it; and its part in the comparison."""
    notes = rows.drop_duplicates("label").set_index("label")["note"]
    tested = rows.groupby("label")["tested"].any()
    by_label = {label: part.set_index("split") for label, part in counts.groupby("label", sort=False)}
    lines = []
    for label in dataset.labels or by_label:
        splits = by_label[label] if label in by_label else pd.DataFrame()
        line = {split.capitalize(): _borne(splits, split) for split in SPLITS}
        part = "tested" if tested.get(label, False) else notes.get(label, "not compared").split("; ")[0]
        lines.append({"Label": label, **line, "In test": _share(splits), "Part in the comparison": part})
    return pd.DataFrame(lines)


def _borne(splits: pd.DataFrame, split: str) -> str:
    """Cases with the label of those known, and patients with it."""
    if split not in splits.index:
        return text.NONE
    count = splits.loc[split]
    unknown = f"; {count['unknown']} unknown" if count["unknown"] else ""
    cases = f"{count['positives']} / {count['positives'] + count['negatives']}"
    return f"{cases} ({text.many(count['positive_patients'], 'patient')}{unknown})"


def _share(splits: pd.DataFrame) -> str:
    """Share of the test cases with the label."""
    if "test" not in splits.index:
        return text.NONE
    positives, negatives = splits.loc["test", ["positives", "negatives"]]
    return f"{100 * positives / (positives + negatives):.1f}%" if positives + negatives else text.NONE


def _sources(grid: Grid) -> pd.DataFrame:
    """How each source got its weights."""
    return pd.DataFrame(
        [
            {
                "Source": source.name + (" (reference)" if source.name == grid.comparing.reference else ""),
                "Weights": prose.way(source),
                "Backbone": source.backbone,
                "Corpus": prose.corpus(source, grid),
                "Length": prose.length(source),
            }
            for source in grid.sources
        ]
    )


def _shared(ledger: pd.DataFrame) -> pd.DataFrame:
    """What two splits share, where it is not nothing."""
    some = ledger[ledger["cases"] > 0]
    return pd.DataFrame(
        {
            "Shared": some["kind"],
            "By": some["part"] + " (" + some["cases"].astype(str) + ")",
            "And": some["other"] + " (" + some["other_cases"].astype(str) + ")",
            "Excused, because": some["excuse"].where(some["must_be_apart"], "no leak into a test split"),
        }
    ).reset_index(drop=True)


def _archives(grid: Grid, rejects: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """What each archive is, whose, and how many of its images could not be read."""
    return pd.DataFrame(
        [
            {
                "Archive": archive.name,
                "What it is": prose.about(archive),
                "Licence": cards.card(archive).licence,
                "Note": f"{cards.card(archive).citation} {_rejected(archive.name, rejects)}".strip(),
            }
            for archive in grid.archives
        ]
    )


def _rejected(archive: str, rejects: dict[str, pd.DataFrame]) -> str:
    """A corpus' rejects are in its own folder; the datasets' are told here."""
    return f"Unreadable images: {prose.unreadable(rejects[archive])}." if archive in rejects else ""
