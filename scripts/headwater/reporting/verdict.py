"""The verdict in sentences: significant differences, outcomes of the controls, and excluded labels."""

import pandas as pd

from headwater.core import registry, text
from headwater.core.text import many
from headwater.data.tables import CHANCE, is_mean
from headwater.evaluation.multiplicity import CONFIRMATORY, CONTROL
from headwater.reporting import artefacts, formatting, prose
from headwater.study import target
from headwater.study.archive import Dataset
from headwater.study.comparison import FEW_POSITIVE
from headwater.study.grid import Grid


def verdict(rows: pd.DataFrame, *, grid: Grid) -> str:
    """The number of declared macro tests that are significant."""
    family = rows[rows["family"] == CONFIRMATORY]
    if family.empty:
        tested = prose.designs(grid, test_split="test split", folds="folds")
        return f"No macro difference could be tested: no dataset has a label with enough patients in its {tested}."
    significant = int(family["significant"].sum())
    level = f"{100 * grid.comparing.level:g}%"
    tests, verb = many(len(family), "declared macro difference"), "is" if significant == 1 else "are"
    claim = f"{significant} of {tests} {verb} significant"
    doubt = "" if significant else " That is no evidence that the sources are equal."
    return f"{claim} at {level} after {artefacts.correction(grid)}'s correction.{doubt}"


def claims(rows: pd.DataFrame, *, grid: Grid) -> list[str]:
    """One sentence for each macro test that shows a difference, equivalence or non-inferiority."""
    lines, called = [], grid.wording.title
    for row in rows[rows["family"] == CONFIRMATORY].itertuples():
        metric = registry.load("metrics", row.metric)
        better = "better" if (row.difference > 0) == (metric.BETTER == "higher") else "worse"
        recipe = f", {called('recipes', row.recipe)}" if len(grid.recipes) > 1 else ""
        reference = called("sources", row.reference)
        numbers = formatting.with_error(*formatting.difference_of(row), sign="+", digits=formatting.digits(row.metric))
        for claimed, claim, p in (
            (row.significant, f"{better} than {reference}", formatting.adjusted(row)),
            (row.equivalent, _equivalent(reference, grid), text.p_value(row.p_equivalent_adjusted)),
            (
                row.noninferior and not row.significant and not row.equivalent,
                f"not worse than {reference} by more than {grid.comparing.margin or 0:g}",
                text.p_value(row.p_noninferior_adjusted),
            ),
        ):
            # non-inferiority is left out where a stronger claim holds
            if claimed:
                lines.append(
                    f"{formatting.dataset_of(row, grid)}{recipe}: {called('sources', row.source)} is {claim}, "
                    f"{formatting.title(row.metric, grid)} {numbers}, adjusted p {p}"
                )
    return lines


def _equivalent(reference: str, grid: Grid) -> str:
    return f"equivalent to {reference} within {grid.comparing.margin:g}" if grid.comparing.margin else ""


def controls(rows: pd.DataFrame, *, grid: Grid) -> list[str]:
    """One sentence on each control test, or one that there is none."""
    tested = rows[rows["family"] == CONTROL]
    if tested.empty:
        if any(source.control for source in grid.sources):
            return ["The controls could not be judged: no label has enough patients to be tested."]
        return ["No control was run, so nothing here checks the comparison itself."]
    sentences, called = [], grid.wording.title
    for row in tested.itertuples():
        where = formatting.place_of(row, grid)
        against = "guessing" if row.reference == CHANCE else called("sources", row.reference)
        verdict = "FAILED" if row.significant else "passed"
        ends = (row.difference_low, row.difference_high)
        difference = formatting.estimate(row.difference, *ends, sign="+", digits=formatting.digits(row.metric))
        numbers = f"{difference}, adjusted p {formatting.adjusted(row)}"
        about = target.measured_on(row.metric) or target.classes(grid.dataset(row.dataset).task)
        few = min(getattr(row, f"{kind}_patients") for kind in about)
        weak = (
            f"; with {many(few, 'patient')} in the smaller class this shows little"
            if few < FEW_POSITIVE and not row.significant
            else ""
        )
        sentences.append(
            f"Control {called('sources', row.source)} against {against}, {where}: {verdict} ({numbers}){weak}"
        )
    return sentences


def left_out(rows: pd.DataFrame, *, dataset: Dataset, counts: pd.DataFrame, grid: Grid) -> list[str]:
    """One sentence for each label that is not tested; then for each that validation could not use to select a step."""
    here = rows[(rows["dataset"] == dataset.name) & ~rows["label"].map(is_mean)].drop_duplicates(["label", "metric"])
    here = here.assign(note=here["note"].str.split("; ").str[0])
    named = set(here["label"])
    # metrics that are about other cases may leave out other labels
    several = here.groupby("label")["note"].transform("nunique") > 1
    here = here[several | ~here.duplicated("label")]
    called = grid.wording.title
    titles = {metric: f", {formatting.title(metric, grid)}" for metric in here["metric"].unique()}
    sentences = [
        f"{called('labels', row.label)}{titles[row.metric] if several[row.Index] else ''}: {row.note}; not in the macro"
        for row in here.itertuples()
        if row.note.startswith(("left out", "described only"))
    ]
    for row in counts[counts["split"] == "validation"].itertuples():
        lacking = [kind for kind in target.classes(dataset.task_of(row.label)) if getattr(row, f"{kind}s") == 0]
        if row.label in named and lacking:
            why = f"no {lacking[0]} case in validation"
            sentences.append(
                f"{grid.wording.title('labels', row.label)}: {why}; not in the macro by which the best step is chosen"
            )
    return sentences
