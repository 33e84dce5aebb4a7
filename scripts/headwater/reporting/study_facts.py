"""Study facts: what a study knows of itself that reporting check-lists ask for, each with the files that hold it."""

from collections.abc import Callable
from dataclasses import dataclass

from headwater import __version__
from headwater.core.text import many
from headwater.data import cards
from headwater.data.tables import SPLITS, is_mean
from headwater.reporting import artefacts, formatting, prose, verdict
from headwater.reporting.results import StudyResults
from headwater.study.archive import Archive, Dataset, ndim_of
from headwater.study.recipe import Loss, Recipe, Training

PAGE = "index.html"


@dataclass(frozen=True, kw_only=True)
class Fact:
    """What the study says, and the files of the report that hold it."""

    says: str
    files: tuple[str, ...]


Teller = Callable[[StudyResults], Fact]


def _each(study: StudyResults, told: Callable[[Dataset], str]) -> str:
    """A sentence for each dataset."""
    called = study.grid.wording.title
    return " ".join(f"{called('datasets', dataset.name)}: {told(dataset)}." for dataset in study.grid.datasets)


def goal(study: StudyResults) -> Fact:
    """What is compared."""
    called, grid = study.grid.wording.title, study.grid
    references = ", ".join(called("sources", name) for name in grid.comparing.references) or "each other"
    says = f"Sources of first weights are compared, with {references} as reference: {prose.extent(grid)}."
    return Fact(says=says, files=(PAGE, "significance.csv"))


def data(study: StudyResults) -> Fact:
    """Where the data come from."""

    def told(dataset: Dataset) -> str:
        archive = study.grid.seen_in(dataset)
        return f"{prose.about(archive)}; licence: {cards.card(archive).licence}"

    return Fact(says=_each(study, told), files=(PAGE,))


def exclusions(study: StudyResults) -> Fact:
    """What was left out, and why."""

    def told(dataset: Dataset) -> str:
        kept = ", ".join(study.grid.archive(dataset.archive).projections)
        views = f"only projections {kept}; " if kept else ""
        return f"{views}unreadable: {prose.unreadable(study.rejects[dataset.archive])}"

    return Fact(says=" ".join([_each(study, told), *prose.dropped(study.dropped)]), files=(PAGE,))


def preparation(study: StudyResults) -> Fact:
    """How images are prepared."""

    says = _each(study, lambda dataset: prepared(study.grid.seen_in(dataset)))
    return Fact(says=says, files=(PAGE, "provenance.json"))


def prepared(archive: Archive) -> str:
    """How an archive's images are prepared, in words."""
    resized = {"pad": ", padded to keep proportions", "squash": ", resized without keeping proportions"}
    return prose.extent_of(archive) + (resized[archive.resize] if ndim_of(archive) == 2 else "")


def subsets(study: StudyResults) -> Fact:
    """Which labels are used."""
    called = study.grid.wording.title

    def told(dataset: Dataset) -> str:
        labels = dataset.listed or study.counts[dataset.archive]["label"].unique()
        return f"{many(len(labels), 'label')} ({', '.join(called('labels', label) for label in labels)})"

    return Fact(says=_each(study, told), files=("characteristics.csv",))


def missing(study: StudyResults) -> Fact:
    """How unknown labels are handled."""

    def told(dataset: Dataset) -> str:
        counts = study.counts_of(dataset)
        inside = counts[counts["label"].isin(dataset.listed)] if dataset.listed else counts
        return f"{int(inside['unknown'].sum()):,} unknown values"

    says = (
        "A case whose label is unknown is left out for this label only, in training and in testing; nothing is imputed."
    )
    return Fact(says=f"{says} {_each(study, told)}", files=("characteristics.csv", PAGE))


def partitions(study: StudyResults) -> Fact:
    """How cases were assigned to partitions."""

    def told(dataset: Dataset) -> str:
        if dataset.splits:
            return f"{dataset.splits.folds} folds, stratified by label"
        counts = study.cases[dataset.archive]["split"].value_counts()
        return ", ".join(f"{split} {counts.get(split, 0):,}" for split in SPLITS)

    files = ("characteristics.csv", "characteristics.md")
    return Fact(says=f"Cases by partition. {_each(study, told)} Fingerprints: footnotes of the table.", files=files)


def apart(study: StudyResults) -> Fact:
    """At which level partitions are disjoint."""

    def told(dataset: Dataset) -> str:
        card = cards.card(study.grid.archive(dataset.archive))
        return "by patient" if card.patients else "by case, as the archive identifies no patients"

    return Fact(says=f"{_each(study, told)} {prose.apart(study.ledger, grid=study.grid)}", files=(PAGE,))


def networks(study: StudyResults) -> Fact:
    """Which networks are used."""
    backbones = dict.fromkeys(source.backbone for source in study.grid.sources)
    return Fact(says=f"{', '.join(backbones)}, with a head for the labels of each dataset.", files=(PAGE,))


def software(study: StudyResults) -> Fact:
    """Which software was used."""
    says = (
        f"headwater {__version__}, under the Apache-2.0 licence; each run's fit.json has the versions of its packages."
    )
    return Fact(says=says, files=("provenance.json",))


def first_weights(study: StudyResults) -> Fact:
    """Where first weights come from."""
    called, grid = study.grid.wording.title, study.grid
    ways = [f"{called('sources', of.name)}: {prose.way(of, grid)}" for of in grid.sources if not of.control]
    return Fact(says="; ".join(ways) + ".", files=(PAGE, "provenance.json"))


def training(study: StudyResults) -> Fact:
    """How networks are fitted."""
    called = study.grid.wording.title
    says = " ".join(f"{called('recipes', recipe.name)}: {fitting(recipe)}." for recipe in study.grid.recipes)
    return Fact(says=f"The same for every source. {says}", files=("provenance.json",))


def fitting(recipe: Recipe) -> str:
    """A recipe in words."""
    whole = "the whole network" if recipe.kind == "finetune" else "a linear head on fixed features"
    if recipe.trained_blocks:
        whole = f"the head and the last {many(recipe.trained_blocks, 'block')}, all below frozen"
    if recipe.lora:
        where = "attention and MLPs" if recipe.lora.mlp else "attention"
        whole = (
            f"the head and LoRA of the {where} (rank {recipe.lora.rank}, alpha {recipe.lora.alpha:g}), all else frozen"
        )
    share = f", {100 * recipe.fraction:g}% of the training patients" if recipe.fraction < 1 else ""
    weighted = ", positive cases weighted" if recipe.class_weights else ""
    return f"{whole}, {optimised(recipe.training)}{share}{weighted}{lost(recipe.loss)}{softened(recipe)}"


def lost(loss: Loss) -> str:
    """The loss of a recipe in words, if it is not cross-entropy."""
    if loss.kind == "focal":
        return f", focal loss (gamma {loss.gamma:g})"
    gammas = f"gamma {loss.gamma_positive:g} of positives and {loss.gamma_negative:g} of negatives"
    return f", asymmetric loss ({gammas}, clip {loss.clip:g})" if loss.kind == "asymmetric" else ""


def softened(recipe: Recipe) -> str:
    """How a recipe smooths labels and mixes images, in words; nothing where it does not."""
    mixed = {"mixup": recipe.mixup, "CutMix": recipe.cutmix}
    chosen = " or ".join(f"{name} (alpha {alpha:g})" for name, alpha in mixed.items() if alpha)
    either = ", either with the same chance" if all(mixed.values()) else ""
    said = [f"label smoothing {recipe.label_smoothing:g}"] if recipe.label_smoothing else []
    said += [f"pairs of images mixed by {chosen}{either}"] if chosen else []
    return "".join(f", {each}" for each in said)


def optimised(how: Training) -> str:
    """The length and the optimiser of a training, in words."""
    long = many(how.steps, "step") if how.steps else f"{how.epochs:g} epochs"
    decay = f"{how.weight_decay:g}"
    if how.final_weight_decay is not None:
        decay += f" to {how.final_weight_decay:g}"
    layers = "" if how.layer_decay is None else f", layer-wise decay of the learning rate {how.layer_decay:g}"
    layers += f", drop path {how.drop_path:g}" if how.drop_path else ""
    return (
        f"{long}, batch {how.batch}, {how.optimiser}, learning rate {how.lr:g}, weight decay {decay}, "
        f"{how.schedule} schedule{layers}"
    )


def selection(study: StudyResults) -> Fact:
    """How the final network is chosen."""
    called = study.grid.wording.title
    by = "; ".join(f"{called('recipes', recipe.name)}: {recipe.select}" for recipe in study.grid.recipes)
    says = f"The step with the best value on the validation split is kept ({by}); the test split plays no part."
    return Fact(says=says, files=("provenance.json",))


def ensembles(study: StudyResults) -> Fact:
    """Whether networks are put together."""
    seeds = many(len(study.grid.seeds), "seed")
    return Fact(
        says=f"None: each network is tested alone, and values are means over {seeds}.", files=("significance.csv",)
    )


def metrics(study: StudyResults) -> Fact:
    """Which metrics are used."""
    return Fact(says=", ".join(formatting.titles(study.grid).values()) + ".", files=("significance.csv", "columns.md"))


def statistics(study: StudyResults) -> Fact:
    """How differences are tested."""
    comparing = study.grid.comparing
    methods = {
        "obuchowski_rockette": "seeds as readers (Obuchowski and Rockette, Hillis)",
        "delong": "DeLong with patients as clusters",
        "percentile": "percentiles of the bootstrap",
        "published": "seeds as readers (Obuchowski and Rockette, Hillis), beside the published study's method",
    }
    says = (
        f"{methods[comparing.method]}; {comparing.resamples:,} resamples of patients; intervals at "
        f"{100 * (1 - comparing.level):g}%; macro tests corrected by {artefacts.correction(study.grid)}, labels by "
        "Benjamini-Hochberg; families declared in advance."
    )
    return Fact(says=says, files=(PAGE, "significance.csv"))


def sensitivity(study: StudyResults) -> Fact:
    """Which sensitivity analyses were made."""
    controls = [study.grid.wording.title("sources", of.name) for of in study.grid.sources if of.control]
    run = f"controls: {', '.join(controls)}" if controls else "no control was run"
    also = ["p from the bootstrap replicates alone"] if study.grid.with_test_split else []
    return Fact(says="; ".join([*also, run]) + ".", files=("significance.csv",))


def internal(study: StudyResults) -> Fact:
    """On which held-out cases of the same archives networks are tested."""

    def told(dataset: Dataset) -> str:
        cases = study.cases[dataset.archive]
        tested = cases if dataset.splits else cases[cases["split"] == "test"]
        where = "over all folds" if dataset.splits else "of the test split"
        return f"{len(tested):,} cases {where}"

    return Fact(says=_each(study, told), files=("characteristics.csv", "macro.csv"))


def external(study: StudyResults) -> Fact:
    """Whether networks are tested on other datasets than their own."""
    if not study.grid.comparing.external:
        return Fact(says="None: each network is tested on its own dataset only.", files=(PAGE,))
    return Fact(
        says="Each network is tested on the other datasets, for the findings that both have.", files=("crossed.csv",)
    )


def characteristics(study: StudyResults) -> Fact:
    """Who the cases are."""
    return Fact(says="Age, sex, projections and labels by dataset and split.", files=("characteristics.csv",))


def flow(study: StudyResults) -> Fact:
    """How many cases are in each part."""

    def told(dataset: Dataset) -> str:
        cases, rejected = study.cases[dataset.archive], study.rejects[dataset.archive]
        dropped = len(study.dropped[dataset.archive]) if dataset.archive in study.dropped else 0
        return f"{len(cases) + dropped:,} readable cases, {len(rejected):,} unreadable, {dropped:,} dropped"

    figures = tuple(f"{artefacts.file_name('flow', dataset.name)}.svg" for dataset in study.grid.datasets)
    return Fact(says=_each(study, told), files=(*figures, "characteristics.csv"))


def events(study: StudyResults) -> Fact:
    """Patients and events of each analysis."""
    rows = study.comparisons
    single = rows[~rows["label"].map(is_mean)]

    def told(dataset: Dataset) -> str:
        tested = single[single["dataset"] == dataset.name].groupby("label")["tested"].any()
        return f"{many(int(tested.sum()), 'label')} tested of {len(tested)}"

    return Fact(says=f"Patients, cases and positives of each row. {_each(study, told)}", files=("significance.csv",))


def performance(study: StudyResults) -> Fact:
    """What was found."""
    return Fact(says=verdict.verdict(study.comparisons, grid=study.grid), files=("significance.csv", "macro.csv"))


def by_label(study: StudyResults) -> Fact:
    """Performance label by label."""
    files = tuple(f"{artefacts.file_name('labelwise', dataset.name)}.csv" for dataset in study.grid.datasets)
    points = ("thresholds.csv",) if study.grid.with_test_split else ()
    at = "; rates at thresholds chosen on validation" if points else ""
    return Fact(says=f"Each label, with its interval if it is tested{at}.", files=(*files, *points))


def fairness(study: StudyResults) -> Fact | None:
    """Performance in groups of patients, where networks were examined."""
    if not study.grid.with_test_split:
        return None
    groups = study.subgroups
    many_groups = len(groups.loc[groups["value"].notna(), ["dataset", "characteristic", "group"]].drop_duplicates())
    says = f"The first metric by sex, age, projection and site: {many(many_groups, 'group')} measured, none tested."
    return Fact(says=says, files=("subgroups.csv",))


def imbalance(study: StudyResults) -> Fact:
    """How rare findings are handled."""
    called = study.grid.wording.title
    weighted = [called("recipes", recipe.name) for recipe in study.grid.recipes if recipe.class_weights]
    how = f"Positive cases are weighted in {', '.join(weighted)}" if weighted else "Cases are not weighted"
    least = study.grid.comparing.fewest_positive
    return Fact(
        says=f"{how}. Labels with fewer than {least} positive or negative test patients are described, not tested.",
        files=("provenance.json", "significance.csv"),
    )


def output(study: StudyResults) -> Fact | None:
    """What networks answer, where networks were examined."""
    if not study.grid.with_test_split:
        return None
    specificity = study.grid.comparing.specificity
    says = f"A score for each label; thresholds at a specificity of {specificity:g} on the validation split."
    return Fact(says=says, files=("thresholds.csv",))


def record(study: StudyResults) -> Fact:
    """Where the settings are."""
    says = f"The config, whole, has the digest {study.grid.digest}; each number names its files of predictions."
    return Fact(says=says, files=("provenance.json", "provenance.csv"))
