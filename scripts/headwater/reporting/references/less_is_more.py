"""Less is more: what the published study on redundant slices of CT reached, to stand beside what is found here.

Its tables could not be had: numbers are those that its first author typed into plotting scripts 21 months before it
(github.com/Wolfda95/Medical_Data_Visualization, commits 632221c and 5edfb45), and agree with the abstract of arXiv
2410.14524 where that can be checked; OrganSMNIST's are from the abstract. Their error bars differ between commits.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

from headwater.core import registry
from headwater.core.records import Choice
from headwater.study.archive import Dataset
from headwater.study.grid import Grid
from headwater.study.source import Source

TABLE = Path(__file__).with_suffix(".csv")

STAND_IN = "the study's brain images (29 in test) are private: a public set stands in"
TASKS = {
    "covid_ct": ("COVID-19 CT", ""),
    "ct_ich": ("Brain hemorrhage", STAND_IN),
    "rsna_ich": ("Brain hemorrhage", STAND_IN),
    "organsmnist": ("OrganSMNIST", "the study's abstract says neither corpus nor reduction"),
}
"""The study's task by kind of archive, and what is another one here."""

CORPORA = {"lidc": "LIDC", "fdg_petct": "PET-CT"}
"""What the study calls its corpora."""

BACKBONE, EPOCHS = "timm/resnet50", 800

MEASURES = {"ssim": "SSIM", "mutual_information": "MutualInformation"}
BUDGET = 0.1
"""The share that the study kept by budget."""


@dataclass(frozen=True, kw_only=True)
class PublishedNumber:
    """A number of the study, with its error bar where there is one, and what is otherwise here."""

    value: float
    spread: float
    differs: str


def auroc(source: Source, dataset: Dataset, grid: Grid) -> PublishedNumber | None:
    """What the study reached with such a source on such a dataset; none where it has nothing of the kind."""
    archive = grid.archive(dataset.archive)
    task, other = TASKS.get(archive.kind.name, ("", ""))
    corpus, name, differs = _called(source, grid)
    listed = archive.kind.options.get("splits", "official") == "official"
    splits = "" if listed else "other splits than the authors' lists"
    differences = [other, _made_up(source, dataset.archive, grid), splits, *_learned_otherwise(source), differs]
    return _row("auroc", task, "" if task == "OrganSMNIST" else corpus, name, differences)


def hours(quantity: str, source: Source, grid: Grid) -> float:
    """Hours of `pretraining` or `reduction` in the study; NaN where it reports none."""
    if quantity == "pretraining" and _learned_otherwise(source):
        return float("nan")
    corpus, name, _ = _called(source, grid)
    number = _row(f"{quantity}_hours", "", corpus, name, []) if corpus else None
    return number.value if number else float("nan")


def _made_up(source: Source, archive: str, grid: Grid) -> str:
    """Whether any of the images are."""
    twins = [name for name in (archive, source.corpus) if name and grid.archive(name).twin]
    return "synthetic images" if twins else ""


def _learned_otherwise(source: Source) -> list[str]:
    """What is otherwise in the network, its start and the length of its pre-training."""
    differs = [] if source.backbone == BACKBONE else [f"{source.backbone}; the study has a ResNet-50"]
    differs += [f"starts from {source.start}"] if source.start else []
    if source.training and source.training.epochs != EPOCHS:
        length = source.training.steps, source.training.epochs
        length_here = f"{length[0]} steps, whatever is kept" if length[0] else f"{length[1]:g} epochs"
        differs.append(f"{length_here}; the study has {EPOCHS} epochs")
    return differs


def _row(quantity: str, task: str, corpus: str, name: str, differs: list[str]) -> PublishedNumber | None:
    place = (quantity, task, corpus, name)
    if place not in _table().index:
        return None
    row = _table().loc[place]
    return PublishedNumber(value=row["value"], spread=row["spread"], differs="; ".join(filter(None, differs)))


@cache
def _table() -> pd.DataFrame:
    """The numbers by what they are about."""
    place = ["quantity", "task", "corpus", "reduction"]
    return pd.read_csv(TABLE, keep_default_na=False, na_values={"spread": [""]}).set_index(place)


def _called(source: Source, grid: Grid) -> tuple[str, str, str]:
    """(corpus, reduction, what differs) as the study calls them; no reduction where it has none of the kind."""
    if source.kind == "random":
        return "", "NoPretraining", ""
    if source.kind != "pretrained" or source.method.name != "swav":
        return "", "", ""
    corpus = CORPORA.get(grid.archive(source.corpus).kind.name, "")
    name, differs = _reduction(grid.reductions[source.reduction])
    return (corpus, name, differs) if corpus else ("", "", "")


def _reduction(choice: Choice) -> tuple[str, str]:
    """(name, what differs) of a reduction in the study's words."""
    options = registry.chosen("reductions", choice)
    budget = getattr(options, "share", None) == BUDGET
    if choice.name == "everything":
        return "AllSlices", ""
    if choice.name == "every_n":
        return ("EveryN", "the study's n is not published") if options.per == "volume" else ("", "")
    if choice.name == "hash" and options.of == "difference" and options.mode == "leader":
        return _hash(options, budget=budget), ""
    if choice.name in MEASURES and options.per == "volume" and options.mode == "leader":
        name = MEASURES[choice.name]
        whole = budget or options.share is None
        differs = "the study's threshold is not published" if not budget else ""
        return (f"{name} (10% budget)" if budget else name, differs) if whole else ("", "")
    return "", ""


def _hash(options: object, *, budget: bool) -> str:
    """What the study calls a reduction by hash; empty where it has none such."""
    if budget:
        return "Hash (10% budget)" if options.per == "volume" else ""
    if options.share is not None:
        return ""
    return f"Hash-{options.distance} ({'per volume' if options.per == 'volume' else 'whole dataset'})"
