"""Model cards: what a study knows of each encoder and of each fine-tuned network, for those who get its weights.

The headings follow Mitchell et al. 2019 (arXiv 1810.03993). A card of fine-tuned networks is about all seeds, and
folds, of a dataset, source and recipe, because the report's numbers are.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from headwater import __version__
from headwater.core import files, registry, text
from headwater.core.fingerprints import NOT_RECORDED
from headwater.core.records import plain
from headwater.data import cards
from headwater.data.tables import MACRO, SPLITS, is_mean
from headwater.models.study_card import TESTED
from headwater.reporting import artefacts, card_pages, formatting, prose, study_facts
from headwater.reporting.card_pages import Part
from headwater.reporting.results import StudyResults
from headwater.reporting.trace_tree import loaded_share, metadata_of
from headwater.study import paths
from headwater.study.archive import Archive, Dataset, seen_of
from headwater.study.folds import Folds
from headwater.study.grid import Run
from headwater.study.recipe import Recipe
from headwater.study.source import Source

STATUS = "The result of a comparison of first weights, and no medical device."

FOR_AUTHORS = ("Intended use and users", "Uses out of scope", "Ethical considerations", "Licence", "Contact")


def every(study: StudyResults) -> Iterator[tuple[str, str]]:
    """(name of the file without suffix, text) of each card."""
    named = artefacts.cards(study.grid)
    for source in study.grid.sources:
        if (name := paths.encoder_card(source.name)) in named["Encoders"]:
            yield name, _of_encoder(source, study)
    for dataset in study.grid.datasets:
        for source in study.grid.fitted_to(dataset.name):
            for recipe in study.grid.recipes_of(dataset.name):
                if (name := paths.model_card(dataset.name, source.name, recipe.name)) in named["Models"]:
                    yield name, _of_models(dataset, source, recipe, study)


# encoders


def _of_encoder(source: Source, study: StudyResults) -> str:
    """The card of an encoder."""
    grid, called = study.grid, study.grid.wording.title
    found = metadata_of(Path(study.paths.encoder(source.name)))
    # of an encoder with other settings nothing is told
    found = found if found.get("source") == json.loads(source.as_json()) else {}
    used = study.provenance.files[study.provenance.files["source"] == source.name]
    size = grid.size_of_encoder(source.name)
    details = {
        "Kind": "encoder, without a head",
        "Architecture": source.backbone,
        "Built for images of": " × ".join(map(str, [size] * 2 if isinstance(size, int) else size)),
        "SHA-256 of its file": ", ".join(sorted(set(used["encoder"]))) or NOT_RECORDED,
        "Made by": f"headwater {__version__}",
        "Status": STATUS,
    }
    learned = _published(source, found) if source.weights else _pretrained(source, found, study)
    values = study.test_values[study.test_values["source"] == source.name]
    means = values[values["label"] == MACRO]
    where = {"Dataset": means["dataset"].map(lambda name: called("datasets", name))}
    where["Recipe"] = means["recipe"].map(lambda name: called("recipes", name))
    noise = ("One pre-training: its noise is not in the intervals.",) if source.method else ()
    return card_pages.rendered(
        f"Model card: encoder {called('sources', source.name)}",
        [
            Part(heading="Details", answers=details),
            Part(heading="Training", answers=learned),
            Part(
                heading=TESTED,
                table=_tested(means, where, study),
                sentences=("Macro of the networks that start from it, on the test cases of each dataset.",),
            ),
            Part(heading="Limits", sentences=(*noise, *_limits(study, datasets=set(values["dataset"])))),
            Part(heading="Use", answers=dict.fromkeys(FOR_AUTHORS)),
        ],
    )


def _published(source: Source, found: dict[str, Any]) -> dict[str, str | None]:
    """Where published weights come from."""
    layout, origin = source.weights.layout.name, found.get("origin", {})

    def of_card(name: str, default: Any = "") -> Any:
        return registry.constant("weights", layout, f"CARD.{name}", default=default)

    trained_on = (*of_card("trained_on", ()), *source.weights.trained_on)
    return {
        "How": f"published weights, layout {layout}",
        "Title": origin.get("title") or of_card("title"),
        "Licence of the weights": origin.get("licence") or of_card("licence"),
        "Publisher": of_card("where"),
        "SHA-256 of the published file": origin.get("sha256", NOT_RECORDED),
        "Loaded": loaded_share(found.get("coverage", {})).removeprefix("; ") or NOT_RECORDED,
        "Trained on": ", ".join(trained_on) or None,
    }


def _pretrained(source: Source, found: dict[str, Any], study: StudyResults) -> dict[str, str]:
    """What an encoder learned from here, and how."""
    grid, origin, probe = study.grid, found.get("origin", {}), found.get("probe", {})
    archive = grid.seen_in(source)
    chosen = "the last"
    if source.probe:
        step, of, score = (probe.get(name) for name in ("step", "of", "auroc"))
        by = f"{source.probe.kind} on {titled(grid.archive(source.probe.archive))}"
        chosen = f"{step} of {of}, by {by}, AUROC {score:.4f}" if score is not None else f"by {by}; {NOT_RECORDED}"
    return {
        "How": prose.nameless_way(source, grid),
        "Corpus": f"{titled(archive)}; licence: {cards.card(archive).licence}",
        "Reduction": source.reduction,
        "Images learned from": f"{origin['kept']:,}" if "kept" in origin else NOT_RECORDED,
        "Corpus by split": people(study, source.corpus),
        "Preparation": preparation(archive),
        "Settings": f"{study_facts.optimised(source.training)}; seed {source.seed}",
        "Kept step": chosen,
        "Features": _features(source, study),
    }


FIGURES = {
    "spread": "spread",
    "rank": "RankMe",
    "lidar": "LiDAR",
    "alignment": "alignment",
    "uniformity": "uniformity",
}
"""Figures of features without labels, and what they are called."""


def _features(source: Source, study: StudyResults) -> str:
    """The quality of the features of the kept step."""
    file = paths.figures_of_features(Path(paths.history(study.paths.encoder(source.name))))
    record = files.read_record(file) if file.is_file() else {}
    # of an encoder with other settings nothing is told
    if record.get("source") != source.digest:
        return NOT_RECORDED
    measured = record["features"]
    told = [
        f"{called} {NOT_RECORDED if measured[name] is None else format(measured[name], '.3g')}"
        for name, called in FIGURES.items()
        if name in measured
    ]
    views = f", {record['views']} views each" if record["views"] else ""
    return f"{', '.join(told)} ({record['images']} training images{views})"


# fine-tuned networks


def _of_models(dataset: Dataset, source: Source, recipe: Recipe, study: StudyResults) -> str:
    """The card of the networks of all seeds of a dataset, source and recipe."""
    called, grid = study.grid.wording.title, study.grid
    archive = grid.seen_in(dataset)
    named = (source.name, recipe.name)
    runs = [run for run in grid.runs(dataset.name) if (run.source.name, run.recipe.name) == named]
    fits = {run.path: fit_of(run, study) for run in runs}
    versions = sorted({f"{name} {of}" for fit in fits.values() for name, of in fit.get("versions", {}).items()})
    labels = [name for name in study.label_order[dataset.name] if not is_mean(name)]
    details = {
        "Kind": f"{', '.join(dataset.tasks)}: an answer for each label",
        "Architecture": f"{source.backbone}, with a head for {text.many(len(labels), 'label')}",
        "Labels": ", ".join(called("labels", label) for label in labels),
        "First weights": f"{called('sources', source.name)}: {prose.nameless_way(source, grid)}",
        "Trained with": ", ".join(versions) or NOT_RECORDED,
        "Status": STATUS,
    }
    about = cards.card(archive)
    learned = {
        "Dataset": f"{called('datasets', dataset.name)}: {titled(archive)}, {about.modality}",
        "Licence of the data": about.licence,
        "Citation": about.citation,
        "Patients and images": people(study, dataset.archive),
        "Preparation": preparation(archive),
        "Settings": f"{called('recipes', recipe.name)}: {study_facts.fitting(recipe)}",
        "Kept step": f"the best by {recipe.select} on the validation split; the test split plays no part",
    }
    own = _where(study.test_values, dataset=dataset.name, source=source.name, recipe=recipe.name)
    titles = {"Label": own["label"].map(lambda name: called("labels", name))}
    networks = pd.DataFrame([_network(run, fits[run.path], study) for run in runs])
    mean = f"Values are means over {text.many(len(grid.seeds), 'seed')}; labels without interval are described only."
    return card_pages.rendered(
        f"Model card: {called('datasets', dataset.name)}, {called('sources', source.name)}, "
        f"{called('recipes', recipe.name)}",
        [
            Part(heading="Details", answers=details),
            Part(heading="Training", answers=learned),
            Part(heading="Networks", table=networks.fillna(text.NONE)),
            Part(heading=TESTED, table=_tested(own, titles, study), sentences=(mean,)),
            Part(heading="Limits", sentences=_limits(study, datasets={dataset.name})),
            Part(heading="Use", answers=dict.fromkeys(FOR_AUTHORS)),
        ],
    )


def _network(run: Run, fit: dict[str, Any], study: StudyResults) -> dict[str, str]:
    """The network of one seed, or of one of its folds."""
    fold = {"Fold": str(run.dataset.fold.number)} if run.dataset.fold else {}
    kept = {"Kept step": NOT_RECORDED, f"Validation {run.recipe.select}": NOT_RECORDED}
    if fit:
        kept = {"Kept step": f"{fit['kept_step']} of {fit['steps']}"}
        kept[f"Validation {run.recipe.select}"] = text.NONE if fit["score"] is None else f"{fit['score']:.4f}"
        kept |= {f"Cases, {split}": f"{count:,}" for split, count in fit["rows"].items()}
    return {"Seed": str(run.seed), **fold, **kept, **_of_seed(run, study), "SHA-256": tested_model(run, study)}


def _of_seed(run: Run, study: StudyResults) -> dict[str, str]:
    """The macro of the first metric that a run reaches; folds have no value of their own."""
    metric, names = study.grid.comparing.metrics[0], {"source": run.source.name, "recipe": run.recipe.name}
    own = _where(study.run_values, dataset=run.dataset.name, **names, seed=run.seed, metric=metric, label=MACRO)
    title = formatting.titles(study.grid)[metric]
    return {} if own.empty else {f"Test macro, {title}": text.plain(own["value"].iloc[0], digits=4)}


def fit_of(run: Run, study: StudyResults) -> dict[str, Any]:
    """The record of a run's fitting; empty if it is gone, or is of another model than the one that was tested."""
    file = Path(study.paths.fit(run.path))
    fit = files.read_record(file) if file.is_file() else {}
    same = fit.get("digest") == run.digest and tested_model(run, study) in (fit.get("model"), NOT_RECORDED)
    return fit if same else {}


def tested_model(run: Run, study: StudyResults) -> str:
    """The SHA-256 of the model that a run was tested with."""
    tested = study.provenance.files
    return next(iter(tested.loc[tested["run"] == run.path, "model"]), NOT_RECORDED)


# shared


def _where(rows: pd.DataFrame, **place: Any) -> pd.DataFrame:
    """The rows whose columns have these values."""
    return rows[(rows[list(place)] == pd.Series(place)).all(axis=1)]


def _tested(values: pd.DataFrame, named: dict[str, pd.Series], study: StudyResults) -> pd.DataFrame | None:
    """A line for all that is named, with a column per metric; no table of an encoder from which nothing starts."""
    titles, interval = formatting.titles(study.grid), formatting.covers(study.grid)
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for row, words in zip(values.itertuples(), zip(*named.values(), strict=True), strict=True):
        line = lines.setdefault(words, dict(zip(named, words, strict=True)))
        value = formatting.estimate(row.value, row.low, row.high, digits=formatting.digits(row.metric))
        line[f"{titles[row.metric]} {interval}"] = value
    return pd.DataFrame(list(lines.values())).fillna(text.NONE) if lines else None


def _limits(study: StudyResults, *, datasets: set[str]) -> tuple[str, ...]:
    """What the report warns of on these datasets, and what no study can know."""
    rows = study.comparisons
    elsewhere = "On other patients, devices and hospitals its performance is unknown."
    if study.grid.comparing.external:
        elsewhere = "crossed.csv has its performance on the other datasets of the study; elsewhere it is unknown."
    warnings = prose.warnings(rows[rows["dataset"].isin(datasets)], grid=study.grid)
    return (*warnings, *prose.dropped(study.dropped), elsewhere)


def people(study: StudyResults, archive: str) -> str:
    """The images, and the patients where the archive identifies them, in each split."""
    cases, record, least = study.cases_of(archive), study.grid.archive(archive), study.grid.comparing.fewest_positive
    if cases is None:
        return NOT_RECORDED
    parts = {split: cases[cases["split"] == split] for split in SPLITS}
    if dealt(study, archive):
        # folds take no notice of the archive's splits
        parts = {"all": cases}
    images = card_pages.counted(
        {split: len(part) for split, part in parts.items()}, least=least, noun=f"{prose.thing([record])}s"
    )
    if not cards.card(record).patients:
        return f"{images}; the archive identifies no patients"
    patients = {split: part["patient"].nunique() for split, part in parts.items()}
    return f"{images}; patients: {card_pages.counted(patients, least=least)}"


def dealt(study: StudyResults, archive: str) -> Folds | None:
    """The folds into which the study deals an archive's patients, if it does."""
    return next((of.splits for of in study.grid.datasets if of.archive == archive and of.splits), None)


def preparation(archive: Archive) -> str:
    """How images are prepared, and shown to networks."""
    seen = ", ".join(f"{key} {value}" for key, value in (plain(seen_of(archive)) or {}).items())
    return study_facts.prepared(archive) + (f"; networks see it by {seen}" if seen else "")


def titled(archive: Archive) -> str:
    """An archive by its title."""
    return ("synthetic twin of " if archive.twin else "") + cards.card(archive).title
