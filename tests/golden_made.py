"""What the shape of the code must not change, as data: `python tests/golden_made.py` writes tests/golden/ anew.

Do that only where a change is meant, and say in the commit which and why. The library is asked through the imports
below alone, so that a module that moves is followed in one place.
"""

import csv
import hashlib
import json
import subprocess
import sys
import tempfile
import typing
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd

import elsewhere_made
import prepared_made
import report_made
from declared_tables import declared_tables
from headwater.core import files as core_files
from headwater.core import records, registry
from headwater.data import tables as data_tables
from headwater.data.splits import with_splits
from headwater.evaluation.external import CROSSED
from headwater.stages import report
from headwater.stages.compare import compare
from headwater.stages.cross import cross
from headwater.stages.finetune import finetune
from headwater.study import config as study_config
from headwater.study import lineage, shared_labels
from headwater.study.archive import Dataset
from headwater.study.comparison import Comparison
from headwater.study.grid import Grid, Run
from headwater.study.leaks import Overlaps
from headwater.study.recipe import Recipe, Training
from headwater.study.source import Source

ROOT = Path(__file__).parent.parent
HOME = Path(__file__).parent / "golden"
CONFIGS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "config").rglob("*.yaml"))
STRENGTHS = {"random": 0.3, "random_again": 0.3, "random_shuffled": 0.0, "wild_dino": 1.4, "image_net": 0.8}
TWIN = {"cases": 16, "seed": 5, "first_patient": 3, "size": 32}


SEED = 90210
"""A seed that no other test fits under: an order of cases that was drawn before is remembered, and not drawn anew."""


def sha(lines: list[str], *, digits: int = 64) -> str:
    """What stands for many lines."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:digits]


# configs ------------------------------------------------------------------------------------------------------------


def digests(config: str) -> dict[str, Any]:
    """The digest of each record that a config lays out, by what it is called; of its many runs one for each dataset."""
    plan = study_config.read(ROOT / config)
    laid = plan.grid()
    return {
        "grid": laid.digest,
        "overlaps": lineage.overlaps(laid).digest,
        "archives": {one.name: one.digest for one in laid.archives},
        "reductions": {name: one.digest for name, one in laid.reductions.items()},
        "sources": {one.name: one.digest for one in laid.sources},
        "datasets": {one.name: one.digest for one in laid.datasets},
        "recipes": {one.name: one.digest for one in laid.recipes},
        "comparisons": {one.name: laid.comparison(one.name).digest for one in laid.datasets},
        "exchanges": {one.name: shared_labels.guests(laid, one.name).digest for one in laid.datasets},
        "runs": {one.name: _of_runs(list(laid.runs(one.name))) for one in laid.datasets},
    }


def _of_runs(runs: list[Run]) -> str:
    """How many, and what stands for their paths, their digests and the random numbers that they draw."""
    return f"{len(runs)} {sha(sorted(f'{run.path} {run.digest} {run.stream}' for run in runs), digits=16)}"


def plan(config: str) -> dict[str, Any]:
    """What `snakemake -n` plans, rule by rule: how many jobs, and what stands for each kind of thing that they have."""
    program = [sys.executable, str(ROOT / "tests" / "golden_plan.py"), str(ROOT / config)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise AssertionError(f"{config} cannot be planned\n{done.stdout}\n{done.stderr}")
    by_rule = defaultdict(list)
    for line in done.stdout.splitlines():
        job = json.loads(line)
        by_rule[job["rule"]].append(job)
    return {"listing": sha(done.stdout.splitlines())} | {rule: _of_jobs(jobs) for rule, jobs in sorted(by_rule.items())}


def _of_jobs(jobs: list[dict[str, Any]]) -> dict[str, Any]:
    """Paths by themselves, which stay even where jobs are put together; all else job by job."""
    paths = {kind: sorted({path for job in jobs for path in job[kind]}) for kind in ("output", "input", "log")}
    others = {
        kind: [json.dumps([job["output"], job[kind]], sort_keys=True) for job in jobs]
        for kind in ("wildcards", "params", "benchmark", "threads", "resources")
    }
    return {"jobs": len(jobs)} | {kind: sha(lines, digits=16) for kind, lines in (paths | others).items()}


# names --------------------------------------------------------------------------------------------------------------


def names() -> dict[str, Any]:
    """Fields of records with their defaults, columns of tables, plug-ins with their options."""
    roots = (study_config.Config, Grid, Run, Comparison, Overlaps, shared_labels.Exchanges)
    tables = declared_tables()
    return {
        "records": {form.__name__: _fields(form) for form in _reached(roots)},
        "tables": {name: " ".join(table.columns) for name, table in tables.items()},
        "kinds": {name: " ".join(table.columns.values()) for name, table in tables.items()},
        "keys": {name: " ".join(table.keys) for name, table in tables.items() if table.keys},
        "optional": {name: " ".join(table.optional) for name, table in tables.items() if table.optional},
        "plugins": {
            family: {name: _fields(registry.options(family, name)) for name in registry.names(family)}
            for family in registry.FAMILIES
        },
    }


def _fields(form: type[records.Record]) -> dict[str, str]:
    """Each field and its default: a record leaves out what is at its default, so that no digest tells it."""
    return {name: _default(field) for name, field in form.model_fields.items()}


def _default(field: Any) -> str:
    value = field.get_default(call_default_factory=True)
    if field.is_required():
        return "required"
    return value.as_json() if isinstance(value, records.Record) else repr(value)


def _reached(forms: tuple[Any, ...]) -> list[type[records.Record]]:
    """The records that stand in the annotations of others, and those themselves, by name."""
    found: dict[str, type[records.Record]] = {}
    ahead = list(forms)
    while ahead:
        one = ahead.pop()
        if isinstance(one, type) and issubclass(one, records.Record):
            if one.__name__ not in found:
                found[one.__name__] = one
                ahead += [field.annotation for field in one.model_fields.values()]
        else:
            ahead += typing.get_args(one)
    return [found[name] for name in sorted(found)]


# chance -------------------------------------------------------------------------------------------------------------


def seeds() -> dict[str, Any]:
    """The texts and numbers that splits, trainings and resamplings draw their chance from, and what comes of some."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with overheard() as heard:
            drawn = with_splits(_catalogue(), validation=0.25, test=0.25, seed=3, files={})
        told = {"splits": sorted(heard), "drawn": dict(zip(drawn["patient"], drawn["split"], strict=True))}
        made = prepared_made.archive(folder / "made")
        random = Source(name="random", backbone="timm/test_resnet")
        with overheard() as heard:
            for source in (random, random.as_control("again"), random.as_control("shuffled")):
                fit = _fitted(source, made, folder / source.name)
                told[source.name] = {key: fit[key] for key in ("encoder", "rows", "split", "digest")}
        told["fitting"] = sorted(heard)
        other = elsewhere_made.made(folder / "elsewhere")
        with overheard() as heard:
            _compared(other, folder)
        return told | {"resampling": sorted(heard)}


def _catalogue() -> pd.DataFrame:
    """Patients with two cases each, some of which bear a label."""
    patients = [f"p{number}" for number in range(12) for _ in range(2)]
    cases = [f"c{number}" for number in range(24)]
    rare = [float(number < 6) for number in range(24)]
    return pd.DataFrame({"case": cases, "patient": patients, "split": "", f"{data_tables.TARGET}Mass": rare})


def _fitted(source: Source, made: prepared_made.Made, folder: Path) -> dict[str, Any]:
    """How a source was fitted to half of the patients, in one step."""
    training = Training(steps=1, batch=8, validations=1)
    recipe = Recipe(name="half", training=training, fraction=0.5)
    run = Run(dataset=Dataset(name="made", archive="made"), source=source, recipe=recipe, seed=SEED)
    products = {"model": folder / "model.safetensors", "fit": folder / "fit.json", "progress": folder / "saved.pt"}
    finetune(run=run, cases=made.cases, images=made.images, device="cpu", **products)
    return core_files.read_json(products["fit"])


@contextmanager
def overheard() -> Iterator[set[str]]:
    """What chance is drawn from while the block runs: short texts that are hashed, and seeds that NumPy is given."""
    heard: set[str] = set()

    def noting(function: Callable, note: Callable[..., str | None]) -> Callable:
        def noted(*arguments, **options):
            if (text := note(*arguments, **options)) is not None:
                heard.add(text)
            return function(*arguments, **options)

        return noted

    with ExitStack() as stack:
        for name in ("sha256", "blake2b"):
            stack.enter_context(patch.object(hashlib, name, noting(getattr(hashlib, name), _short)))
        for name in ("SeedSequence", "default_rng"):
            stack.enter_context(patch.object(np.random, name, noting(getattr(np.random, name), _called(name))))
        yield heard


def _short(data: Any = b"", **_: Any) -> str | None:
    """A text that is no record, no table and no picture."""
    if not isinstance(data, bytes):
        return None
    return data.decode() if len(data) < 100 and data and data.isascii() and data[:1] not in b"{[" else None


def _called(name: str) -> Callable[..., str]:
    return lambda *arguments, **options: f"{name} {arguments} {options}"


def twins() -> dict[str, str]:
    """For each twin what stands for its files' names and for what its tables say."""
    told = {}
    for name in registry.names("twins"):
        with tempfile.TemporaryDirectory() as place:
            registry.load("twins", name).make(Path(place) / "twin", **TWIN)
            files = sorted(path for path in Path(place).rglob("*") if path.is_file())
            tables = [path.read_text() for path in files if path.suffix in (".csv", ".txt", ".json")]
            paths = [path.relative_to(place).as_posix() for path in files]
        told[name] = f"{len(paths)} files {sha(paths, digits=16)}, {len(tables)} tables {sha(tables, digits=16)}"
    return told


# results ------------------------------------------------------------------------------------------------------------


def results(folder: Path) -> dict[str, str]:
    """The text of each table that a report of made predictions writes as CSV, and of the table of `cross`."""
    study = report_made.study(
        folder,
        strengths=STRENGTHS,
        controls=("random_again", "random_shuffled"),
        metrics=("auroc", "average_precision"),
    )
    # pictures take most of the time, and their bytes are matplotlib's
    with patch.object(report.writing, "draw", lambda study: {}):
        report.report(**study.arguments(), folder=folder / "report")
    found = {file.stem: file.read_text() for file in sorted((folder / "report").glob("*.csv"))}
    # names of files by their bytes, which are those of the library that writes Parquet
    del found["provenance"]
    # sentences that name the version and the config's digest; tests/reporting/test_check_lists.py looks at them
    del found["claim"], found["tripod_ai"]
    other = elsewhere_made.made(folder / "elsewhere")
    told = {name: getattr(other, name) for name in other.__dataclass_fields__ if name != "cases"}
    cross(**told, crossed=folder / "crossed.parquet")
    crossed = CROSSED.read(folder / "crossed.parquet")
    return found | {"crossed": crossed.to_csv(index=False, lineterminator="\n")}


def _compared(made: elsewhere_made.Made, folder: Path) -> None:
    """Compare the runs at home."""
    products = {name: folder / f"{name}{suffix}" for name, suffix in report_made.PRODUCTS.items()}
    compare(comparison=made.comparison, predictions=made.predictions, labels=made.labels, **products)


def cells(text: str) -> list[list[str]]:
    """A table cell by cell; names of sets of predictions, which follow from bytes of Parquet, by their first row."""
    rows = list(csv.reader(text.splitlines()))
    if "provenance" in rows[0]:
        column, seen = rows[0].index("provenance"), {}
        for row in rows[1:]:
            row[column] = f"set {seen.setdefault(row[column], len(seen))}"
    return rows


def as_csv(rows: list[list[str]]) -> str:
    """Cells as the text of a table."""
    with tempfile.TemporaryFile("w+", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
        file.seek(0)
        return file.read()


# recording ----------------------------------------------------------------------------------------------------------


def _write(name: str, content: Any) -> None:
    core_files.write_json(content, HOME / f"{name}.json")


def record() -> None:
    """Write all of it anew."""
    _write("names", names())
    _write("seeds", seeds() | {"twins": twins()})
    with tempfile.TemporaryDirectory() as folder:
        for name, text in results(Path(folder)).items():
            core_files.write_text(as_csv(cells(text)), HOME / "report" / f"{name}.csv")
    _write("configs", {config: {"digests": digests(config), "plan": plan(config)} for config in CONFIGS})


if __name__ == "__main__":
    record()
