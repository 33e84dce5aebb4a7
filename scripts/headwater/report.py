"""Report: the tables, figures and the page that say which differences between sources stand up to correction.

The same inputs give the same bytes: nothing here looks at a clock or at the machine.
"""

from pathlib import Path

import pandas as pd

from headwater import figures, page, sentences, tables
from headwater.formats import MACRO, read_table, write_text
from headwater.grid import Grid
from headwater.refusals import Refusal
from headwater.sentences import CONFIRMATORY, EXPLORATORY
from headwater.statistics import corrections
from headwater.statistics.significance import smallest


def report(
    *,
    grid: Grid,
    comparisons: list[Path],
    curves: list[Path],
    labels: list[Path],
    rejects: list[Path],
    folder: Path,
) -> None:
    """Write significance.{csv,md,tex,html}, the figures, index.html and summary.txt into `folder`; print the summary.

    Files of labels and rejects lie in a folder that bears their archive's name.
    """
    counts = _by_archive(labels, "labels", grid)
    rows = judged(_by_dataset(comparisons, "comparisons", grid), grid=grid, order=_label_order(grid, counts))
    svgs = figures.drawn(rows, _by_dataset(curves, "curves", grid), grid=grid)
    for name, svg in svgs.items():
        write_text(svg, folder / f"{name}.svg")
    _write_tables(rows, grid=grid, folder=folder)
    whole = page.index(rows, svgs, counts=counts, rejects=_by_archive(rejects, "rejects", grid), grid=grid)
    write_text(whole, folder / "index.html")
    summary = _summary(rows, counts=counts, grid=grid, folder=folder)
    write_text(summary, folder / "summary.txt")
    print(summary, end="")


def _by_archive(files: list[Path], table: str, grid: Grid) -> dict[str, pd.DataFrame]:
    """Tables by the archive that they describe; the archives of all datasets must be there."""
    found = {file.parent.name: read_table(file, table) for file in sorted(set(files))}
    for dataset in grid.datasets:
        if dataset.archive not in found:
            raise Refusal(f"no table of {table} in a folder called {dataset.archive}", remedy="run prepare first")
    return found


def _by_dataset(files: list[Path], table: str, grid: Grid) -> pd.DataFrame:
    """One table over all datasets of the grid, each of which must be there in one file."""
    frames = {file: read_table(file, table) for file in sorted(set(files))}
    whose: dict[str, Path] = {}
    for file, frame in frames.items():
        for name in frame["dataset"].unique():
            if name in whose:
                raise Refusal(f"{name} is also in {whose[name]}", file=file, remedy="give each dataset once")
            if name not in [dataset.name for dataset in grid.datasets]:
                raise Refusal(f"{name} is no dataset of the grid", file=file, remedy="leave the file out")
            whose[name] = file
    for dataset in grid.datasets:
        # a dataset whose labels all lack a class has comparisons, but no curve
        if dataset.name not in whose and table == "comparisons":
            raise Refusal(f"no table of {table} for {dataset.name}", remedy="run compare first")
    return pd.concat(frames.values(), ignore_index=True)


def _label_order(grid: Grid, counts: dict[str, pd.DataFrame]) -> dict[str, list[str]]:
    """For each dataset the macro, then its labels as the config or else the archive orders them."""
    return {
        dataset.name: [MACRO, *(dataset.labels or counts[dataset.archive]["label"].unique())]
        for dataset in grid.datasets
    }


def judged(rows: pd.DataFrame, *, grid: Grid, order: dict[str, list[str]]) -> pd.DataFrame:
    """The comparisons in reading order, each test with its family, correction, adjusted p and verdict.

    Two families were declared before any result: the macro of all datasets, pairs, recipes and metrics (Holm), and all
    single labels (Benjamini-Hochberg). `order` gives each dataset's labels, the macro among them.
    """
    rows = rows.loc[sorted(rows.index, key=lambda at: _place(rows.loc[at], grid, order))].reset_index(drop=True)
    tested, macro = rows["tested"] & rows["p"].notna(), rows["label"] == MACRO
    rows = rows.assign(family="", correction="", p_adjusted=float("nan"))
    for family, inside, correction, correct in (
        (CONFIRMATORY, tested & macro, "Holm", corrections.holm),
        (EXPLORATORY, tested & ~macro, "Benjamini-Hochberg", corrections.benjamini_hochberg),
    ):
        rows.loc[inside, ["family", "correction"]] = family, correction
        rows.loc[inside, "p_adjusted"] = correct(rows.loc[inside, "p"].to_numpy())
    rows["significant"] = rows["p_adjusted"] <= grid.comparing.level
    return rows.assign(smallest_p=smallest(rows["resamples"] - rows["dropped"]))


def _place(row: pd.Series, grid: Grid, order: dict[str, list[str]]) -> tuple:
    """Where a row stands: datasets, metrics, recipes, labels and sources as in the config, lone sources first."""
    if row["label"] not in order[row["dataset"]]:
        raise Refusal(
            f"{row['dataset']}: label {row['label']!r} is compared, but its archive has none",
            remedy="run compare again",
        )
    sources = ["", *(source.name for source in grid.sources)]
    return (
        [dataset.name for dataset in grid.datasets].index(row["dataset"]),
        grid.comparing.metrics.index(row["metric"]),
        [recipe.name for recipe in grid.recipes].index(row["recipe"]),
        order[row["dataset"]].index(row["label"]),
        sources.index(row["reference"]),
        sources.index(row["source"]),
    )


def _write_tables(rows: pd.DataFrame, *, grid: Grid, folder: Path) -> None:
    """significance.csv in full precision; .md, .tex and .html to be read."""
    shown, bold = tables.readable(rows, grid=grid), rows["significant"].tolist()
    write_text(rows.to_csv(index=False, lineterminator="\n"), folder / "significance.csv")
    quoted = "".join(f"> {warning}\n\n" for warning in sentences.warnings(grid))
    markdown = tables.as_markdown(shown, bold=bold)
    write_text(f"{quoted}{markdown}\n{sentences.legend(grid)}\n", folder / "significance.md")
    said = "".join(f"% {warning}\n" for warning in sentences.warnings(grid))
    write_text(said + tables.as_latex(shown, bold=bold), folder / "significance.tex")
    write_text(page.significance(rows, grid=grid), folder / "significance.html")


def _summary(rows: pd.DataFrame, *, counts: dict[str, pd.DataFrame], grid: Grid, folder: Path) -> str:
    """The verdict in plain text: the confirmatory table, each dataset's labels, and where the page lies."""
    shown = tables.readable(rows, grid=grid).drop(columns=["Note"])
    macro, measured = rows["label"] == MACRO, rows["value"].notna()
    parts = [*sentences.warnings(grid), sentences.verdict(rows, grid=grid), tables.as_text(shown[macro])]
    for dataset in grid.datasets:
        here = shown[(rows["dataset"] == dataset.name) & ~macro & measured].drop(columns=["Dataset"])
        left_out = "\n".join(sentences.left_out(rows, dataset=dataset, counts=counts[dataset.archive]))
        parts.append(f"{dataset.name}, label by label\n\n{tables.as_text(here)}\n{left_out}".rstrip())
    return "\n\n".join([*parts, sentences.legend(grid), f"Page: {folder / 'index.html'}"]) + "\n"
