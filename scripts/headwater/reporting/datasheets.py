"""Datasheets: what a study knows of each archive, under the headings of Gebru et al. 2021 (arXiv 1803.09010).

Questions are in short words of our own. What only the archive's makers or the study's authors know is left to them.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from headwater import __version__
from headwater.core.fingerprints import NOT_RECORDED, short
from headwater.data import cards, splits, store
from headwater.data.leakage import SHARED
from headwater.data.tables import TARGET, labels_of
from headwater.reporting import card_pages, cohort, model_cards, prose
from headwater.reporting.card_pages import Part
from headwater.reporting.results import StudyResults
from headwater.study import paths
from headwater.study.archive import Archive

Teller = Callable[[Archive, StudyResults], str | None]
"""What the study answers; None where it does not know."""


def every(study: StudyResults) -> Iterator[tuple[str, str]]:
    """(name of the file without suffix, text) of the datasheet of each archive that the study uses."""
    characteristics = cohort.table(study.cases, grid=study.grid).exact
    for name in study.grid.archives_used:
        archive = study.grid.archive(name)
        questions = QUESTIONS | {"Composition": QUESTIONS["Composition"] | _people(archive, study, characteristics)}
        parts = [
            Part(heading=heading, answers={asked: tell and tell(archive, study) for asked, tell in asked_here.items()})
            for heading, asked_here in questions.items()
        ]
        yield paths.datasheet(name), card_pages.rendered(f"Datasheet: {name}", parts)


# composition


def _what(archive: Archive, study: StudyResults) -> str:
    card = cards.card(archive)
    return f"{model_cards.titled(archive)}: {card.modality}, {card.ndim} dimensions, a {card.task} task"


def _how_many(archive: Archive, study: StudyResults) -> str:
    original = "the original as published" if archive.twin else "as published"
    published = ", ".join(f"{name} {count:,}" for name, count in cards.card(archive).expected.items())
    here = f"readable here: {model_cards.people(study, archive.name)}"
    return f"{here}; {original}: {published}" if published else here


def _sample(archive: Archive, study: StudyResults) -> str | None:
    return f"only projections {', '.join(archive.projections)}" if archive.projections else None


def _missing(archive: Archive, study: StudyResults) -> str:
    cases, least = study.cases_of(archive.name), study.grid.comparing.fewest_positive
    if cases is None:
        return NOT_RECORDED
    unknown = {label: int(cases[TARGET + label].isna().sum()) for label in labels_of(cases)}
    some = {label: count for label, count in unknown.items() if count}
    return f"unknown labels: {card_pages.counted(some, least=least)}" if some else "no label is unknown"


def _labels(archive: Archive, study: StudyResults) -> str:
    cases = study.cases_of(archive.name)
    labels = cards.card(archive).labels if cases is None else labels_of(cases)
    return ", ".join(study.grid.wording.title("labels", label) for label in labels) or "none"


def _related(archive: Archive, study: StudyResults) -> str:
    known = cards.card(archive).patients
    return f"the archive states which {prose.thing([archive])}s are of one patient" if known else "patients: not stated"


def _splits(archive: Archive, study: StudyResults) -> str:
    if folds := model_cards.dealt(study, archive.name):
        return f"dealt into {folds.folds} folds by patient"
    cases = study.cases_of(archive.name)
    mark = "" if cases is None else f"; fingerprint {short(splits.digests(cases)[splits.ALL])}"
    return f"the archive's own where it has them, else drawn by patient with seed {archive.split_seed}{mark}"


def _errors(archive: Archive, study: StudyResults) -> str:
    """Unreadable images by kind, and images that have their like in the same split."""
    least, ledger = study.grid.comparing.fewest_positive, study.ledger
    kinds = store.kinds(study.rejects[archive.name]).value_counts()
    unreadable = {str(kind): int(count) for kind, count in sorted(kinds.items())}
    within = ledger[(ledger["part"] == ledger["other"]) & (ledger["part"].str.rsplit(" ", n=1).str[0] == archive.name)]
    alike = within[within["kind"].isin(SHARED)].groupby("kind")["cases"].sum()
    shared = {SHARED[kind]: int(alike[kind]) for kind in SHARED if alike.get(kind, 0)}
    said = [f"unreadable: {card_pages.counted(unreadable, least=least) or 'none'}"]
    said += [f"alike within a split: {card_pages.counted(shared, least=least)}"] if shared else []
    return "; ".join(said)


def _people(archive: Archive, study: StudyResults, characteristics: pd.DataFrame) -> dict[str, Teller]:
    """Age, sex, projections and labels of a dataset's archive, small counts hidden as in characteristics.csv."""
    named = [dataset.name for dataset in study.grid.datasets if dataset.archive == archive.name]
    here = characteristics[characteristics["dataset"].isin(named) & (characteristics["split"] == cohort.ALL)]
    rows = list(here.drop_duplicates(["characteristic", "name"]).itertuples())
    asked = {
        "Age": [f"{row.value:.1f} ± {row.sd:.1f} years" for row in _of(rows, "age") if pd.notna(row.sd)],
        "Women": [f"{_shown(row.value)} of {_shown(row.known)} of known sex" for row in _of(rows, "women")],
        "Projections": [f"{row.name} {_shown(row.value)}" for row in _of(rows, "projection")],
        "Cases with each label": [
            f"{study.grid.wording.title('labels', row.name)} {_shown(row.value)}" for row in _of(rows, "label")
        ],
    }
    return {name: lambda archive, study, told=told: ", ".join(told) or None for name, told in asked.items()}


def _of(rows: list[Any], characteristic: str) -> list[Any]:
    return [row for row in rows if row.characteristic == characteristic]


def _shown(value: Any) -> str:
    """A count, or what stands for it where it is not shown."""
    return value if isinstance(value, str) else f"{value:,.0f}"


# the other parts


def _of_card(field: str) -> Teller:
    """What an archive's card says."""
    return lambda archive, study: getattr(cards.card(archive), field) or None


def _prepared(archive: Archive, study: StudyResults) -> str:
    return model_cards.preparation(archive)


def _software(archive: Archive, study: StudyResults) -> str:
    return f"headwater {__version__}, Apache-2.0"


def _raw(archive: Archive, study: StudyResults) -> str:
    return "yes: the archive is read only; what is prepared lies in the study's own results"


def _used(archive: Archive, study: StudyResults) -> str:
    """In which parts of the study it is used."""
    called, grid = study.grid.wording.title, study.grid
    uses = [f"dataset {called('datasets', of.name)}" for of in grid.datasets if of.archive == archive.name]
    uses += [f"corpus of {called('sources', of.name)}" for of in grid.sources if of.corpus == archive.name]
    probed = [of for of in grid.sources if archive.name in [probe.archive for probe in of.probes.values()]]
    uses += [f"probe of {called('sources', of.name)}" for of in probed]
    return ", ".join(uses)


def _hosted(archive: Archive, study: StudyResults) -> str | None:
    forbidden = "its terms do not allow curves of trainings on a server outside"
    return None if cards.card(archive).hosted_logging else forbidden


QUESTIONS: dict[str, dict[str, Teller | None]] = {
    "Motivation": {
        "Purpose": None,
        "Creators": None,
        "Funding": None,
    },
    "Composition": {
        "What the instances are": _what,
        "How many there are": _how_many,
        "Whether they are a sample of a larger set": _sample,
        "Labels": _labels,
        "What is missing": _missing,
        "Relations between instances": _related,
        "Recommended splits": _splits,
        "Errors, noise and redundancies": _errors,
        "What else may surprise": _of_card("note"),
        "Reliance on external resources": None,
        "Confidential, offensive or sensitive content": None,
        "Whether people can be identified": None,
    },
    "Collection": {
        "How the data were acquired": None,
        "Who was involved, and how they were paid": None,
        "Time frame": None,
        "Ethical review": None,
        "Consent, notification and revocation": None,
        "Analysis of the impact on people": None,
    },
    "Preprocessing": {
        "What was done for this study": _prepared,
        "Whether the raw data are kept": _raw,
        "Software": _software,
        "What was done before publication, such as de-identification": None,
    },
    "Uses": {
        "In this study": _used,
        "Other tasks, and a repository of uses": None,
        "Restrictions on services outside": _hosted,
        "Tasks that it should not be used for": None,
    },
    "Distribution": {
        "Where it is published": _of_card("url"),
        "Licence": _of_card("licence"),
        "Citation": _of_card("citation"),
        "Restrictions by third parties or regulators": None,
    },
    "Maintenance": {
        "Who maintains it, and how to reach them": None,
        "Erratum, updates and older versions": None,
        "Retention of data about people": None,
        "How others can contribute": None,
    },
}
"""By part, what is asked and what tells it; None is the author's to answer."""
