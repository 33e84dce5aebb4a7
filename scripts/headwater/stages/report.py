"""Report: the tables, figures and the page that say which differences between sources stand up to correction.

The same inputs give the same bytes: nothing here looks at a clock or at the machine.
"""

import json
from pathlib import Path

import pandas as pd

from headwater import __version__
from headwater.core import fingerprints, text
from headwater.core.errors import UserError
from headwater.core.files import write_json, write_text
from headwater.data.tables import MACRO, OF_SUBSET, read_table
from headwater.evaluation import multiplicity
from headwater.reporting import (
    cohort,
    external_table,
    figures,
    formatting,
    html,
    named_values,
    pivot,
    prose,
    reduction_results,
)
from headwater.reporting import diagnostics as soundness_of
from headwater.reporting import provenance as provenance_of
from headwater.reporting.provenance import Book
from headwater.study.grid import Grid


def report(
    *,
    grid: Grid,
    comparisons: list[Path],
    curves: list[Path],
    values: list[Path],
    replicates: list[Path],
    provenance: list[Path],
    calibration: list[Path],
    reliability: list[Path],
    thresholds: list[Path],
    subgroups: list[Path],
    labels: list[Path],
    rejects: list[Path],
    cases: list[Path],
    ledger: Path,
    folder: Path,
    crossed: list[Path] | None = None,
    manifests: list[Path] | None = None,
    encoders: Path | None = None,
) -> None:
    """Write tables, figures, numbers by name, their provenance, index.html and summary into `folder`; print the latter.

    Files of labels, rejects and cases lie in a folder that bears their archive's name. `crossed` are the tables of what
    networks fitted to other datasets reach, where the config asks for them. `manifests` tell of reduced corpora, where
    there are any, and ENCODERS holds what pre-trainings noted.
    """
    counts = _by_archive(labels, "labels", grid)
    resampled = _by_dataset(replicates, "replicates", grid)
    compared = _by_dataset(comparisons, "comparisons", grid)
    order = _label_order(grid, counts)
    rows = multiplicity.judged(compared, grid=grid, order=order, replicates=resampled)
    book = provenance_of.gathered(provenance)
    rows = provenance_of.named(rows, book)
    drawn_of = {"curves": _by_dataset(curves, "curves", grid), "values": _by_dataset(values, "values", grid)}
    svgs = figures.drawn(rows, **drawn_of, resampled=resampled, grid=grid)
    examined = {"calibration": calibration, "thresholds": thresholds, "subgroups": subgroups}
    sound, drawn = _sound(examined, reliability, grid=grid, order=order)
    svgs |= drawn
    elsewhere, drawn = _elsewhere(crossed or [], rows=rows, book=book, grid=grid, folder=folder)
    svgs |= drawn
    thinned, drawn = _reduced(manifests or [], encoders, rows=rows, book=book, grid=grid, folder=folder)
    svgs |= drawn
    for name, svg in svgs.items():
        write_text(svg, folder / f"{name}.svg")
    _write_tables(rows, book=book, grid=grid, folder=folder)
    _write_sound(sound, about=rows, book=book, grid=grid, folder=folder)
    _write_numbers(rows, grid=grid, folder=folder)
    _write_characteristics(_by_archive(cases, "cases", grid), grid=grid, folder=folder)
    refused, apart = _by_archive(rejects, "rejects", grid), read_table(ledger, "ledger")
    told = {"rejects": refused, "ledger": apart, "crossed": elsewhere, "reduced": thinned}
    whole = html.index(rows, svgs, sound, counts=counts, **told, grid=grid)
    write_text(whole, folder / "index.html")
    products = [*comparisons, *calibration, *thresholds, *subgroups, *(crossed or [])]
    _write_provenance(book, comparisons=products, more=list(thinned or []), cases=cases, grid=grid, folder=folder)
    summary = _summary(rows, counts=counts, grid=grid, folder=folder)
    write_text(summary, folder / "summary.txt")
    print(summary, end="")


def _by_archive(files: list[Path], table: str, grid: Grid) -> dict[str, pd.DataFrame]:
    """Tables by the archive that they describe; the archives of all datasets must be there."""
    found = {file.parent.name: read_table(file, table) for file in sorted(set(files))}
    for dataset in grid.datasets:
        if dataset.archive not in found:
            raise UserError(f"no table of {table} in a folder called {dataset.archive}", remedy="run prepare first")
    return found


def _by_dataset(files: list[Path], table: str, grid: Grid) -> pd.DataFrame:
    """One table over all datasets of the grid, each of which must be there in one file."""
    frames = {file: read_table(file, table) for file in sorted(set(files))}
    whose: dict[str, Path] = {}
    for file, frame in frames.items():
        for name in frame["dataset"].unique():
            if name in whose:
                raise UserError(f"{name} is also in {whose[name]}", file=file, remedy="give each dataset once")
            if name not in [dataset.name for dataset in grid.datasets]:
                raise UserError(f"{name} is no dataset of the grid", file=file, remedy="leave the file out")
            whose[name] = file
    for dataset in grid.datasets:
        # a dataset whose labels all lack a class has comparisons, but no curve
        if dataset.name not in whose and table == "comparisons":
            raise UserError(f"no table of {table} for {dataset.name}", remedy="run compare first")
    return pd.concat(frames.values(), ignore_index=True)


def _label_order(grid: Grid, counts: dict[str, pd.DataFrame]) -> dict[str, list[str]]:
    """For each dataset the macros, then its labels as the config or else the archive orders them."""
    return {
        dataset.name: [
            MACRO,
            *(OF_SUBSET + name for name in grid.comparing.subsets),
            *(dataset.labels or counts[dataset.archive]["label"].unique()),
        ]
        for dataset in grid.datasets
    }


def _write_tables(rows: pd.DataFrame, *, book: Book, grid: Grid, folder: Path) -> None:
    """Each table as .csv in full precision, and as .md, .tex and .html to be read."""
    shown = formatting.readable(rows, grid=grid)
    bold = formatting.strong(shown, rows["significant"].tolist())
    write_text(rows.to_csv(index=False, lineterminator="\n"), folder / "significance.csv")
    notes = prose.footnotes(rows, grid=grid)
    _write_read("significance", shown, bold, about=rows, notes=notes, folder=folder, grid=grid)
    write_text(html.significance(rows, grid=grid), folder / "significance.html")
    for name, table in pivot.all_tables(rows, grid=grid).items():
        about = rows if name == "macro" else rows[rows["dataset"] == name.removeprefix("labelwise_")]
        notes = prose.wide_footnotes(about, grid=grid)
        exact = provenance_of.of_lines(table.exact, book, grid=grid)
        write_text(exact.to_csv(index=False, lineterminator="\n"), folder / f"{name}.csv")
        _write_read(name, table.shown, table.bold, about=about, notes=notes, folder=folder, grid=grid)
        write_text(html.wide_table(table, about=about, notes=notes, grid=grid), folder / f"{name}.html")


def _write_matrix(crossed: pd.DataFrame, *, rows: pd.DataFrame, book: Book, grid: Grid, folder: Path) -> None:
    """The matrix of fitted to and tested on, and all that is known of its cells, finding by finding."""
    exact = provenance_of.of_cells(external_table.ordered(crossed, grid=grid), book)
    write_text(exact.to_csv(index=False, lineterminator="\n"), folder / "crossed_labelwise.csv")
    found, notes = external_table.table(crossed, grid=grid), external_table.footnotes(crossed, grid=grid)
    about = rows[rows["dataset"].isin(crossed["dataset"])]
    lines = provenance_of.of_cells(found.exact, book, tested_on=sorted(set(crossed["dataset"])))
    write_text(lines.to_csv(index=False, lineterminator="\n"), folder / "crossed.csv")
    _write_read("crossed", found.shown, found.bold, about=about, notes=notes, folder=folder, grid=grid)
    write_text(html.wide_table(found, about=about, notes=notes, grid=grid), folder / "crossed.html")


def _write_read(
    name: str,
    shown: pd.DataFrame,
    bold: pd.DataFrame,
    *,
    about: pd.DataFrame,
    notes: list[str],
    folder: Path,
    grid: Grid,
) -> None:
    """A table of judged rows `about` in Markdown and LaTeX, with what a reader must know first and last."""
    _write_words(name, shown, bold, warnings=prose.warnings(about, grid=grid), notes=notes, folder=folder)


def _write_characteristics(cases: dict[str, pd.DataFrame], *, grid: Grid, folder: Path) -> None:
    """Who the cases of each dataset are, split by split."""
    found = cohort.table(cases, grid=grid)
    write_text(found.exact.to_csv(index=False, lineterminator="\n"), folder / "characteristics.csv")
    notes = cohort.footnotes(cases, grid=grid)
    said = {"warnings": cohort.warnings(grid), "notes": notes}
    _write_words("characteristics", found.shown, found.bold, **said, folder=folder)
    write_text(html.characteristics(found, notes=notes, grid=grid), folder / "characteristics.html")


def _sound(
    examined: dict[str, list[Path]], reliability: list[Path], *, grid: Grid, order: dict[str, list[str]]
) -> tuple[dict[str, pivot.Wide], dict[str, str]]:
    """Tables and figures of calibration, operating points and subgroups, by name."""
    read = {name: _by_dataset(files, name, grid) for name, files in examined.items()}
    found = soundness_of.all_tables(read, grid=grid, order=order)
    points = soundness_of.ordered(_by_dataset(reliability, "reliability", grid), grid=grid, order=order)
    return found, figures.examined(points, found["subgroups"].exact, grid=grid)


def _write_sound(found: dict[str, pivot.Wide], *, about: pd.DataFrame, book: Book, grid: Grid, folder: Path) -> None:
    """Calibration, operating points and subgroups; `about` are the judged comparisons of the same runs."""
    for name, table in found.items():
        notes = soundness_of.footnotes(name, grid=grid)
        whose = provenance_of.of_soundness if "fitted_to" in table.exact else provenance_of.of_sources
        exact = whose(table.exact, book)
        write_text(exact.to_csv(index=False, lineterminator="\n"), folder / f"{name}.csv")
        _write_read(name, table.shown, table.bold, about=about, notes=notes, folder=folder, grid=grid)
        write_text(html.wide_table(table, about=about, notes=notes, grid=grid), folder / f"{name}.html")


def _elsewhere(
    crossed: list[Path], *, rows: pd.DataFrame, book: Book, grid: Grid, folder: Path
) -> tuple[pd.DataFrame | None, dict[str, str]]:
    """What networks reach on other datasets and its figures by name, where that was asked for; once it is written."""
    if not crossed:
        return None, {}
    found = _by_dataset(crossed, "crossed", grid)
    _write_matrix(found, rows=rows, book=book, grid=grid, folder=folder)
    return found, figures.elsewhere(found, grid=grid)


def _reduced(
    manifests: list[Path], encoders: Path, *, rows: pd.DataFrame, book: Book, grid: Grid, folder: Path
) -> tuple[dict[str, pivot.Wide] | None, dict[str, str]]:
    """Tables and figures by name of what reductions kept, cost and came to, where there are any; once written."""
    if not manifests:
        return None, {}
    costs = reduction_results.costs(manifests, encoders=encoders, grid=grid)
    found = {
        reduction_results.COSTS: reduction_results.cost_table(costs),
        reduction_results.MEASURED: reduction_results.measured(rows, costs, grid=grid),
    }
    for name, table in found.items():
        notes = reduction_results.notes(costs, grid=grid)
        exact = provenance_of.of_sources(table.exact, book) if name == reduction_results.MEASURED else table.exact
        write_text(exact.to_csv(index=False, lineterminator="\n"), folder / f"{name}.csv")
        _write_read(name, table.shown, table.bold, about=rows, notes=notes, folder=folder, grid=grid)
        write_text(html.wide_table(table, about=rows, notes=notes, grid=grid), folder / f"{name}.html")
    return found, figures.of_reductions(found[reduction_results.MEASURED].exact, grid=grid)


def _write_words(
    name: str, shown: pd.DataFrame, bold: pd.DataFrame, *, warnings: list[str], notes: list[str], folder: Path
) -> None:
    """A table in Markdown and LaTeX."""
    quoted = "".join(f"> {warning}\n\n" for warning in warnings)
    below = "\n\n".join(notes)
    write_text(f"{quoted}{formatting.as_markdown(shown, bold=bold)}\n{below}\n", folder / f"{name}.md")
    latex = formatting.as_latex(shown, bold=bold, name=name, before=warnings, after=notes)
    write_text(latex, folder / f"{name}.tex")


def _write_numbers(rows: pd.DataFrame, *, grid: Grid, folder: Path) -> None:
    """numbers.json in full precision, and numbers.tex rounded as in the tables."""
    found = named_values.numbers(rows, grid=grid)
    write_json(named_values.as_json(found), folder / "numbers.json")
    write_text(named_values.as_latex(found), folder / "numbers.tex")


def _write_provenance(
    book: Book, *, comparisons: list[Path], more: list[str], cases: list[Path], grid: Grid, folder: Path
) -> None:
    """provenance.csv, the files behind each name in the tables; and provenance.json, what all of it was made from.

    `more` are tables that only some studies have.
    """
    write_text(book.table().to_csv(index=False, lineterminator="\n"), folder / "provenance.csv")
    labelwise = [f"labelwise_{dataset.name}.csv" for dataset in grid.datasets]
    tables_made = ["significance.csv", "macro.csv", *labelwise, "characteristics.csv", "provenance.csv", "numbers.json"]
    tables_made += [f"{name}.csv" for name in soundness_of.TITLES]
    elsewhere = any(file.name.endswith(".crossed.parquet") for file in comparisons)
    tables_made += ["crossed.csv", "crossed_labelwise.csv"] if elsewhere else []
    tables_made += [f"{name}.csv" for name in more]
    made = {
        "headwater": __version__,
        "config": grid.digest,
        "grid": json.loads(grid.as_json()),
        "cases": {file.parent.name: fingerprints.sha256(file) for file in cases},
        "comparisons": {file.name: fingerprints.sha256(file) for file in comparisons},
        "tables": {name: fingerprints.sha256(folder / name) for name in tables_made},
    }
    write_json(made, folder / "provenance.json")


def _summary(rows: pd.DataFrame, *, counts: dict[str, pd.DataFrame], grid: Grid, folder: Path) -> str:
    """The verdict in plain text: the confirmatory table, each dataset's labels, and where the page lies."""
    shown = formatting.readable(rows, grid=grid).drop(columns=["Note", *formatting.DETAILS])
    macro, measured = rows["label"] == MACRO, rows["value"].notna()
    parts = [*prose.warnings(rows, grid=grid), prose.verdict(rows, grid=grid), text.as_text(shown[macro])]
    for dataset in grid.datasets:
        here = shown[(rows["dataset"] == dataset.name) & ~macro & measured].drop(columns=["Dataset"])
        left_out = "\n".join(prose.left_out(rows, dataset=dataset, counts=counts[dataset.archive]))
        parts.append(f"{dataset.name}, label by label\n\n{text.as_text(here)}\n{left_out}".rstrip())
    return "\n\n".join([*parts, prose.legend(rows, grid=grid), f"Page: {folder / 'index.html'}"]) + "\n"
