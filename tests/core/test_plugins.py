"""Each plug-in is tested because its file exists: its family's contract, and its options without importing it."""

import ast
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

import scheduler_protocol
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.records import Choice, Record
from headwater.data import perceptual_hash, tables
from headwater.data.datasets import Card
from headwater.data.index import CATALOGUE
from headwater.data.twins import own_pictures_with_masks, own_volumes
from headwater.study.ct_windows import WINDOWS

SCRIPTS = Path(__file__).parents[2] / "scripts"

FOLDER = ("folder", "options")

CONTRACTS: dict[str, dict[str, tuple[str, ...] | None]] = {
    "datasets": {"CARD": None, "label_files": FOLDER, "read_cases": FOLDER},
    "twins": {"make": ("folder", "cases", "seed", "first_patient", "size")},
    "reductions": {"keep": ("cases", "images", "options")},
    "backbones": {"create": ("model", "size")},
    "weights": {"CARD": None, "RULES": None, "DROPPED": None, "normalisation": ("backbone", "metadata")},
    "methods": {
        "Options": None,
        "learner": ("encoder", "options", "views", "size", "labels", "task", "targets", "steps"),
    },
    "tasks": {
        "EVIDENCE": None,
        "KINDS": None,
        "SCORE": None,
        "NEEDS": None,
        "form": ("targets", "labels", "partial"),
        "targets": ("data", "rows", "labels"),
        "eligible": ("targets",),
        "head": ("encoder", "labels", "seed"),
        "label_weights": ("targets", "form", "wanted"),
        "loss": ("outputs", "targets", "weights", "form"),
        "evidence": ("outputs", "targets", "form", "columns"),
        "validation_score": ("evidence",),
    },
    "trackers": {"open": ("folder", "training", "tracking")},
    "metrics": {"TITLE": None, "BETTER": None, "RANGE": None, "EVIDENCE": None, "measure": None},
    "tables": {"CARD": None, "make": ("study",)},
    "figures": {"CARD": None, "make": ("study",)},
    "schedulers": {
        **dict.fromkeys(scheduler_protocol.CONSTANTS),
        **{name: scheduler_protocol.parameters(name) for name in scheduler_protocol.FUNCTIONS},
    },
}
"""What each plug-in of a family holds, and the parameters of its functions."""

READERS = {2: {"read_pixels": None}, 3: {"read_volume": ("folder", "case", "options")}}
"""What an archive holds besides, by the dimensions of its images."""

OUTLINING = dict.fromkeys(("head", "probe"), ("encoder", "labels", "seed", "deep"))
"""What a task has that outlines structures."""

WITH = {
    "LEVELS": OUTLINING,
    "LOSSES": {"loss": ("outputs", "targets", "weights", "form", "chosen")},
    "SOFT": {"softened": ("targets", "share", "form")},
}
"""What a task has beside each of these constants."""

OPTIONAL = {"read_mask": ("folder", "case", "options")}
"""What an archive may hold."""

ENTRIES = [(family, name) for family in registry.FAMILIES for name in registry.names(family)]
DATASETS, TWINS, REDUCTIONS, METRICS = (
    registry.names(family) for family in ("datasets", "twins", "reductions", "metrics")
)


def held(family: str, name: str) -> dict[str, tuple[str, ...]]:
    """The names at the top of a plug-in's file, with the parameters of functions, read without importing it."""
    found: dict[str, tuple[str, ...]] = {}
    for node in ast.parse((registry.folder(family) / f"{name}.py").read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = tuple(one.arg for one in [*node.args.args, *node.args.kwonlyargs])
        elif isinstance(node, ast.ClassDef):
            found[node.name] = ()
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {ast.unparse(target): () for target in targets}
    return found


def filled_in(family: str, name: str) -> Record:
    """Options with something sensible for the required ones."""
    form = registry.options(family, name)
    required = {key: field.annotation for key, field in form.model_fields.items() if field.is_required()}
    return form(**{key: {int: 3, float: 0.5, str: "a"}[kind] for key, kind in required.items()} | EITHER.get(name, {}))


EITHER = {
    "random": {"share": 0.5},
    "own_volumes": own_volumes.OPTIONS,
    "own_pictures_with_masks": own_pictures_with_masks.OPTIONS,
}
"""Options one of which must be said, and those without which a table of one's own says nothing."""


def test_the_families_are_the_folders_and_each_has_a_contract():
    folders = {file.parent.name for file in registry.HOME.glob("*/*/__init__.py")}
    rooms = {"dashboards", "integrity_checks", "io", "neighbours", "reading", "references", "statistics", "views"}
    assert set(registry.FAMILIES) == folders - rooms
    assert set(CONTRACTS) == set(registry.FAMILIES)
    assert all(registry.names(family) for family in registry.FAMILIES)


@pytest.mark.parametrize(("family", "name"), ENTRIES)
def test_an_entry_holds_what_its_family_asks(family: str, name: str):
    holds = held(family, name)
    more = READERS[registry.constant(family, name, "CARD.ndim", default=2)] if family == "datasets" else {}
    for constant, besides in WITH.items() if family == "tasks" else ():
        more |= besides if registry.constant(family, name, constant, default=None) else {}
    for wanted, parameters in {**CONTRACTS[family], **more}.items():
        assert wanted in holds, f"{family}/{name}.py has no {wanted}"
        if parameters is not None:
            assert holds[wanted] == parameters
    for wanted, parameters in OPTIONAL.items() if family == "datasets" else ():
        assert holds.get(wanted, parameters) == parameters


@pytest.mark.parametrize(("family", "name"), ENTRIES)
def test_an_entry_has_a_name_for_a_config(family: str, name: str):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name)


def test_options_are_read_without_importing_anything():
    program = (
        "import sys\n"
        "from headwater.core import registry\n"
        "for family in registry.FAMILIES:\n"
        "    for name in registry.names(family):\n"
        "        assert issubclass(registry.options(family, name), registry.Record)\n"
        "rooms = tuple(f'headwater.{room}' for room in ('data', 'models', 'training', 'evaluation'))\n"
        "print([name for name in sys.modules if name.startswith(rooms)])\n"
        "print('torch' in sys.modules, 'pandas' in sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    said = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert (said.stdout, said.stderr) == ("[]\nFalse False\n", "")


@pytest.mark.parametrize(("family", "name"), [entry for entry in ENTRIES if entry[0] in ("datasets", "reductions")])
def test_options_read_are_those_imported(family: str, name: str):
    imported = getattr(registry.load(family, name), "Options", Record)
    assert fields_of(registry.options(family, name)) == fields_of(imported)


def fields_of(form: type[Record]) -> dict[str, tuple]:
    """Type, default and bounds of each field."""
    return {key: (field.annotation, field.default, field.metadata) for key, field in form.model_fields.items()}


@pytest.mark.parametrize("name", DATASETS)
def test_an_archive_has_a_full_card(name: str):
    card = registry.load("datasets", name).CARD
    assert isinstance(card, Card)
    # an archive without labels is a corpus only, or leaves them to its options
    assert len(set(card.labels)) == len(card.labels) != 1
    assert card.window in ("", *WINDOWS)
    assert min(map(len, [card.title, card.licence, card.citation, card.modality, *card.labels])) > 0
    assert card.url.startswith("https://")
    assert all(count > 0 for count in card.expected.values())


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_is_read_as_its_archive(tmp_path: Path, name: str):
    dataset = registry.load("datasets", name)
    registry.load("twins", name).make(tmp_path / "twin", cases=24, seed=1, size=32)
    files = dataset.label_files(tmp_path / "twin", filled_in("datasets", name))
    assert files
    assert all(file.is_file() for file in files)
    cases = CATALOGUE.check(dataset.read_cases(tmp_path / "twin", filled_in("datasets", name)))
    assert len(cases) == 24
    told = dataset.labels(tmp_path / "twin", filled_in("datasets", name)) if hasattr(dataset, "labels") else ()
    if dataset.CARD.ndim == 3:
        volume = dataset.read_volume(tmp_path / "twin", cases.iloc[0], filled_in("datasets", name))
        assert volume.voxels.ndim == 3
        reader = getattr(dataset, "read_mask", lambda *_: None)
        # what a mask outlines is known once it is read; some archives have masks by their options only
        if (mask := reader(tmp_path / "twin", cases.iloc[0], filled_in("datasets", name))) is not None:
            assert set(np.unique(mask.voxels)) <= set(range(len(told) + 1))
            assert volume.turned().voxels.shape == mask.turned().voxels.shape
        return
    assert set(tables.labels_of(cases)) == set(dataset.CARD.labels or told)
    pixels = dataset.read_pixels(tmp_path / "twin", cases.iloc[0])
    assert pixels.dtype == (np.int16 if dataset.CARD.window else np.uint8)
    assert pixels.shape[:2] == (32, 32)


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_is_made_of_its_arguments(tmp_path: Path, name: str):
    make = registry.load("twins", name).make
    for folder, seed in (("one", 1), ("same", 1), ("other", 2)):
        make(tmp_path / folder, cases=8, seed=seed, size=32)
    assert content_of(tmp_path / "one") == content_of(tmp_path / "same") != content_of(tmp_path / "other")


def content_of(folder: Path) -> dict[str, str]:
    """The digest of each file below a folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_reduction_keeps_some_rows_in_order(name: str):
    names = [f"c{row}" for row in range(40)]
    cases = pd.DataFrame({"row": np.arange(40)[::-1], "case": names, "patient": "p", "volume": ["a"] * 25 + ["b"] * 15})
    draw = np.random.default_rng(0)
    cases = cases.assign(**{kind: draw.integers(0, 2**64, 40, dtype=np.uint64) for kind in perceptual_hash.KINDS})
    keep, options = registry.load("reductions", name).keep, filled_in("reductions", name)
    # one that looks through an encoder is given features
    seen = draw.normal(size=(40, 6)).astype(np.float16)
    images = seen if "source" in options.model_fields_set else draw.integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
    kept = keep(cases, images, options=options)
    assert kept.leader.dtype == np.int64
    assert len(kept.leader) == 40
    assert 0 < len(kept.positions) <= 40
    # whoever stands for another is kept itself
    assert set(kept.leader) - {-1} == set(kept.positions)
    again = keep(cases, images, options=options)
    assert np.array_equal(kept.leader, again.leader)
    assert (kept.distance is None) == (again.distance is None)
    assert kept.distance is None or np.array_equal(kept.distance, again.distance)


@pytest.mark.parametrize("name", registry.names("schedulers"))
def test_a_scheduler_fulfils_the_protocol(name: str):
    scheduler_protocol.assert_fulfilled(registry.load("schedulers", name))


@pytest.mark.parametrize("name", registry.names("schedulers"))
def test_a_scheduler_tells_jobs_from_its_environment(name: str):
    """A job's own variables are taken from what it starts outside of itself, and no others."""
    scheduler = registry.load("schedulers", name)
    environment = {"HOME": "x", "PATH": "y", "CUDA_VISIBLE_DEVICES": "0", scheduler.NODE_RANK: "1"}
    assert scheduler.NODE_RANK not in scheduler.outside_environment(environment)
    assert set(environment) - {scheduler.NODE_RANK} == set(scheduler.outside_environment(environment))
    assert {"HOME", "PATH", "CUDA_VISIBLE_DEVICES"} <= set(scheduler.step_environment(environment))


@pytest.fixture(params=METRICS)
def metric(request: pytest.FixtureRequest) -> ModuleType:
    """Each metric."""
    return registry.load("metrics", request.param)


def test_a_metric_says_how_to_read_it(metric: ModuleType):
    assert metric.TITLE
    assert metric.BETTER in ("higher", "lower")
    assert metric.RANGE[0] < metric.RANGE[1]


def evidence(metric: ModuleType, cases: int) -> dict[str, np.ndarray]:
    """What the metric reads, drawn between 0 and 1, targets and scores with ties."""
    random = np.random.default_rng(0)
    drawn = {name: random.random(cases).round(1) for name in metric.EVIDENCE}
    return drawn | ({"target": drawn["target"].round()} if "target" in drawn else {})


def test_a_metric_is_best_where_scores_are_the_truth(metric: ModuleType):
    if metric.EVIDENCE != ("target", "score"):
        pytest.skip("it reads no scores")
    target = np.array([0.0, 1.0, 0.0, 1.0, 1.0])
    best = metric.RANGE[metric.BETTER == "higher"]
    assert metric.measure(target, target, np.ones((2, 5))) == pytest.approx([best, best])


def test_a_metric_takes_a_weight_for_a_repetition(metric: ModuleType):
    told = evidence(metric, 30)
    weights = np.random.default_rng(1).integers(0, 4, (5, 30))
    each = [
        metric.measure(**{name: column.repeat(row) for name, column in told.items()}, weights=np.ones((1, row.sum())))
        for row in weights
    ]
    assert metric.measure(**told, weights=weights) == pytest.approx(np.ravel(each))
    assert np.isfinite(each).all()


def test_a_metric_of_one_class_is_undefined_where_cases_are_ranked(metric: ModuleType):
    target, weights = np.array([1.0, 1.0, 0.0]), np.array([[1, 1, 0], [1, 1, 1]])
    if not hasattr(metric, "KERNEL"):
        told = evidence(metric, 3)
        assert np.isnan(metric.measure(**told, weights=np.zeros((1, 3)))).all()
        return
    values = metric.measure(target, np.array([0.2, 0.4, 0.3]), weights)
    assert np.isnan(values).tolist() == [True, False]


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty family of metrics, in place of the real one."""
    import headwater.evaluation.metrics

    folder = tmp_path / "evaluation" / "metrics"
    monkeypatch.setattr(registry, "HOME", tmp_path)
    monkeypatch.setattr(headwater.evaluation.metrics, "__path__", [str(folder)])
    registry.options.cache_clear()
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    yield folder
    registry.options.cache_clear()
    sys.modules.pop("headwater.evaluation.metrics.kappa", None)


def test_a_file_is_an_entry_and_nothing_else_is_edited(family: Path):
    assert registry.names("metrics") == []
    (family / "kappa.py").write_text("TITLE = 'Kappa'\n")
    assert registry.names("metrics") == ["kappa"]
    assert registry.load("metrics", "kappa").TITLE == "Kappa"


def test_an_underscore_keeps_a_file_private(family: Path):
    (family / "_ranks.py").write_text("")
    (family / "notes.txt").write_text("")
    assert registry.names("metrics") == []
    with pytest.raises(UserError, match="metrics: there is no '_ranks'; there is none to choose from"):
        registry.load("metrics", "_ranks")


def test_an_unknown_entry_is_refused_with_the_nearest_one():
    with pytest.raises(UserError, match=r"metrics: there is no 'aurco'; did you mean 'auroc'\?"):
        registry.check("metrics", "aurco")
    with pytest.raises(UserError, match="datasets: there is no 'zzz'; choose one of chestxray14, "):
        registry.load("datasets", "zzz")


def test_a_broken_entry_can_be_listed_and_its_options_read(family: Path):
    (family / "kappa.py").write_text(
        "import no_such_library\n"
        "class Options(Record):\n"
        "    bins: int = Field(10, ge=1)\n"
        "    kind: Literal['even', 'quantile'] = 'even'\n"
    )
    assert registry.names("metrics") == ["kappa"]
    assert registry.options("metrics", "kappa")().model_dump() == {"bins": 10, "kind": "even"}
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        registry.load("metrics", "kappa")


def test_options_of_an_entry_come_before_those_of_its_family(family: Path):
    (family / "kappa.py").write_text("")
    assert registry.options("metrics", "kappa").model_fields == {}
    registry.options.cache_clear()
    (family / "__init__.py").write_text("class Options(Record):\n    whole_family: int = 1\n")
    assert set(registry.options("metrics", "kappa").model_fields) == {"whole_family"}
    registry.options.cache_clear()
    (family / "kappa.py").write_text("class Options(Record):\n    own: int = 1\n")
    assert set(registry.options("metrics", "kappa").model_fields) == {"own"}


def test_chosen_options_are_checked_all_at_once(family: Path):
    (family / "kappa.py").write_text("class Options(Record):\n    bins: int = Field(10, ge=1)\n    name: str = ''\n")
    assert registry.chosen("metrics", Choice(name="kappa", options={"bins": 20.0})).bins == 20
    with pytest.raises(UserError) as refusal:
        registry.chosen("metrics", Choice(name="kappa", options={"bins": 0, "bin": 3}))
    assert "kappa.bins: Input should be greater than or equal to 1 (got 0)" in str(refusal.value)
    assert "kappa.bin: unknown key; did you mean 'bins'?" in str(refusal.value)


def test_an_argument_of_a_call_is_read_only_where_it_is_plain(family: Path):
    (family / "kappa.py").write_text("WORDS = ('a',)\nPLAIN = dict(labels=('a', 'b'))\nTHERE = dict(labels=WORDS)\n")
    assert registry.constant("metrics", "kappa", "PLAIN.labels", default=None) == ("a", "b")
    assert registry.constant("metrics", "kappa", "THERE.labels", default=None) is None
    assert registry.constant("metrics", "kappa", "PLAIN.other", default=None) is None
    assert registry.constant("metrics", "kappa", "WORDS.labels", default=None) is None
