"""Check-lists: what journals ask of a study, filled in where the study knows it and left to the author elsewhere.

The items are those of CLAIM (2024 update, Radiology: Artificial Intelligence) and TRIPOD+AI (BMJ 2024), in short words
of our own; the numbers are theirs.
"""

from dataclasses import dataclass

import pandas as pd

from headwater.core import text
from headwater.reporting import study_facts as facts
from headwater.reporting.printed_table import PrintedTable, plain
from headwater.reporting.results import StudyResults
from headwater.reporting.study_facts import Teller

STUDY, AUTHOR = "study", "author"
"""Who fills an item in."""


@dataclass(frozen=True)
class Item:
    """An item of a check-list; without a teller it is the author's."""

    number: str
    section: str
    asked: str
    teller: Teller | None = None


CLAIM = (
    Item("1", "Title", "names the technology, such as deep learning"),
    Item("2", "Abstract", "structured summary of design, methods, results and conclusions"),
    Item("3", "Introduction", "background, intended use and role of the method"),
    Item("4", "Introduction", "aims, objectives and hypotheses"),
    Item("5", "Methods: design", "prospective or retrospective"),
    Item("6", "Methods: design", "goal of the study", facts.goal),
    Item("7", "Methods: data", "sources of the data", facts.data),
    Item("8", "Methods: data", "inclusion and exclusion criteria", facts.exclusions),
    Item("9", "Methods: data", "preprocessing", facts.preparation),
    Item("10", "Methods: data", "selection of subsets of the data", facts.subsets),
    Item("11", "Methods: data", "de-identification"),
    Item("12", "Methods: data", "handling of missing data", facts.missing),
    Item("13", "Methods: data", "image acquisition protocol"),
    Item("14", "Methods: reference standard", "how the reference standard was obtained"),
    Item("15", "Methods: reference standard", "why this reference standard"),
    Item("16", "Methods: reference standard", "who annotated, and with what qualification"),
    Item("17", "Methods: reference standard", "annotation of the test set"),
    Item("18", "Methods: reference standard", "agreement between and within annotators"),
    Item("19", "Methods: partitions", "how data were assigned to partitions", facts.partitions),
    Item("20", "Methods: partitions", "level at which partitions are disjoint", facts.apart),
    Item("21", "Methods: partitions", "intended size of the test set"),
    Item("22", "Methods: model", "description of the model", facts.networks),
    Item("23", "Methods: model", "software and packages", facts.software),
    Item("24", "Methods: model", "initialisation of the parameters", facts.first_weights),
    Item("25", "Methods: training", "training, augmentation and hyper-parameters", facts.training),
    Item("26", "Methods: training", "how the final model was selected", facts.selection),
    Item("27", "Methods: training", "ensembles", facts.ensembles),
    Item("28", "Methods: evaluation", "metrics of performance", facts.metrics),
    Item("29", "Methods: evaluation", "significance and uncertainty", facts.statistics),
    Item("30", "Methods: evaluation", "robustness or sensitivity analysis", facts.sensitivity),
    Item("31", "Methods: evaluation", "explainability"),
    Item("32", "Methods: evaluation", "evaluation on internal data", facts.internal),
    Item("33", "Methods: evaluation", "testing on external data", facts.external),
    Item("34", "Methods: evaluation", "registration of a clinical trial"),
    Item("35", "Results: data", "numbers included and excluded", facts.flow),
    Item("36", "Results: data", "characteristics of each partition", facts.characteristics),
    Item("37", "Results: performance", "performance with its uncertainty", facts.performance),
    Item("38", "Results: performance", "diagnostic performance and its precision", facts.by_label),
    Item("39", "Results: performance", "analysis of failures"),
    Item("40", "Discussion", "limitations"),
    Item("41", "Discussion", "implications for practice"),
    Item("42", "Other", "full protocol or technical details", facts.record),
    Item("43", "Other", "availability of software, models and data"),
    Item("44", "Other", "funding and the role of funders"),
)
"""CLAIM, 2024 update: 44 items."""

TRIPOD_AI = (
    Item("1", "Title", "names the target population and the outcome, and that a model is developed or evaluated"),
    Item("2", "Abstract", "items of TRIPOD+AI for abstracts"),
    Item("3a", "Introduction", "healthcare context and rationale"),
    Item("3b", "Introduction", "target population, intended purpose and users"),
    Item("3c", "Introduction", "known health inequalities"),
    Item("4", "Introduction", "objectives", facts.goal),
    Item("5a", "Methods", "sources of the data for development and evaluation", facts.data),
    Item("5b", "Methods", "dates of the data"),
    Item("6a", "Methods", "setting and centres"),
    Item("6b", "Methods", "eligibility of participants", facts.exclusions),
    Item("6c", "Methods", "treatments received"),
    Item("7", "Methods", "preparation of the data and checks of quality", facts.preparation),
    Item("8a", "Methods", "outcome and how it was assessed"),
    Item("8b", "Methods", "qualification of those who assessed the outcome"),
    Item("8c", "Methods", "blinding of the assessment of the outcome"),
    Item("9a", "Methods", "choice of predictors"),
    Item("9b", "Methods", "definition of predictors"),
    Item("9c", "Methods", "qualification of those who assessed predictors"),
    Item("10", "Methods", "sample size and its rationale"),
    Item("11", "Methods", "handling of missing data", facts.missing),
    Item("12a", "Methods", "use and partition of the data", facts.partitions),
    Item("12b", "Methods", "handling of predictors in the analysis"),
    Item("12c", "Methods", "model, its building and internal validation", facts.training),
    Item("12d", "Methods", "differences between clusters such as hospitals"),
    Item("12e", "Methods", "measures of performance and how models were compared", facts.statistics),
    Item("12f", "Methods", "updating of the model"),
    Item("12g", "Methods", "how predictions were calculated for the evaluation", facts.ensembles),
    Item("13", "Methods", "class imbalance", facts.imbalance),
    Item("14", "Methods", "approaches to fairness", facts.fairness),
    Item("15", "Methods", "output of the model and thresholds", facts.output),
    Item("16", "Methods", "differences between the data of development and of evaluation", facts.internal),
    Item("17", "Methods", "ethical approval"),
    Item("18a", "Open science", "funding"),
    Item("18b", "Open science", "conflicts of interest"),
    Item("18c", "Open science", "protocol", facts.record),
    Item("18d", "Open science", "registration"),
    Item("18e", "Open science", "availability of the data"),
    Item("18f", "Open science", "availability of the code", facts.software),
    Item("19", "Patient and public involvement", "involvement, or that there was none"),
    Item("20a", "Results", "flow of participants", facts.flow),
    Item("20b", "Results", "characteristics of participants", facts.characteristics),
    Item("20c", "Results", "development data compared with evaluation data", facts.characteristics),
    Item("21", "Results", "participants and events in each analysis", facts.events),
    Item("22", "Results", "the full model, so that others can use it"),
    Item("23a", "Results", "performance with intervals, also in groups", facts.performance),
    Item("23b", "Results", "differences of performance between clusters"),
    Item("24", "Results", "results of updating the model"),
    Item("25", "Discussion", "interpretation"),
    Item("26", "Discussion", "limitations"),
    Item("27a", "Discussion", "how poor or missing input is handled in use"),
    Item("27b", "Discussion", "interaction and expertise that users need"),
    Item("27c", "Discussion", "next steps of research"),
)
"""TRIPOD+AI: 27 items with their parts."""


def table(items: tuple[Item, ...], *, title: str, study: StudyResults) -> PrintedTable:
    """A check-list, a line per item."""
    exact = pd.DataFrame([_row(item, study) for item in items])
    shown = exact.rename(columns={name: name.capitalize() for name in exact.columns})
    notes = [
        "By: study, filled in from what the study knows, with the files of this report that hold it; author, left to "
        "the author. Read each answer before it is sent: it says what was done here, not what a paper claims."
    ]
    return PrintedTable(title=title, shown=shown, bold=plain(shown), exact=exact, notes=notes, words=tuple(shown))


def _row(item: Item, study: StudyResults) -> dict[str, str]:
    """One line."""
    fact = item.teller(study) if item.teller else None
    return {
        "item": item.number,
        "section": item.section,
        "asked": item.asked,
        "by": STUDY if fact else AUTHOR,
        "answer": fact.says if fact else text.NONE,
        "files": ", ".join(fact.files) if fact else text.NONE,
    }
