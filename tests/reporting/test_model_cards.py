"""Cards and datasheets: each statement changes with the study, what is not known says so, and nobody is named."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from headwater.core.files import write_json
from headwater.core.records import Choice
from headwater.reporting import artefacts, datasheets, model_cards
from headwater.study.folds import Folds
from headwater.study.paths import Paths
from headwater.study.recipe import Recipe, Training
from headwater.study.source import Weights
from headwater.study.wording import Wording, Words
from report_made import SIZES, changed, study

SECRET = "QUILLFEATHER"
STRENGTHS = {"random": 0.3, "random_again": 0.3, "dino": 1.2, "published": 0.8}
MODEL, ENCODER, PUBLISHED = "model.chest.dino.finetune", "encoder.dino", "encoder.published"
COMPARED = {}
SHEET, CORPUS = "datasheet.chest_archive", "datasheet.photographs"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    made = study(folder, strengths=STRENGTHS, controls=("random_again",), resamples=128)
    for run in made.grid.runs("chest"):
        fitted(made, run)
    encoder(made, "dino", origin={"kept": 1234})
    figures = {"spread": 0.5, "rank": 31.25, "uniformity": -2.5, "alignment": 0.125, "lidar": None}
    record = {"source": made.grid.source("dino").digest, "step": 40, "images": 256, "views": 10, "features": figures}
    write_json(record, made.results / "encoders" / "dino" / "features.json")
    origin = {"title": "Weights of somebody", "licence": "MIT", "sha256": "f" * 64, "file": f"{SECRET}.pth"}
    encoder(made, "published", origin=origin, coverage={"share": 0.995})
    return made


def fitted(made, run, **changes):
    """The record of a run, as `finetune` writes it."""
    record = {"digest": run.digest, "kept_step": 40 + run.seed, "steps": 100, "score": 0.81234}
    record |= {"rows": {"train": 400, "validation": 40}, "versions": {"torch": "9.9.9", "timm": "8.8"}}
    record |= {"device": SECRET, "encoder": {"file": f"{SECRET}/encoder"}}
    write_json(record | changes, made.results / "runs" / run.path / "fit.json")


def encoder(made, name, **told):
    """An encoder's file, of which cards read what it says of itself only."""
    source = {"source": made.grid.source(name).as_json()}
    file = made.results / "encoders" / f"{name}.safetensors"
    file.parent.mkdir(exist_ok=True)
    metadata = {key: value if isinstance(value, str) else json.dumps(value) for key, value in (source | told).items()}
    save_file({"x": np.zeros(1)}, file, metadata)


def cards(results):
    """All cards and datasheets, by name."""
    return {**dict(model_cards.every(results)), **dict(datasheets.every(results))}


@pytest.fixture(scope="module")
def before_changes(made):
    return cards(read_in(made))


def read_in(made):
    """The study's results; corrected comparisons take seconds, and no change below has a bearing on them."""
    results = made.read_in()
    if made.results not in COMPARED:
        COMPARED[made.results] = results.comparisons
    results.comparisons = COMPARED[made.results]
    return results


def with_grid(made, **changes):
    results = read_in(made)
    results.grid = made.grid.model_copy(update=changes)
    return results


def comparing(made, **settings):
    return with_grid(made, comparing=changed(made.grid, **settings).comparing)


def archive(made, **changes):
    chest, *others = made.grid.archives
    return with_grid(made, archives=(chest.model_copy(update=changes), *others))


def source(made, name, **changes):
    """Another source, whose encoder is not that of the study."""
    sources = [of.model_copy(update=changes) if of.name == name else of for of in made.grid.sources]
    return with_grid(made, sources=tuple(sources))


def recipe(made, **changes):
    return with_grid(made, recipes=(Recipe(**{"name": "finetune", "training": Training(steps=100)} | changes),))


def put(made, **tables):
    """The results with some of their tables replaced."""
    results = read_in(made)
    for name, change in tables.items():
        setattr(results, name, change(getattr(results, name)))
    return results


def of_archives(change):
    return lambda tables: {name: change(table) for name, table in tables.items()}


def titled(made):
    words = {"datasets": {"chest": Words(title="Our chests")}, "sources": {"dino": Words(title="Our DINO")}}
    return with_grid(made, wording=Wording(**words))


def other_model(made):
    """The models that were tested are others than those whose records lie there."""
    results = read_in(made)
    results.provenance.files = results.provenance.files.assign(model="e" * 64)
    return results


def many_rejects(made):
    def more(table):
        return table.loc[table.index.repeat(6)].reset_index(drop=True)

    return put(made, rejects=of_archives(more))


def unknown(made):
    def some(cases):
        return cases.assign(**{"target:Edema": np.where(cases["row"] < 12, np.nan, 0)})

    return put(made, cases=of_archives(some))


def few_women(made):
    return put(made, cases=of_archives(lambda cases: cases.assign(sex=np.where(cases["row"] < 4, "F", "M"))))


def half(made):
    return put(made, cases=of_archives(lambda cases: cases[cases["row"] % 4 < 2]))


def in_folds(made):
    chest, *others = made.grid.datasets
    return with_grid(made, datasets=(chest.model_copy(update={"splits": Folds(folds=5)}), *others))


TRAIN, HALF = SIZES["train"], SIZES["train"] // 2
CHANGED = {
    "architecture": (MODEL, lambda made: source(made, "dino", backbone="timm/vit"), "timm/resnet50", "timm/vit"),
    "first weights": (
        MODEL,
        lambda made: source(made, "dino", seed=3, method=Choice(name="moco")),
        "dino (proto",
        "moco",
    ),
    "recipe": (MODEL, lambda made: recipe(made, training=Training(epochs=3)), "100 steps", "3 epochs"),
    "selection": (MODEL, lambda made: recipe(made, select="loss"), "the best by auroc", "the best by loss"),
    "titles": (MODEL, titled, "Model card: chest, dino", "Model card: Our chests, Our DINO"),
    "size": (MODEL, lambda made: archive(made, size=96), "224 × 224", "96 × 96"),
    "resize": (MODEL, lambda made: archive(made, resize="squash"), "padded to keep", "without keeping"),
    "people": (MODEL, half, f"images (train {TRAIN}", f"images (train {HALF}"),
    "folds": (MODEL, in_folds, f"train {TRAIN}", "all 600"),
    "interval": (MODEL, lambda made: comparing(made, level=0.1), "[95% CI]", "[90% CI]"),
    "seeds": (MODEL, lambda made: with_grid(made, seeds=(0, 1, 2)), "over 2 seeds", "over 3 seeds"),
    "twin": (MODEL, lambda made: archive(made, twin=None), "synthetic twin of ChestX-ray14", "chest: ChestX-ray14"),
    "kept step": (MODEL, other_model, "40 of 100", "e" * 64),
    "elsewhere": (MODEL, lambda made: comparing(made, external=True), "performance is unknown", "crossed.csv has"),
    "encoder's network": (
        ENCODER,
        lambda made: source(made, "dino", backbone="timm/vit"),
        "1,234",
        "from | not recorded",
    ),
    "encoder's seed": (ENCODER, lambda made: source(made, "dino", seed=7), "seed 0", "seed 7"),
    "encoder's features": (
        ENCODER,
        lambda made: source(made, "dino", seed=7),
        "spread 0.5, RankMe 31.2, LiDAR not recorded, alignment 0.125, uniformity -2.5 (256 training images, 10 views",
        "Features | not recorded",
    ),
    "encoder's length": (
        *(ENCODER, lambda made: source(made, "dino", training=Training(epochs=9))),
        *("100 steps", "9 epochs"),
    ),
    "published": (
        *(PUBLISHED, lambda made: source(made, "published", weights=Weights(layout="dinov2"))),
        *("Weights of somebody", "DINOv2 (arXiv 2304.07193)"),
    ),
    "trained on": (
        *(PUBLISHED, lambda made: source(made, "published", weights=Weights(layout="timm", trained_on=("lits",)))),
        *("Trained on | author", "Trained on | lits"),
    ),
    "rejects": (SHEET, many_rejects, "truncated file <10", "truncated file 12"),
    "least": (SHEET, lambda made: comparing(made, fewest_positive=2), "truncated file <10", "truncated file 2"),
    "alike": (SHEET, lambda made: put(made, ledger=lambda table: table.iloc[1:]), "identical images <10", "file <10 |"),
    "unknown labels": (SHEET, unknown, "no label is unknown", "unknown labels: Edema 12"),
    "women": (SHEET, few_women, "300 of 300 of known sex", "<10 of 600 of known sex"),
    "counts": (SHEET, half, "600 images", "300 images"),
    "projections": (
        SHEET,
        lambda made: archive(made, projections=("PA",)),
        "set | author",
        "set | only projections PA",
    ),
    "seed of splits": (SHEET, lambda made: archive(made, split_seed=5), "seed 0", "seed 5"),
    "dealt": (SHEET, in_folds, "with seed 0", "dealt into 5 folds"),
    "use": (CORPUS, titled, "corpus of dino", "corpus of Our DINO"),
    "terms": (
        SHEET,
        lambda made: archive(made, kind=Choice(name="mimic_cxr")),
        "outside | author",
        "do not allow curves",
    ),
}
"""By what is told: the card, a change of the study, and what the card says before it and after it."""


@pytest.mark.parametrize("name", sorted(CHANGED))
def test_a_statement_changes_with_the_study(made, before_changes, name):
    card, change, before, after = CHANGED[name]
    family = datasheets if card.startswith("datasheet") else model_cards
    first, then = before_changes[card], dict(family.every(change(made)))[card]
    assert before in first and after not in first, first
    assert after in then, then


def test_test_results_are_those_of_the_tables(made):
    results = read_in(made)
    told = cards(results)

    def row(dataset, label):
        rows = results.comparisons
        return rows[(rows["dataset"] == dataset) & (rows["source"] == "dino") & (rows["label"] == label)].iloc[0]

    for label in ("macro", "Effusion"):
        of = row("chest", label)
        value = f"{of['value']:.3f} [{of['value_low']:.3f}, {of['value_high']:.3f}]"
        assert any(label in line and value in line for line in told[MODEL].splitlines())
    of = row("vindr", "macro")
    assert f"{of['value']:.3f} [{of['value_low']:.3f}, {of['value_high']:.3f}]" in told[ENCODER]
    # of the reference, which is compared with nothing, too
    assert f"{row('chest', 'macro')['reference_value']:.3f} [" in told["model.chest.random.finetune"]


def test_each_network_is_told_by_its_seed(made):
    values = read_in(made).run_values
    own = values[(values["source"] == "dino") & (values["dataset"] == "chest") & (values["label"] == "macro")]
    lines = cards(read_in(made))[MODEL].splitlines()
    for seed, value in zip(own["seed"], own["value"], strict=True):
        [line] = [line for line in lines if f"{40 + seed} of 100" in line]
        assert f"{value:.4f}" in line and "0.8123" in line and "400" in line
    assert "torch 9.9.9" in "\n".join(lines)


def test_the_card_of_a_run_with_other_settings_tells_nothing_of_its_fitting(made, tmp_path):
    copy = made.copied(tmp_path)
    run = next(run for run in made.grid.runs("chest") if run.source.name == "dino")
    fitted(copy, run, digest="other")
    assert "40 of 100" not in cards(read_in(copy))[MODEL]


def test_every_declared_card_is_there_and_says_what_is_left_to_the_author(made):
    told = cards(read_in(made))
    declared = artefacts.cards(made.grid)
    assert set(told) == {name for about in declared.values() for name in about}
    assert len(told) == 2 + 2 * 3 + 3 and not [name for name in told if "again" in name]
    for name, text in told.items():
        assert text.count("| author |") >= 5, name


def test_an_encoder_that_only_another_starts_from_has_no_results(made):
    results = source(made, "dino", start="published")
    fitted_to = tuple(of.model_copy(update={"sources": ("random", "dino")}) for of in made.grid.datasets)
    results.grid = results.grid.model_copy(update={"datasets": fitted_to})
    rows = results.comparisons
    results.comparisons = rows[(rows["source"] != "published") & (rows["reference"] != "published")]
    told = dict(model_cards.every(results))
    assert "AUROC" not in told[PUBLISHED] and "AUROC" in told[ENCODER]
    assert "continued from published" in told[ENCODER] and "model.chest.published.finetune" not in told


def test_nobody_and_no_place_is_named(made):
    columns = ("case", "patient", "study", "site", "file")
    results = archive(made, folder=f"/{SECRET}", twin=None)

    def marked(table):
        named = [name for name in columns if name in table]
        return table.assign(**{name: SECRET + table.index.astype(str) for name in named})

    results.cases = of_archives(marked)(results.cases)
    results.rejects = of_archives(lambda table: marked(table).assign(reason=f"{SECRET}.png: truncated"))(
        results.rejects
    )
    results.ledger = results.ledger.assign(example=SECRET, other_example=SECRET)
    sources = [
        of.model_copy(update={"weights": Weights(layout="timm", path=f"/{SECRET}/w.pth")}) if of.weights else of
        for of in results.grid.sources
    ]
    results.grid = results.grid.model_copy(update={"sources": tuple(sources)})
    assert SECRET in results.grid.as_json()
    for name, text in cards(results).items():
        assert SECRET not in text and str(made.results) not in text, name


def test_names_of_cards_are_their_own():
    assert Paths("r").model_card("a_b", "c", "d") != Paths("r").model_card("a", "b_c", "d")
