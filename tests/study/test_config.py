"""A config is checked as a whole: one line reports all mistakes, each with its remedy."""

import copy
import errno
import itertools
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.records import Choice
from headwater.study import config as study_config
from headwater.study import config_text, job_graph
from headwater.study.json_schema import schema
from headwater.study.recipe import Training

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "config").rglob("*.yaml"))

GOOD = yaml.safe_load("""
seeds: [0, 1]
archives:
  chestxray14: {folder: chest}
  readers: {kind: {name: vindr, readers: any}, folder: vindr}
reductions:
  tenth: {name: every_n, n: 10}
sources:
  random:
  ours:
    method: supervised
    corpus: readers
    reduction: tenth
    training: {steps: 10, batch: 8, lr: 1e-4}
  theirs:
    weights: {layout: timm}
datasets:
  chestxray14:
recipes:
  finetune: {training: {epochs: 2, batch: 8}}
comparison: {reference: random}
""")


def changed(*changes: tuple[str, Any]) -> dict:
    """The good config with values put at dotted places."""
    content = copy.deepcopy(GOOD)
    for place, value in changes:
        here = content
        *above, last = place.split(".")
        for part in above:
            if here.get(part) is None:
                here[part] = {}
            here = here[part]
        here[last] = value
    return content


def told(*changes: tuple[str, Any]) -> str:
    """What the refusal of the changed config says."""
    with pytest.raises(UserError) as refusal:
        study_config.load(changed(*changes), file="mine.yaml")
    line = str(refusal.value)
    assert line.startswith("mine.yaml: ")
    assert "\n" not in line
    return line.removeprefix("mine.yaml: ")


def test_a_good_config_lays_out_its_grid():
    grid = study_config.load(GOOD).grid()
    runs = [run.path for run in grid.runs("chestxray14")]
    assert len(runs) == len(set(runs)) == 3 * 1 * 2
    assert runs[0] == "chestxray14/random/finetune/seed0"
    assert grid.source("theirs").kind == "adopted"
    assert grid.source("ours").kind == "pretrained"
    assert grid.comparison("chestxray14").pairs == [("ours", "random"), ("theirs", "random")]
    assert grid.reductions["everything"] == Choice(name="everything")


def test_names_and_defaults_are_filled_in():
    config = study_config.load(changed(("backbone", "timm/resnet18"), ("sources.theirs.backbone", "timm/resnet50")))
    assert config.archives["chestxray14"].kind == Choice(name="chestxray14")
    assert config.archives["readers"].kind == Choice(name="vindr", options={"readers": "any"})
    assert config.datasets["chestxray14"].archive == "chestxray14"
    assert config.sources["random"].backbone == "timm/resnet18"
    assert config.sources["theirs"].backbone == "timm/resnet50"


def test_loading_changes_nothing_in_what_is_loaded():
    content = copy.deepcopy(GOOD)
    study_config.load(content)
    assert content == GOOD


def test_a_number_that_yaml_takes_for_text_is_a_number():
    assert GOOD["sources"]["ours"]["training"]["lr"] == "1e-4"
    assert study_config.load(GOOD).sources["ours"].training.lr == 1e-4


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (True, "must be a number, not a word (got true)"),
        ("8", "must be a number, not text (got '8'); write it without quotes"),
        ("08", "must be a number, not text (got '08'); write it without quotes or zeros before it"),
        ("1e3", "is a power of ten, which YAML takes for text; write it out (got 1e3)"),
        (10**23 - 1, "must be at most 2^63 - 1 (got 1e+23)"),
        (10**400, "must be finite"),
        (math.inf, "must be finite"),
    ],
)
@pytest.mark.parametrize("place", ["sources.ours.training.batch", "comparison.seed", "seeds", "archives.readers.size"])
def test_what_is_no_whole_number_is_not_converted_to_one(place: str, value: Any, said: str):
    assert said in told((place, [value] if place == "seeds" else value))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (True, "must be a number, not a word (got true)"),
        ("0.1", "must be a number, not text (got '0.1'); write it without quotes"),
        (math.inf, "finite number"),
        (math.nan, "finite number"),
        ("inf", "must be a number, not text"),
        ("1e999", "finite number"),
        (10**400, "must be finite"),
    ],
)
@pytest.mark.parametrize(
    "place", ["sources.ours.training.lr", "comparison.margin", "recipes.finetune.training.save_minutes", "random.mean"]
)
def test_what_is_no_number_is_not_converted_to_one(place: str, value: Any, said: str):
    change = ("sources.random.mean", [value] * 3) if place == "random.mean" else (place, value)
    assert said in told(change)


@pytest.mark.parametrize("plugin", ["methods/byol", "reductions/ssim", "reductions/hash"])
def test_options_of_plugins_are_as_strict(plugin: str):
    family, name = plugin.split("/")
    fields = registry.options(family, name).model_fields
    numbers = [key for key, field in fields.items() if field.annotation in (int, float)]
    assert numbers
    for key, value in itertools.product(numbers, (True, "1", math.inf)):
        with pytest.raises(UserError, match=rf"{name}\.{key}: .*(must be|should be)"):
            registry.chosen(family, Choice(name=name, options={key: value}))


def test_sides_of_images_have_a_limit():
    assert "archives.readers.size.int: Input should be less than or equal to 8192" in told(
        ("archives.readers.size", 10_000)
    )


def test_all_mistakes_are_told_at_once():
    line = told(
        ("sedes", [1]),
        ("sources.ours.training.lrr", 1),
        ("sources.theirs.weights.coverage", 2),
        ("recipes.finetune.training.optimiser", "adma"),
        ("compute.ranks", "two"),
    )
    assert line.startswith("5 mistakes: ")
    assert "sedes: unknown key; did you mean 'seeds'?" in line
    assert "sources.ours.training.lrr: unknown key; did you mean 'lr'?" in line
    assert "sources.theirs.weights.coverage: Input should be less than or equal to 1 (got 2)" in line
    assert "recipes.finetune.training.optimiser: Input should be 'adamw', 'adam'" in line
    assert "compute.ranks: Input should be a valid integer" in line


def test_all_mistakes_between_the_parts_are_told_at_once():
    line = told(
        ("archives.readers.kind", "vindor"),
        ("datasets.other.archive", "chestxray"),
        ("sources.ours.method", "supervise"),
        ("sources.ours.corpus", "reader"),
        ("sources.ours.reduction", "tenht"),
        ("comparison.metrics", ["auroc", "auorc"]),
        ("comparison.reference", "rnadom"),
    )
    assert line.startswith("7 mistakes: ")
    for meant in ("vindr", "chestxray14", "supervised", "readers", "tenth", "auroc", "random"):
        assert f"did you mean {meant!r}?" in line


@pytest.mark.parametrize(
    ("like", "said"),
    [
        ("tenht", "reductions.control.like: there is no 'tenht'; did you mean 'tenth'?"),
        ("control", "reductions.control.like: control itself takes its size from another reduction; name"),
    ],
)
def test_a_reduction_is_like_one_that_measures(like: str, said: str):
    assert said in told(("reductions.control", {"name": "random", "like": like}))


def test_a_reduction_that_another_is_like_is_made_before_it():
    control = ("reductions.control", {"name": "random", "like": "tenth"})
    plan = study_config.load(changed(control, ("sources.ours.reduction", "control")))
    assert plan.grid().corpora == [("readers", "tenth"), ("readers", "control")]
    made = [job for job in job_graph.jobs(plan) if job.rule == "reduce"]
    assert [job.wildcards for job in made] == [("readers", "tenth"), ("readers", "control")]
    assert made[0].product in made[1].needs
    assert study_config.load(GOOD).grid().corpora == [("readers", "tenth")]


@pytest.mark.parametrize(
    ("place", "meant"),
    [
        ("archive", "archives"),
        ("archives.readers.folderr", "folder"),
        ("archives.readers.twin.casses", "cases"),
        ("sources.ours.corpsu", "corpus"),
        ("sources.theirs.weights.covrage", "coverage"),
        ("sources.ours.training.batchsize", "batch"),
        ("sources.ours.views.flipp", "flip"),
        ("datasets.chestxray14.label", "labels"),
        ("recipes.finetune.clas_weights", "class_weights"),
        ("recipes.finetune.training.warmup", "warmup_steps"),
        ("comparison.resample", "resamples"),
        ("tracking.wadnb", "wandb"),
        ("compute.rank", "ranks"),
    ],
)
def test_an_unknown_key_is_told_at_each_level(place: str, meant: str):
    assert f"{place}: unknown key; did you mean {meant!r}?" in told((place, 1))


def test_an_entry_may_bear_the_name_of_a_key():
    changes = ("sources.training", {"method": "supervised", "corpsu": "readers"})
    assert "sources.training.corpsu: unknown key; did you mean 'corpus'?" in told(changes)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("sources.ours.method", {"name": "supervised", "clas_weights": 1}, "supervised.clas_weights: unknown key; did"),
        ("sources.ours.method", {"name": "supervised", "class_weights": "often"}, "(got 'often')"),
        ("reductions.tenth", "every_n", "reductions.tenth: every_n.n: missing"),
        ("archives.readers.kind", {"name": "vindr", "readers": "none"}, "'R16' or 'R17' (got 'none')"),
        ("sources.theirs.weights.layout", {"name": "timm", "prefx": "model."}, "did you mean 'prefix'?"),
        ("sources.theirs.weights.layout", "tim", "weights: there is no 'tim'; did you mean 'timm'?"),
        ("sources.random.backbone", "resnet50", "backbone: must be library/model, such as"),
        ("sources.random.backbone", "tim/resnet50", "there is no library 'tim'; did you mean 'timm'?"),
        (
            "archives.photographs",
            {"kind": "natural_photographs", "twin": {"cases": 9}},
            "natural_photographs has no twin",
        ),
        ("datasets.chestxray14", {"task": "classificaton"}, "no 'classificaton'; did you mean 'classification'?"),
        (
            "tracking.also",
            ["mlflow"],
            "tracking.also: mlflow has a key of its own; set tracking.mlflow: offline instead",
        ),
        ("tracking.clearml", "online", "clearml"),
        ("tracking.also", ["tensorbord"], "tracking.also: there is no 'tensorbord'; did you mean 'tensorboard'?"),
        ("recipes.finetune.select", "aurco", "the task classification has no score 'aurco'; did you mean 'auroc'?"),
    ],
)
def test_unknown_plugins_and_options_are_told(place: str, value: object, said: str):
    assert said in told((place, value))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([("archives", {})], "archives: Dictionary should have at least 1 item"),
        ([("seeds", [])], "seeds: Tuple should have at least 1 item"),
        ([("seeds", [0, 0])], "seeds: must be distinct whole numbers >= 0 (got [0, 0])"),
        ([("seeds", [-1])], "seeds: must be distinct whole numbers >= 0 (got [-1])"),
        ([("seeds", [1.5])], "seeds.0: Input should be a valid integer"),
        ([("sources", ["random"])], "sources: Input should be a valid dictionary"),
        ([("sources.ours", "random")], "sources.ours: Input should be"),
        ([("recipes.finetune", None)], "recipes.finetune.training: missing"),
        ([("recipes.finetune.training.steps", 9)], "set either steps or epochs, not both"),
        ([("sources.ours.training.warmup_steps", 10)], "warmup_steps (10) must be smaller than steps (10)"),
        ([("sources.ours.weights", {"layout": "timm"})], "weights and method exclude each other"),
        ([("sources.ours.corpus", None)], "method, corpus and training belong together"),
        ([("sources.theirs.start", "random")], "start needs a method"),
        ([("datasets.chestxray14.labels", ["Nodule", "Mass", "Nodule"])], "a label is listed twice; remove one"),
        (
            [("comparison.subsets", {"mine": {"chestxray14": ["Nodule", "Nodule"]}})],
            "comparison.subsets.mine.chestxray14: a label is listed twice; remove one",
        ),
        ([("comparison.metrics", ["auroc", "auroc"])], "comparison.metrics: a metric is listed twice"),
        ([("comparison.metrics", [])], "comparison.metrics: Tuple should have at least 1 item"),
        ([("recipes.finetune.name", "probe")], "recipes.finetune.name: the key is the name; remove `name: probe`"),
        ([("sources.a/b", {})], "sources.a/b: use letters, digits, _ and - in names"),
        ([("recipes", {"": {"training": {"steps": 1}}})], "recipes.: use letters"),
        ([("sources", {"random\n": {}, "x": {}}), ("comparison", {})], "use letters, digits, _ and - in names"),
        (
            [("datasets", {False: {"archive": "readers"}})],
            "datasets: a name must be text (got False); put it in quotes",
        ),
        ([("sources.random", {"reduction": "tenth"})], "sources.random: reduction needs a corpus"),
    ],
)
def test_what_makes_no_sense_is_told(changes: list[tuple[str, object]], said: str):
    assert said in told(*changes)


OURS = GOOD["sources"]["ours"]


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ({"a": {**OURS, "start": "a"}, "b": {}}, ["sources.a.start: a -> a is a cycle; remove one start"]),
        (
            {"a": {**OURS, "start": "b"}, "b": {**OURS, "start": "c"}, "c": {**OURS, "start": "a"}},
            ["sources.a.start: a -> b -> c -> a is a cycle", "sources.b.start: b -> c -> a -> b is a cycle"],
        ),
        ({"a": {**OURS, "start": "b"}, "b": {}}, ["sources.a.start: b is a random start and has no weights"]),
        ({"a": {**OURS, "start": "bb"}, "b": {}}, ["sources.a.start: there is no 'bb'; did you mean 'b'?"]),
        (
            {"a": {**OURS, "start": "b"}, "b": {**OURS, "backbone": "timm/resnet18"}},
            ["sources.a.start: b is a timm/resnet18, not a timm/resnet50; use one backbone for both"],
        ),
    ],
)
def test_a_start_must_lead_somewhere(sources: dict, said: list[str]):
    line = told(("sources", sources), ("comparison", {}))
    for part in said:
        assert part in line


def test_a_chain_of_starts_is_fine():
    sources = {"a": {**OURS, "start": "b"}, "b": {**OURS, "start": "c"}, "c": {"weights": {"layout": "timm"}}}
    assert study_config.load(changed(("sources", sources), ("comparison", {}))).sources["a"].start == "b"


@pytest.mark.parametrize(
    ("probe", "said"),
    [
        ({"archive": "reader"}, "sources.ours.probe.archive: there is no 'reader'; did you mean 'readers'?"),
        (
            {"archive": "chestxray14"},
            "sources.ours.probe.archive: chestxray14 is also tested on (datasets.chestxray14), and would leak into the"
            " choice of the encoder; name another archive",
        ),
        ({"archive": "again"}, "sources.ours.probe.archive: again is also tested on (datasets.chestxray14)"),
        ({"archive": "large"}, "its images have 512 pixels, those of the corpus 224; set one size for both"),
        ({"archive": "readers", "k": 5}, "sources.ours.probe.k: unknown key"),
    ],
)
def test_a_probe_looks_at_an_archive_that_is_no_test(probe: dict, said: str):
    archives = {
        **GOOD["archives"],
        "large": {"kind": "padchest", "folder": "padchest", "size": 512},
        "again": {"images_of": "chestxray14", "kind": "chestxray14"},
    }
    line = told(("archives", archives), ("sources.ours.probe", probe))
    assert said in line and not line.startswith("2 mistakes")
    further = told(("archives", archives), ("sources.ours.further_probes", [probe]))
    assert said.replace("ours.probe", "ours.further_probes.0") in further


def test_a_probe_needs_a_method():
    assert "probe needs a method" in told(("sources.theirs.probe", {"archive": "readers"}))


def test_what_a_probe_looks_at_is_prepared_and_stands_in_the_ledger():
    archives = {**GOOD["archives"], "spanish": {"kind": "padchest", "folder": "padchest"}}
    plan = study_config.load(changed(("archives", archives), ("sources.ours.probe", {"archive": "spanish"})))
    assert plan.grid().overlaps.parts == [
        *("chestxray14 train", "chestxray14 validation", "chestxray14 test"),
        *("readers train", "spanish train", "spanish validation"),
    ]
    estimated = {job.product: job for job in job_graph.jobs(plan)}
    cases = "results/archives/spanish/cases.parquet"
    assert estimated[cases].rule == "prepare"
    assert cases in estimated["results/encoders/ours.safetensors"].needs
    # those that choose nothing, too
    watched = changed(("archives", archives), ("sources.ours.further_probes", [{"archive": "spanish"}]))
    assert study_config.load(watched).grid().overlaps.parts == plan.grid().overlaps.parts
    scans = {**GOOD["archives"], "scans": {"kind": "ct_ich", "folder": "scans", "window": "bone"}}
    shown = changed(("archives", scans), ("sources.ours.further_probes", [{"archive": "scans"}]))
    assert study_config.load(shown).grid().source("ours").further_probes[0].seen is not None
    own = study_config.load(changed(("sources.ours.probe", {"archive": "readers"})))
    assert own.grid().overlaps.parts[-2:] == ["readers train", "readers validation"]


def test_batches_must_be_shared_evenly():
    line = told(("compute.ranks", 3))
    assert "recipes.finetune.training.batch: must be a multiple of compute.ranks (3, got 8)" in line
    assert "sources.ours.training.batch: must be a multiple of compute.ranks (3, got 8)" in line
    study_config.load(changed(("compute.ranks", 4)))


@pytest.mark.parametrize("method", ["barlow_twins", "byol", "moco", "moco_v3", "simclr", "swav", "vicreg"])
def test_methods_that_compare_images_need_two(method):
    line = told(("sources.ours.method", method), ("sources.ours.training.batch", 1))
    assert f"sources.ours.training.batch: must be >= 2 for {method}, which compares images of a batch (got 1)" in line
    study_config.load(changed(("sources.ours.method", method), ("sources.ours.training.batch", 2)))
    study_config.load(changed(("sources.ours.method", "dino"), ("sources.ours.training.batch", 1)))


@pytest.mark.parametrize("optimiser", ["lars", "lamb"])
def test_an_optimiser_that_adapts_what_decays_needs_decay(optimiser):
    place = "recipes.finetune.training"
    line = told((f"{place}.optimiser", optimiser), (f"{place}.weight_decay", 0))
    assert f"{optimiser} adapts the rate of parameters with weight decay only; set weight_decay: 1.0e-6" in line
    study_config.load(changed((f"{place}.optimiser", "sgd"), (f"{place}.weight_decay", 0)))


@pytest.mark.parametrize("place", ["sources.ours", "recipes.finetune"])
@pytest.mark.parametrize(
    ("optimiser", "decay"), [(None, 0.05), ("adamw", 0.05), ("lamb", 0.05), ("adam", 0), ("sgd", 0), ("lars", 1e-6)]
)
def test_weight_decay_that_is_not_stated_is_that_of_the_optimiser(place: str, optimiser: str | None, decay: float):
    def training(**changes):
        plan = study_config.load(changed((f"{place}.training", {"steps": 9, "batch": 8, **changes})))
        section, name = place.split(".")
        return getattr(plan, section)[name].training

    asked = {"optimiser": optimiser} if optimiser else {}
    assert training(**asked).weight_decay == decay
    # what is stated is what the record says, under the digest that it always had
    for stated in (1e-3, 0.05, 0.3):
        read = training(**asked, weight_decay=stated)
        assert read == Training(steps=9, batch=8, weight_decay=stated, **asked)
        assert Training.from_json(read.as_json()) == read


def test_digests_of_trainings_that_state_their_weight_decay_stay():
    assert Training(steps=9, optimiser="sgd", weight_decay=0.05).as_json() == '{"optimiser":"sgd","steps":9}'
    assert Training(steps=9, optimiser="sgd", weight_decay=0).as_json() == (
        '{"optimiser":"sgd","steps":9,"weight_decay":0.0}'
    )


def test_ranks_must_be_shared_evenly_by_nodes():
    assert "compute.ranks: must be a multiple of nodes (got 4 ranks on 3 nodes)" in told(
        ("compute", {"ranks": 4, "nodes": 3})
    )
    said = told(("recipes.finetune.compute", {"ranks": 2, "nodes": 4}))
    assert "recipes.finetune.compute.ranks: must be a multiple of nodes (got 2 ranks on 4 nodes)" in said
    study_config.load(changed(("compute", {"ranks": 4, "nodes": 2})))


def test_a_training_may_have_processes_of_its_own():
    plan = study_config.load(
        changed(("compute", {"ranks": 2, "threads": 3}), ("recipes.finetune.compute", {"ranks": 4}))
    )
    finetune = plan.compute.of(plan.recipes["finetune"].compute)
    assert (finetune.ranks, finetune.nodes, finetune.threads) == (4, 1, 3)
    assert plan.compute.of(plan.sources["ours"].compute).ranks == 2
    # the batch is held against its own ranks
    assert "recipes.finetune.training.batch: must be a multiple of recipes.finetune.compute.ranks (3, got 8)" in told(
        ("recipes.finetune.compute", {"ranks": 3})
    )


def test_processes_repeat_no_job():
    plain, own = study_config.load(changed()), study_config.load(changed(("recipes.finetune.compute", {"ranks": 4})))
    assert plain.recipes["finetune"].digest == own.recipes["finetune"].digest
    assert plain.grid().as_json() == own.grid().as_json()


def test_what_is_not_trained_has_no_processes():
    line = told(("sources.random.compute", {"ranks": 2}))
    assert "sources.random.compute: this source is not trained; remove it" in line


@pytest.mark.parametrize(
    ("comparison", "fewest"),
    [
        # 3 pairs by 2 metrics, 6 pairs, 3 pairs: 2 / (resamples + 1) times the tests must reach the level
        ({"reference": "random", "metrics": ["auroc", "average_precision"]}, 239),
        ({"reference": None}, 239),
        ({"reference": "random", "level": 0.01}, 599),
        # what is counted from replicates has a floor under max_t, too
        ({"reference": None, "correction": "max_t"}, 239),
        # however many tests: 1 / (resamples + 1) must be below the level
        ({"method": "delong", "correction": "max_t", "level": 0.002}, 500),
    ],
)
def test_resamples_must_be_enough_for_the_correction(comparison: dict, fewest: int):
    comparison = {"method": "percentile", **comparison}
    # controls do not count
    grown = [("sources.fourth", {}), ("controls.again", ["random", "fourth"]), ("seeds", [0])]
    line = told(*grown, ("comparison", {**comparison, "resamples": fewest - 1}))
    assert f"comparison.resamples: must be >= {fewest} (got {fewest - 1}); with fewer, " in line
    assert line.endswith("can never reject")
    study_config.load(changed(*grown, ("comparison", {**comparison, "resamples": fewest})))


@pytest.mark.parametrize("method", ["obuchowski_rockette", "published"])
def test_resamples_must_be_enough_for_a_standard_error(method: str):
    line = told(("comparison", {"method": method, "resamples": 999}))
    assert "must be >= 1000 (got 999); with fewer, a standard error is too rough" in line
    study_config.load(changed(("comparison", {"method": method, "resamples": 1000})))
    # a lower level asks for more where the replicates are counted, and not where they give an error
    low = {"method": method, "level": 0.0001, "resamples": 1000}
    study_config.load(changed(("comparison", low)))
    line = told(("comparison", {**low, "correction": "max_t"}))
    assert "must be >= 10000 (got 1000); with fewer, max_t can never reject" in line


def test_delong_needs_no_more_resamples_than_any():
    study_config.load(changed(("seeds", [0]), ("comparison", {"method": "delong", "resamples": 100})))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([("comparison.method", "delong")], "delong needs exactly one seed (got 2); use obuchowski_rockette"),
        (
            [("seeds", [0]), ("comparison", {"method": "delong", "metrics": ["auroc", "average_precision"]})],
            "delong tests auroc only (got auroc, average_precision); use percentile",
        ),
        (
            [("comparison", {"few_positive": 9})],
            "comparison.few_positive: unknown key; did you mean 'fewest_positive'?",
        ),
        ([("comparison.method", "bootstrap")], "comparison.method: Input should be 'obuchowski_rockette', 'delong'"),
        ([("comparison.margin", 0)], "comparison.margin: Input should be greater than 0"),
    ],
)
def test_a_method_must_fit_the_plan(changes: list[tuple[str, object]], said: str):
    assert said in told(*changes)


def test_a_second_reading_takes_everything_but_its_labels_from_the_first():
    second = {"images_of": "readers", "kind": {"name": "vindr"}}
    # whichever of the two stands first in the file
    archives = {"majority": second, **copy.deepcopy(GOOD["archives"])}
    config = study_config.load({**GOOD, "archives": archives})
    assert config.archives["majority"].folder == "vindr"
    assert config.archives["majority"].kind == Choice(name="vindr")
    assert config.grid().images_of("majority") == config.grid().images_of("readers") == "readers"
    alike = study_config.load({**GOOD, "archives": {**GOOD["archives"], "again": {"images_of": "readers"}}})
    assert alike.archives["again"].kind == Choice(name="vindr", options={"readers": "any"})


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"images_of": "reader"}, "archives.second.images_of: there is no 'reader'; did you mean 'readers'?"),
        (
            {"images_of": "readers", "kind": "chestxray14"},
            "second.kind: must be vindr as in archives.readers; remove it",
        ),
        ({"images_of": ["readers"]}, "archives.second.images_of: "),
        (
            {"images_of": "readers", "size": 32},
            "second.size: images and splits are taken from readers; remove it",
        ),
        ({"images_of": "readers", "split_seed": 1}, "archives.second.split_seed: images and splits are taken"),
    ],
)
def test_a_second_reading_differs_in_nothing_else(second: dict, said: str):
    with pytest.raises(UserError) as refused:
        study_config.load({**GOOD, "archives": {**GOOD["archives"], "second": second}})
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (
            "organsmnist",
            {"pixels": 224},
            "kind.pixels: images and splits are taken from one; set 28, or remove",
        ),
        ("fdg_petct", {"volume": "CTres"}, "kind.volume: images and splits are taken from one; set 'CT', or"),
        (
            "covid_ct",
            {"splits": "drawn"},
            "kind.splits: images and splits are taken from one; set 'official', or",
        ),
        ("own_folder", {"split": "fold"}, "kind.split: images and splits are taken from one; set 'split', or"),
        ("own_folder", {"labels": ["a"], "table": "b.csv"}, ""),
        ("chexpert", {"uncertain": "positive"}, ""),
        ("mimic_cxr", {"labeller": "negbio"}, ""),
        ("padchest", {"labelled_by": "physician"}, ""),
        ("uka_cxr", {"positive_from": 2}, ""),
    ],
)
def test_a_second_reading_has_the_options_that_change_images_of_the_first(first: str, second: dict, said: str):
    one = {"kind": first, "folder": "/data"}
    other = {"images_of": "one", "kind": {"name": first, **second}}
    content = {**GOOD, "archives": {**GOOD["archives"], "one": one, "other": other}}
    if not said:
        assert study_config.load(content).archives["other"].kind.options == second
        return
    with pytest.raises(UserError) as refused:
        study_config.load(content)
    assert f"archives.other.{said}" in str(refused.value)


def test_options_of_labels_are_options():
    for name in registry.names("datasets"):
        options = registry.options("datasets", name).model_fields
        assert set(registry.constant("datasets", name, "LABEL_OPTIONS", default=())) <= set(options)


def test_a_second_reading_is_of_a_first():
    chain = {"second": {"images_of": "readers"}, "third": {"images_of": "second"}}
    with pytest.raises(UserError, match=r"archives\.third\.images_of: second itself has images_of readers; name that"):
        study_config.load({**GOOD, "archives": {**GOOD["archives"], **chain}})


def test_one_source_cannot_be_compared():
    assert "a comparison needs at least two sources (got 1)" in told(("sources", {"random": {}}))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.name)
def test_each_config_of_ours_loads(file: Path):
    grid = study_config.read(file).grid()
    assert len(list(grid.runs(grid.datasets[0].name))) >= 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seeds: [0", "the config cannot be read"),
        ("just words", "the config has no `key: value` lines"),
        ("", "the config has no `key: value` lines"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, text: str, said: str):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as refusal:
        study_config.read(file)
    assert str(refusal.value).startswith(f"{file}: ")
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("kind", ["UTF-16", "no text", "folder", "loop", "forbidden"])
def test_a_path_without_a_readable_text_is_refused(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "mine.yaml"
    wanted = "the config is not UTF-8 text: .*; save it as UTF-8"
    if kind in ("UTF-16", "no text"):
        file.write_bytes("seeds: [0]".encode("utf-16") if kind == "UTF-16" else bytes(range(256)))
    else:
        wanted = "the config cannot be read: .*; give the path of a file that you may read"
        file.symlink_to(file.name) if kind == "loop" else file.mkdir()
    if kind == "forbidden":
        # root may read all files
        refusal = PermissionError(errno.EACCES, "Permission denied")
        monkeypatch.setattr(Path, "read_text", lambda self, **options: (_ for _ in ()).throw(refusal))
    with pytest.raises(UserError, match=wanted) as refused:
        study_config.read(file)
    assert str(refused.value).startswith(f"{file}: ") and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seeds: [0]\nseeds: [1]\n", "line 2: seeds stands in line 1 already; keep one of them"),
        ("sources:\n  a: {}\n  b: {lr: 1}\n  a: {lr: 2}\n", "line 4: a stands in line 2 already"),
        ("archives: &a [{size: 1,\n size: 2}]\n", "line 2: size stands in line 1 already"),
        ("[" * 3000 + "]" * 3000, "nested too deeply"),
        ("x:\n  seed: 010\n", "line 2: YAML takes 010 for 8, an octal number; write 8, or 10 if that is meant"),
        ("x: [0, -0_10]\n", "line 1: YAML takes -0_10 for -8, an octal number; write -8, or -10 if that is meant"),
        ("x: 1:30\n", 'line 1: YAML takes 1:30 for 90, counted in sixties; write 90, or "1:30" if that is meant'),
        ("x: {y: 1:30.5}\n", "line 1: YAML takes 1:30.5 for 90.5, counted in sixties"),
        ("x: 1\n010: 1\n", "line 2: YAML takes 010 for 8"),
        ("x: 2001-99-99\n", "the config cannot be read: month must be in 1..12; correct the YAML"),
        (f"x: {'9' * 5000}\n", "the config cannot be read: Exceeds the limit"),
    ],
)
def test_what_yaml_would_take_in_silence_is_refused(tmp_path: Path, text: str, said: str):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=said):
        study_config.read(tmp_path / "mine.yaml")


def test_numbers_that_are_what_they_look_like_are_taken(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text("[0, 07, 00.5, 0.10, 1_000, 0x10, 08, 1e-3, '010', '1:30', 1:x, 12:30 h, 01.5]\n")
    config_text.refuse_ambiguous(file)


def test_anchors_and_merges_repeat_no_key(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text("a: &a {x: 1}\nb: &b {<<: *a, x: 2}\nc: &c [*a, *b, *c]\nd: {<<: *a, <<: *b}\n")
    config_text.refuse_ambiguous(file)


def test_an_absent_config_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="there is no such config file"):
        study_config.read(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    "content", [yaml.safe_load(file.read_text()) for file in CONFIGS], ids=[file.stem for file in CONFIGS]
)
def test_the_schema_knows_good_configs(content: dict):
    jsonschema.validate(content, schema())


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("sedes", [0]),
        ("sources.random.lr", 1),
        ("sources.random.name", "random"),
        ("recipes.finetune", None),
        ("recipes.finetune.training.batch", 0),
        ("sources.ours.method", {"n": 1}),
    ],
)
def test_the_schema_knows_bad_configs(place: str, value: object):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(changed((place, value), ("sources.ours.training.lr", 1e-4)), schema())


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("datasets.macro", {"archive": "readers"}, "datasets.macro: the name is reserved for the mean over labels"),
        ("comparison.seed", -1, "comparison.seed: Input should be greater than or equal to 0"),
        ("sources.random", {"std": [0.5, 0.0, 0.5]}, "std must be above 0"),
        ("results", "my study", "results: String should match pattern"),
    ],
)
def test_values_that_would_fail_only_after_the_training(place, value, said):
    assert said in told((place, value))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"controls.again": ["randm"]}, "controls.again: there is no 'randm'; did you mean 'random'?"),
        ({"reductions.blind": {"name": "random", "like": "tenht"}}, "reductions.blind.like: there is no 'tenht'"),
    ],
)
def test_a_name_that_leads_nowhere_is_told_beside_an_encoder_that_looks(changes: dict, words: str):
    """What needs a grid must not be looked at before it is known that there is one."""
    looking = ("reductions.seen", {"name": "embedding", "source": "random"})
    excused = ("leaks.excused", [{"kind": "patients", "between": ["a train", "b test"], "reason": "known for long"}])
    assert words in told(looking, excused, *changes.items())


def test_all_images_of_a_corpus_are_called_everything():
    line = told(("reductions.everything", {"name": "random", "share": 0.5}))
    assert "reductions.everything: the name is reserved for the whole corpus" in line
    study_config.load(changed(("reductions.everything", "everything")))


def test_patience_in_a_pre_training_needs_a_probe():
    assert "patience needs a probe" in told(("sources.ours.training.patience", 2))
