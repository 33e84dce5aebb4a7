"""Whence: a number of the report followed back to predictions, models, weights and splits, each looked at again."""

import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pydantic
from safetensors import SafetensorError, safe_open

from headwater.core import files as core_files
from headwater.core import text as core_text
from headwater.core.errors import UserError, did_you_mean
from headwater.core.fingerprints import NOT_RECORDED, RANDOM, sha256, short
from headwater.data import cards, splits, tables
from headwater.reporting import pivot, prose
from headwater.reporting.named_values import part_of_name
from headwater.reporting.provenance import AT_HOME
from headwater.study import config as study_config
from headwater.study.grid import Grid
from headwater.study.paths import Paths
from headwater.study.source import Source

AS_RECORDED, CHANGED, GONE = "as recorded", "CHANGED SINCE", "gone"
"""What can be said of a file whose fingerprint was recorded."""

TOLD_BY = ("dataset", "fitted_to", "metric", "recipe", "label", "scores", "characteristic", "group", "source")
"""Columns whose words tell a row; those of the reference are asked where these leave a choice."""

MOST_SHOWN = 12
"""Rows that are listed where words mean several."""

TOLD = {"config", "grid", "cases", "comparisons", "tables"}
"""What provenance.json must tell."""

AGAIN = "run snakemake again: another version made this report"


@dataclass
class Node:
    """A line of the tree, and what it was made from."""

    text: str
    made_from: list["Node"] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Number:
    """What is asked about: a row of a table or a number by name, and the runs behind it."""

    title: str
    lines: list[str]
    dataset: str
    runs: pd.DataFrame
    product: str = ""
    """What follows the dataset in the name of the file, below comparisons/, that the table shows."""


@dataclass
class Report:
    """A folder of a report: what it says of where its numbers come from, and what became of those files."""

    folder: Path
    looked_at: dict[Path, str] = field(default_factory=dict)
    """What is said of each file."""
    hashes: dict[Path, str] = field(default_factory=dict)

    @property
    def results(self) -> Path:
        """The folder of all products."""
        return self.folder.parent

    @property
    def paths(self) -> Paths:
        """Where each of them lies."""
        return Paths(self.results)

    @cached_property
    def told(self) -> dict[str, Any]:
        """provenance.json."""
        file = self.folder / "provenance.json"
        if not file.exists():
            raise UserError("there is no such file", file=file, remedy=AGAIN)
        told = core_files.read_json(file)
        if not isinstance(told, dict) or not told.keys() >= TOLD:
            raise UserError(f"does not tell {', '.join(sorted(TOLD))}", file=file, remedy=AGAIN)
        return told

    @cached_property
    def grid(self) -> Grid:
        """The grid that was reported."""
        try:
            return Grid.model_validate(self.told["grid"])
        except pydantic.ValidationError:
            raise UserError(
                "tells of another kind of grid", file=self.folder / "provenance.json", remedy=AGAIN
            ) from None

    @cached_property
    def sets(self) -> pd.DataFrame:
        """provenance.csv: the runs behind each name."""
        return _table(self.folder / "provenance.csv")

    def compared(self, file: Path, recorded: str) -> str:
        """A file's fingerprint now, and whether it is the recorded one."""
        if not file.is_file():
            said, shown = GONE, recorded
        else:
            self.hashes[file] = shown = self.hashes.get(file) or sha256(file)
            unknown = recorded in ("", NOT_RECORDED)
            said = NOT_RECORDED if unknown else AS_RECORDED if shown == recorded else CHANGED
        # a file may be recorded in several places, and must agree with all of them
        self.looked_at[file] = CHANGED if self.looked_at.get(file) == CHANGED else said
        return f"{short(shown)} {said}" if shown else said

    def line(self, what: str, file: Path, recorded: str) -> str:
        """A line about a file."""
        return f"{what}: {file}: {self.compared(file, recorded)}"


def whence(table: str, row: list[str], *, config: Path | None = None) -> None:
    """Follow a number of the report back to the files that it was made from, and see whether they are still the same.

    TABLE is significance.csv or another table of sources in a folder of a report; with --config its name is enough.
    ROW is a number (1 is the first row below the headings, which a spreadsheet calls 2), or words of one row, such as
    `vindr macro radiographs_supervised`. With TABLE `numbers.json`, or `numbers`, ROW is a name of a number in it.
    Run it where you run snakemake. It ends with 0, with 1 if a file has changed, with 2 if there is nothing to follow.
    """
    file = _file(table, config=config)
    report = Report(file.parent)
    tree = _tree(_number(report, file, _words(row)), report, file=file, config=config)
    print("\n".join([tree.text, *_below(tree), "", *_verdict(report.looked_at)]))
    if CHANGED in report.looked_at.values():
        sys.exit(1)


# which number


def _file(table: str, *, config: Path | None) -> Path:
    """The file that is meant; the refusal of an unknown one names the nearest."""
    given = Path(table)
    if config is not None and given.name == table:
        given = Path(Paths(study_config.read(config).results).report_file(table))
    if given.suffix not in (".csv", ".json"):
        given = given.with_name(given.name + (".json" if given.name == "numbers" else ".csv"))
    if given.is_file():
        return given
    known = [*(file.stem for file in given.parent.glob("*.csv") if file.stem != "provenance"), "numbers"]
    if not given.parent.is_dir():
        raise UserError(
            "there is no such file", file=given, remedy="give the path of a table, or its name and --config"
        )
    raise UserError("there is no such table", file=given, remedy=did_you_mean(given.stem, known))


def _words(row: list[str]) -> list[str]:
    """What was asked for, word by word, quoted or not."""
    words = [word for part in row for word in part.split()]
    if not words:
        raise UserError("which row?", remedy="give its number, or words that only it has")
    return words


def _number(report: Report, file: Path, words: list[str]) -> Number:
    """The number that the words mean."""
    if file.name == "numbers.json":
        return _by_name(report, file, " ".join(words))
    rows = _table(file)
    if not {"provenance", "dataset"} <= set(rows):
        known = ["significance", "macro", *(f"labelwise_{dataset.name}" for dataset in report.grid.datasets), *PRODUCTS]
        raise UserError("has no rows that come from runs", file=file, remedy=f"choose one of {', '.join(known)}")
    at = _chosen(rows, words, file=file)
    row = rows.iloc[at].to_dict()
    return Number(
        title=f"{file}, row {at + 1}",
        lines=[_place(row), *_figures(row)],
        dataset=row["dataset"],
        runs=report.sets[report.sets["provenance"] == row["provenance"]],
        product=PRODUCTS.get(file.stem, ""),
    )


def _table(file: Path) -> pd.DataFrame:
    """A table of the report, its empty words as such."""
    try:
        frame = pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read: {error}", file=file, remedy="run snakemake again") from None
    words = [column for column in ("reference", "note") if column in frame]
    return frame.assign(**{column: frame[column].fillna("") for column in words})


def _place(row: dict[str, Any]) -> str:
    """What a row is about."""
    where = ", ".join(str(row[name]) for name in TOLD_BY[:-1] if name in row)
    if "source" not in row:
        return where
    return f"{where}: {row['source']}" + (f" against {row['reference']}" if row.get("reference") else "")


FIGURES = (
    *("value", "difference", "difference_low", "difference_high", "p", "p_adjusted"),
    *("intercept", "slope", "brier", "ratio", "sensitivity", "specificity", "ppv", "npv"),
)
PRODUCTS = {
    **{name: f".{name}" for name in ("calibration", "thresholds", "subgroups")},
    "crossed_labelwise": ".crossed",
}
"""What tables show other than comparisons."""


def _figures(row: dict[str, Any]) -> list[str]:
    """The numbers of a row that are asked about most."""
    shown = {name: row[name] for name in row if name.rpartition(".")[2] in FIGURES and not pd.isna(row[name])}
    return [", ".join(f"{name} {number!r}" for name, number in shown.items())]


def _chosen(rows: pd.DataFrame, words: list[str], *, file: Path) -> int:
    """The position of the one row that a number or words mean."""
    if len(words) == 1 and words[0].isdecimal():
        if not 1 <= int(words[0]) <= len(rows):
            raise UserError(f"has no row {words[0]}", file=file, remedy=f"give one from 1 to {len(rows)}")
        return int(words[0]) - 1
    own = [name for name in TOLD_BY if name in rows]
    found = _having(rows, words, own)
    if len(found) != 1 and "reference" in rows:
        # a source that others are compared with is in their rows, too; its own come first
        found = found or _having(rows, words, [*own, "reference"])
    if len(found) == 1:
        return found[0]
    if not found:
        known = set().union(*(_spelt(row, [*own, "reference"]) for row in rows.to_dict("records")))
        strange = next((word for word in words if word.casefold() not in known), None)
        remedy = did_you_mean(strange, known) if strange else "leave one of them out"
        raise UserError(f"no row has the words {' '.join(words)}", file=file, remedy=remedy)
    listed = [f"{at + 1} ({_place(rows.iloc[at].to_dict())})" for at in found[:MOST_SHOWN]]
    more = [f"and {len(found) - MOST_SHOWN} more"] if len(found) > MOST_SHOWN else []
    raise UserError(
        f"{len(found)} rows have the words {' '.join(words)}",
        file=file,
        remedy="say which: " + ", ".join(listed + more),
    )


def _having(rows: pd.DataFrame, words: list[str], columns: list[str]) -> list[int]:
    """The positions of the rows that have all words in these columns."""
    wanted = {word.casefold() for word in words}
    return [at for at, row in enumerate(rows.to_dict("records")) if wanted <= _spelt(row, columns)]


def _spelt(row: dict[str, Any], columns: list[str]) -> set[str]:
    """The words of a row, and its whole cells."""
    cells = [str(row[name]).casefold() for name in columns if row.get(name)]
    return {*cells, *(word for cell in cells for word in cell.split())}


def _by_name(report: Report, file: Path, name: str) -> Number:
    """A number of numbers.json: of a pair, of one source, or of all that a place has."""
    known = core_files.read_json(file)
    if name not in known:
        raise UserError(f"there is no number called {name!r}", file=file, remedy=did_you_mean(name, known))
    for prefix, row, sources in sorted(_prefixes(report), key=lambda one: -len(one[0])):
        if name.startswith(f"{prefix}."):
            runs = report.sets[report.sets[["dataset", "recipe"]].eq([row["dataset"], row["recipe"]]).all(axis=1)]
            runs = runs[runs["source"].isin(sources) & (runs["file"] == AT_HOME)].drop_duplicates("run")
            return Number(title=f"{file}, {name}", lines=[f"{known[name]!r}"], dataset=row["dataset"], runs=runs)
    raise UserError(f"{name} is counted over the whole study, and comes from no single run", file=file)


def _prefixes(report: Report) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """(beginning of a name, row, its sources): of each pair, of each source, and of each place."""
    rows = _table(report.folder / "significance.csv").to_dict("records")
    sources = [source.name for source in report.grid.sources]
    for row in rows:
        place = ".".join(part_of_name(row[name]) for name in pivot.PLACE)
        own, other = part_of_name(row["source"]), part_of_name(row["reference"])
        yield place, row, sources
        yield f"{place}.{own}", row, [row["source"]]
        if other:
            yield f"{place}.{own}.vs.{other}", row, [row["source"], row["reference"]]


# what it was made from


def _tree(number: Number, report: Report, *, file: Path, config: Path | None) -> Node:
    """The number, and all that it was made from."""
    compared = Path(report.paths.compared(number.dataset, number.product.removeprefix(".")))
    recorded = report.told["comparisons"].get(compared.name, NOT_RECORDED)
    sources = [source for source in report.grid.sources if source.name in set(number.runs["source"])]
    return Node(
        f"{number.title}: {report.compared(file, report.told['tables'].get(file.name, NOT_RECORDED))}",
        [
            *(Node(line) for line in number.lines if line),
            Node(_of_config(report, config)),
            Node(
                report.line("comparison", compared, recorded),
                [
                    *(_cases(report, name, runs=number.runs) for name in _datasets(number)),
                    *(_source(report, source, number.runs) for source in sources),
                ],
            ),
        ],
    )


def _datasets(number: Number) -> list[str]:
    """The dataset that was tested on, then those that networks were fitted to."""
    return list(dict.fromkeys([number.dataset, *sorted(number.runs["dataset"])]))


def _of_config(report: Report, config: Path | None) -> str:
    """The digest of the grid, and whether the config still says the same."""
    digest = report.told["config"]
    if config is None:
        return f"config: grid {digest}"
    now = study_config.read(config).grid().digest
    report.looked_at[config] = said = AS_RECORDED if now == digest else CHANGED
    return f"config: {config}: grid {now} {said}"


def _cases(report: Report, dataset: str, *, runs: pd.DataFrame) -> Node:
    """The cases that networks were fitted to or tested on, whose they are, and their splits."""
    archive = report.grid.dataset(dataset).archive
    file = Path(report.paths.cases(archive))
    said = report.line(f"cases of {dataset}", file, report.told["cases"].get(archive, NOT_RECORDED))
    # guests keep the splits of the dataset that they were fitted to; these cases are told by their own fingerprint
    recorded = sorted(set(runs.loc[runs["dataset"] == dataset, "split"]))
    return Node(said, [_archive(report, archive), _splits(report, file, recorded[0] if len(recorded) == 1 else "")])


def _archive(report: Report, name: str) -> Node:
    """What an archive is."""
    archive = report.grid.archive(name)
    card = cards.card(archive)
    return Node(f"archive {name}: {prose.about(archive)}; licence: {card.licence}")


def _splits(report: Report, file: Path, recorded: str) -> Node:
    """The digest of an archive's splits now, and whether it is that of the runs."""
    if not file.is_file():
        return Node(f"splits: {short(recorded)} {GONE}")
    try:
        now = splits.digests(tables.read_table(file, "cases"))[splits.ALL]
    except UserError as refusal:
        # its bytes are told already; here is why nothing more can be said
        return Node(f"splits: {refusal}")
    unknown = recorded in ("", NOT_RECORDED)
    said = NOT_RECORDED if unknown else AS_RECORDED if now == recorded else CHANGED
    if said == CHANGED:
        report.looked_at[file] = CHANGED
    return Node(f"splits: {short(now)} {said}")


def _source(report: Report, source: Source, runs: pd.DataFrame) -> Node:
    """A source's weights, and its runs seed by seed."""
    own = runs[runs["source"] == source.name].sort_values(["dataset", "recipe", "seed"])
    recorded = sorted(set(own["encoder"]))
    origin = _encoder(report, source.original, recorded[0] if len(recorded) == 1 else "")
    trained = [_run(report, files) for _, files in own.groupby(["dataset", "recipe", "seed"], sort=False)]
    return Node(f"source {source.name}", [origin, *trained])


def _run(report: Report, files: pd.DataFrame) -> Node:
    """One training: what it predicted, and its model."""
    first = next(files.itertuples())
    folder = Path(report.paths.run(first.run))
    fit = _fit(report, Path(report.paths.fit(first.run)), first)
    model = Node(report.line("model", Path(report.paths.model(first.run)), first.model), fit)
    predicted = [
        Node(report.line(Path(row.file).stem, folder / row.file, row.predictions)) for row in files.itertuples()
    ]
    return Node(f"run {first.run} (record {first.record})", [*predicted, model])


def _fit(report: Report, file: Path, run: Any) -> list[Node]:
    """How a model was fitted, by its own record."""
    if not file.is_file():
        report.looked_at[file] = GONE
        return [Node(f"fit: {file}: {GONE}")]
    fit = core_files.read_json(file)
    archive = report.grid.dataset(run.dataset).archive
    recorded = {"model": run.model, "split": run.split, "cases": report.told["cases"].get(archive, NOT_RECORDED)}
    # what a product of an earlier version does not tell can contradict nothing
    told = {name: fit[name] for name in recorded if name in fit and recorded[name] != NOT_RECORDED}
    other = [name for name in told if told[name] != recorded[name]]
    report.looked_at[file] = agrees = CHANGED if other else AS_RECORDED if told else NOT_RECORDED
    score = "" if fit.get("score") is None else f" {fit['score']:.4f}"
    drawn = fit.get("encoder", {}).get("drawn_under")
    first = f"; first weights drawn under {drawn}" if drawn is not None else ""
    kept = f"step {fit.get('kept_step')} of {fit.get('steps')} kept by validation {fit.get('selected_by')}{score}"
    return [Node(f"fit: {file}: {agrees}: {kept}{first}")]


def _encoder(report: Report, source: Source, recorded: str) -> Node:
    """The weights that a source brings, and what those were made from."""
    if source.kind == "random":
        return Node(f"weights: {RANDOM}, drawn anew for each seed")
    file = Path(report.paths.encoder(source.name))
    return Node(report.line("encoder", file, recorded), list(_learned(report, source, _metadata(file))))


def _metadata(file: Path) -> dict[str, Any]:
    """What an encoder's file keeps of its making; nothing where it is gone or broken."""
    try:
        with safe_open(file, framework="numpy") as opened:
            told = opened.metadata() or {}
        return {name: json.loads(told[name]) for name in ("origin", "coverage") if name in told}
    except (OSError, ValueError, SafetensorError):
        return {}


def _learned(report: Report, source: Source, told: dict[str, Any]) -> Iterator[Node]:
    """What an encoder was made from: a checkpoint, or a corpus and first weights."""
    origin = told.get("origin", {})
    if source.kind == "adopted":
        share = told.get("coverage", {}).get("share")
        loaded = "" if share is None else f"; {int(share * 1000) / 10:g} % of the network loaded"
        card = f"{origin.get('title', source.weights.layout.name)}; licence: {origin.get('licence', NOT_RECORDED)}"
        yield Node(f"adopted: {card}{loaded}", [_checkpoint(report, source, origin)])
        return
    kept = f", {origin['kept']} images" if "kept" in origin else ""
    corpus = Path(report.paths.cases(source.corpus))
    rows = Path(report.paths.rows(source.corpus, source.reduction))
    parts = [
        Node(
            report.line("cases", corpus, origin.get("cases", NOT_RECORDED)),
            [_archive(report, source.corpus), _splits(report, corpus, origin.get("split", ""))],
        ),
        Node(report.line("rows", rows, origin.get("rows", NOT_RECORDED))),
    ]
    if source.probe:
        probed = Path(report.paths.cases(source.probe.archive))
        inner = [_archive(report, source.probe.archive)]
        parts.append(Node(report.line("step chosen on", probed, origin.get("probe", NOT_RECORDED)), inner))
    if source.start:
        parts.append(_encoder(report, report.grid.source(source.start), origin.get("start", NOT_RECORDED)))
    yield Node(f"pre-trained: {source.method.name} on {source.corpus} ({source.reduction}{kept})", parts)


def _checkpoint(report: Report, source: Source, origin: dict[str, Any]) -> Node:
    """The file that weights were read from."""
    if not source.weights.path:
        return Node("checkpoint: fetched by its library, which keeps no file for us")
    return Node(report.line("checkpoint", Path(source.weights.path), origin.get("sha256", NOT_RECORDED)))


# how it is told


def _below(node: Node, *, before: str = "") -> Iterator[str]:
    """The lines of all that a node was made from."""
    for position, child in enumerate(node.made_from):
        last = position == len(node.made_from) - 1
        yield f"{before}{'└─ ' if last else '├─ '}{child.text}"
        yield from _below(child, before=f"{before}{'   ' if last else '│  '}")


def _verdict(looked_at: dict[Path, str]) -> Iterator[str]:
    """What became of all files, in a line each."""
    by_said = {
        said: [str(file) for file in looked_at if looked_at[file] == said]
        for said in (AS_RECORDED, NOT_RECORDED, GONE, CHANGED)
    }
    yield f"{core_text.many(len(by_said.pop(AS_RECORDED)), 'file')} as recorded."
    for said, files in by_said.items():
        if files:
            yield f"{said}: {', '.join(map(shlex.quote, files))}"
