"""The sections of the page in their order, with their blocks before and after the declared tables and figures."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from headwater.core import text
from headwater.data import cards, opposite_labels
from headwater.data.tables import MACRO, SPLITS
from headwater.reporting import artefacts, footnotes, formatting, methods, prose, verdict
from headwater.reporting.printed_table import PrintedTable, plain
from headwater.reporting.results import StudyResults
from headwater.study import paths
from headwater.study.archive import Archive, Dataset
from headwater.study.grid import Grid


@dataclass(frozen=True, kw_only=True)
class Block:
    """A piece of a section: a heading, text, a list, a table or a figure."""

    heading: str = ""
    text: str = ""
    small: str = ""
    lines: tuple[str, ...] = ()
    table: PrintedTable | None = None
    svg: str = ""
    caption: str = ""
    files: tuple[tuple[str, str], ...] = ()
    """(address, what it is called) of the files that hold it."""
    anchor: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the page."""

    name: str
    """Its name in the cards of tables and figures."""
    title: str
    nav: str
    """Its name in the links at the top of the page."""
    lead: str = ""
    dataset: str = ""
    """The dataset that it is about, if it is about one."""
    opening: tuple[Block, ...] = ()
    closing: tuple[Block, ...] = ()
    blocks: tuple[Block, ...] = field(default=())

    @property
    def id(self) -> str:
        """Its anchor in the page."""
        return f"dataset-{self.dataset}" if self.dataset else self.name

    def around(self, blocks: list[Block]) -> "Section":
        """The section with these blocks inside."""
        return replace(self, blocks=(*self.opening, *blocks, *self.closing))


def sections(study: StudyResults) -> Iterator[Section]:
    """All sections in their order; sections without any block are not shown."""
    yield Section(name="verdict", title="Verdict", nav="Verdict", opening=tuple(_verdict(study)))
    for dataset in study.grid.datasets:
        yield _dataset(dataset, study)
    yield Section(name="calibration", title="Can the scores be read as probabilities?", nav="Probabilities")
    yield Section(name="thresholds", title="What alarms find and miss", nav="Alarms")
    yield Section(name="subgroups", title="For whom does it work less well?", nav="Subgroups")
    yield Section(
        name="elsewhere",
        title="Tested elsewhere",
        nav="Elsewhere",
        lead="Each network on the test cases of the other datasets, for the findings that both have.",
    )
    yield Section(
        name="reductions",
        title="Less of the corpus",
        nav="Reductions",
        lead="What each reduction kept, what that took, and what the networks reached.",
    )
    yield Section(name="sources", title="Sources", nav="Sources", opening=(Block(table=_sources(study.grid)),))
    yield Section(name="archives", title="Archives", nav="Archives", opening=(Block(table=_archives(study)),))
    yield Section(name="apart", title="Were the splits apart?", nav="Leaks", opening=tuple(_apart(study)))
    yield Section(
        name="checks",
        title="Check-lists of journals",
        nav="Check-lists",
        lead="Filled in where the study knows the answer; the rest is the author's.",
    )
    yield Section(
        name="cards",
        title="Cards and datasheets",
        nav="Cards",
        lead="What the study knows of its encoders, its models and their data; the rest is the author's.",
        opening=tuple(
            Block(heading=kind, files=tuple((f"{name}.md", called) for name, called in about.items()))
            for kind, about in artefacts.cards(study.grid).items()
            if about
        ),
    )
    notes = (*methods.notes(study.comparisons, grid=study.grid), *prose.dropped(study.dropped))
    yield Section(name="method", title="How the numbers were made", nav="Method", opening=(Block(lines=notes),))


def _verdict(study: StudyResults) -> Iterator[Block]:
    """The verdict, and the table of the confirmatory comparisons."""
    rows, grid = study.comparisons, study.grid
    yield Block(text=verdict.verdict(rows, grid=grid))
    yield Block(lines=tuple(verdict.claims(rows, grid=grid)))
    files = tuple(
        (f"{name}.{form}", f"{name}.{form}") for name in ("significance", "macro") for form in artefacts.FORMATS
    )
    yield Block(table=_compared(rows[rows["label"] == MACRO], study), files=files, anchor="macro")
    yield Block(small=footnotes.legend(rows, grid=grid))


def _dataset(dataset: Dataset, study: StudyResults) -> Section:
    """The section of one dataset."""
    rows, counts = study.comparisons, study.counts_of(dataset)
    here = rows[rows["dataset"] == dataset.name]
    about = prose.about(study.grid.seen_in(dataset))
    compared = _compared(here, study)
    compared = replace(compared, shown=compared.shown.drop(columns=["Dataset"]))
    return Section(
        name="datasets",
        dataset=dataset.name,
        title=formatting.dataset_of(next(here.itertuples()), study.grid),
        nav=study.grid.wording.short("datasets", dataset.name),
        lead=about[0].upper() + about[1:],
        opening=(
            Block(lines=tuple(verdict.left_out(rows, dataset=dataset, counts=counts, grid=study.grid))),
            Block(heading="Label by label", table=compared, files=_labelwise(dataset)),
        ),
        closing=(
            Block(heading="How many cases have each label", table=_label_counts(counts, here, dataset, study.grid)),
            Block(
                small="In each split: cases with the label / cases whose label is known, and the patients with the "
                "label." + " All are tested once, in their fold." * (dataset.splits is not None)
            ),
            *_overlaid(dataset, study),
        ),
    )


def _labelwise(dataset: Dataset) -> tuple[tuple[str, str], ...]:
    """The files of the table of a dataset, a column per source."""
    return artefacts.links(artefacts.file_name("labelwise", dataset.name))


def _overlaid(dataset: Dataset, study: StudyResults) -> Iterator[Block]:
    """Where the pictures of outlines are, if there are any."""
    page = Path(study.paths.overlays(dataset.name))
    if page.exists():
        where = page.relative_to(study.paths.results)
        yield Block(
            small=f"Pictures of the cases in which sources outline most differently: {where}, below the folder of "
            "results. They show patients, and are not part of this report."
        )


def _compared(rows: pd.DataFrame, study: StudyResults) -> PrintedTable:
    """Some comparisons, without the columns that only the table of all comparisons has."""
    shown = formatting.readable(study.comparisons, grid=study.grid).drop(columns=list(formatting.DETAILS))
    return replace(_words(shown.loc[rows.index]), comparisons=rows, grid=study.grid)


def _words(shown: pd.DataFrame, *, words: tuple[str, ...] = text.LEFT) -> PrintedTable:
    """A table that is only on the page."""
    return PrintedTable(title="", shown=shown, bold=plain(shown), exact=shown, words=words)


def _label_counts(counts: pd.DataFrame, rows: pd.DataFrame, dataset: Dataset, grid: Grid) -> PrintedTable:
    """Each label's cases and patients in each split, and its role in the comparison."""
    notes = rows.drop_duplicates("label").set_index("label")["note"]
    tested = rows.groupby("label")["tested"].any()
    by_label = {label: part.set_index("split") for label, part in counts.groupby("label", sort=False)}
    lines = []
    compared = set(rows["label"])
    for label in dataset.listed or [label for label in by_label if label in compared]:
        splits = by_label[label] if label in by_label else pd.DataFrame()
        line = {split.capitalize(): _cases_with_label(splits, split) for split in SPLITS}
        part = "tested" if tested.get(label, False) else notes.get(label, "not compared").split("; ")[0]
        holder = {"Target": dataset.holders[label]} if dataset.holders else {}
        lines.append(
            {
                "Label": grid.wording.title("labels", label),
                **holder,
                **line,
                "In test": _share(splits),
                "Part in the comparison": part,
            }
        )
    return _words(pd.DataFrame(lines), words=("Label", "Target", "Part in the comparison"))


def _cases_with_label(splits: pd.DataFrame, split: str) -> str:
    """Cases with the label / cases whose label is known, and patients with it."""
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


def _sources(grid: Grid) -> PrintedTable:
    """How each source got its weights."""
    lines = [
        {
            "Source": grid.wording.title("sources", source.name)
            + (" (reference)" if source.name in grid.comparing.references else ""),
            "Weights": prose.way(source, grid),
            "Backbone": source.backbone,
            "Corpus": prose.corpus(source, grid),
            "Length": prose.length(source, grid),
        }
        for source in grid.sources
    ]
    shown = pd.DataFrame(lines)
    return _words(shown, words=tuple(shown))


def _archives(study: StudyResults) -> PrintedTable:
    """Each archive with its licence, its citation and its number of unreadable cases."""
    lines = [
        {
            "Archive": archive.name,
            "What it is": prose.about(archive),
            "Licence": cards.card(archive).licence,
            "Note": f"{cards.card(archive).citation} {_unreadable(archive, study.rejects)}".strip(),
        }
        for archive in study.grid.archives
    ]
    shown = pd.DataFrame(lines)
    return _words(shown, words=tuple(shown))


def _unreadable(archive: Archive, rejects: dict[str, pd.DataFrame]) -> str:
    """The number of unreadable images or volumes, for archives that the study uses."""
    if archive.name not in rejects:
        return ""
    return f"Unreadable {prose.thing([archive])}s: {prose.unreadable(rejects[archive.name])}."


def _apart(study: StudyResults) -> Iterator[Block]:
    """The summary of the ledger, and a table of its overlaps that are not empty."""
    yield Block(text=prose.apart(study.ledger, grid=study.grid))
    if lines := (*prose.dropped(study.dropped), *_opposite(study.ledger)):
        yield Block(lines=lines)
    opposite = study.ledger["kind"].isin(opposite_labels.KINDS.values())
    overlaps = study.ledger[(study.ledger["cases"] > 0) & ~opposite]
    if overlaps.empty:
        return
    into = prose.designs(study.grid, test_split="a test split", folds="a fold")
    shown = pd.DataFrame(
        {
            "Shared": overlaps["kind"],
            "By": overlaps["part"] + " (" + overlaps["cases"].astype(str) + ")",
            "And": overlaps["other"] + " (" + overlaps["other_cases"].astype(str) + ")",
            "Excused, because": overlaps["excuse"].where(overlaps["must_be_apart"], f"no leak into {into}"),
        }
    ).reset_index(drop=True)
    yield Block(table=_words(shown, words=tuple(shown)))
    yield Block(small="In brackets: the cases of each split that have their like in the other.")


def _opposite(ledger: pd.DataFrame) -> Iterator[str]:
    """How many images look the same and have opposite labels, and in which splits; nothing without any."""
    rows = ledger[ledger["kind"].isin(opposite_labels.KINDS.values())]
    for sentence in opposite_labels.sentences(ledger):
        between = [f"{row.part} and {row.other}: {text.many(row.pairs, 'pair')}" for row in rows.itertuples()]
        yield (
            f"{sentence}: one of two labels is wrong, or these images do not show the finding "
            f"({'; '.join(between)}). The study's own folder names them: {paths.opposite_labels(Path())}."
        )
