"""A finished little study for the report: a grid, comparisons, curves, label counts and rejects, all synthetic."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from declared_tables import declared_tables
from headwater.core import registry
from headwater.core.records import Choice
from headwater.data.index import LABELS
from headwater.data.leakage import LEDGER
from headwater.data.store import CASES, REJECTS
from headwater.data.tables import MACRO
from headwater.evaluation import multiplicity
from headwater.reporting import artefacts
from headwater.reporting.results import StudyResults
from headwater.stages.compare import compare
from headwater.stages.examine import examine
from headwater.study.archive import Archive, Dataset, Twin
from headwater.study.comparison import Comparing, Comparison
from headwater.study.grid import Grid
from headwater.study.paths import Paths
from headwater.study.recipe import Recipe, Training
from headwater.study.source import Source, Weights
from predictions_made import cohort, of_validation, told, written

PATIENT_DATA = {"Atelectasis": 0.4, "Effusion": 0.3, "Hernia": 0.0, "Edema": 0.03}
PRODUCTS = {
    "comparisons": ".parquet",
    "curves": ".curves.parquet",
    "values": ".values.parquet",
    "replicates": ".replicates.parquet",
    "provenance": ".provenance.parquet",
}
EXAMINED = {name: f".{name}.parquet" for name in ("calibration", "reliability", "thresholds", "subgroups")}
CASE_DATA = {"Cardiomegaly": 0.4, "Pleural_effusion & more": 0.3}


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study's grid, and the folder of its results."""

    grid: Grid
    results: Path

    def arguments(self, **changes) -> dict:
        """The arguments of `report`, but for its folder."""
        return {"grid": self.grid, "results": self.results} | changes

    def read_in(self) -> StudyResults:
        """Its results as the report reads them."""
        return StudyResults(self.grid, results=self.results)

    def compared(self, table: str = "") -> list[Path]:
        """A table of each dataset's comparison."""
        return [Path(Paths(self.results).compared(dataset.name, table)) for dataset in self.grid.datasets]

    def copied(self, results: Path) -> "Study":
        """The same study in another folder, whose files may be changed."""
        for part in ("comparisons", "archives"):
            shutil.copytree(self.results / part, results / part)
        shutil.copy(self.results / "ledger.parquet", results)
        return Study(grid=self.grid, results=results)


def study(
    folder: Path,
    *,
    strengths: dict[str, float],
    twin: bool = True,
    seeds=(0, 1),
    of: dict[str, pd.DataFrame] | None = None,
    **comparing,
) -> Study:
    """A study on two datasets, the second without patients, with a planted strength for each source.

    A source called `NAME_again` or `NAME_shuffled` is a control if `controls` holds it; `targets` and `fitted`, the
    sources of a dataset, stand by dataset; `of` are the test cases of datasets that are not to be made up.
    """
    grid = grid_of(tuple(strengths), twin=twin, seeds=seeds, comparing=comparing)
    products = {product: [] for product in (*PRODUCTS, *EXAMINED)}
    for dataset, shares, images in (("chest", PATIENT_DATA, 2), ("vindr", CASE_DATA, 1)):
        cases = cohort(patients=80, images=images, labels=shares)
        if of and dataset in of:
            cases = of[dataset]
            shares = cases.drop(columns=["case", "patient"]).mean().to_dict()
        planted = {name: strengths[name] for name in grid.comparison(dataset).sources}
        files = [
            file
            for recipe in grid.recipes
            for file in written(folder, cases, strengths=planted, seeds=seeds, dataset=dataset, recipe=recipe.name)
        ]
        for product, suffix in (PRODUCTS | EXAMINED).items():
            products[product].append(folder / "comparisons" / f"{dataset}{suffix}")
        _write_archive(folder / "archives" / f"{dataset}_archive", shares)
        compare(
            comparison=grid.comparison(dataset),
            predictions=files,
            labels=folder / "archives" / f"{dataset}_archive" / "labels.parquet",
            **{product: products[product][-1] for product in PRODUCTS},
        )
        _examine(folder, grid.comparison(dataset), cases, files, planted, products)
    _write_rejects(folder / "archives" / "photographs", 0)
    _write_ledger(folder / "ledger.parquet", grid)
    return Study(grid=grid, results=folder)


def _examine(
    folder: Path,
    comparison: Comparison,
    cases: pd.DataFrame,
    files: list[Path],
    strengths: dict[str, float],
    products: dict[str, list[Path]],
) -> None:
    """Examine the runs of a dataset; half of its test patients are women, and nothing else is told of them."""
    validation = [
        file
        for recipe in comparison.recipes
        for file in written(
            folder,
            of_validation(cases),
            strengths=strengths,
            seeds=comparison.seeds,
            dataset=comparison.dataset,
            recipe=recipe,
            product="validation",
        )
    ]
    women = pd.factorize(cases["patient"])[0] % 2 == 0
    examine(
        comparison=comparison,
        predictions=files,
        validation=validation,
        labels=folder / "archives" / f"{comparison.dataset}_archive" / "labels.parquet",
        cases=told(folder / "told" / f"{comparison.dataset}.parquet", cases, sex=np.where(women, "F", "M")),
        settled=folder / "comparisons" / f"{comparison.dataset}.settled.parquet",
        provenance=folder / "comparisons" / f"{comparison.dataset}.examined.parquet",
        **{product: products[product][-1] for product in EXAMINED},
    )


def drawn(results: StudyResults, *names: str) -> dict[str, str]:
    """Figures by the name of their file: those called so, else all that the study has."""
    chosen = names or artefacts.names("figures", results.grid)
    return {
        artefacts.file_name(name, part): drawing.svg
        for name in chosen
        for part, drawing in registry.load("figures", name).make(results).items()
    }


def read(made: Study, table: str) -> pd.DataFrame:
    """One of its tables over all datasets."""
    suffix = "" if table == "comparisons" else table
    return pd.concat([declared_tables()[table].read(file) for file in made.compared(suffix)], ignore_index=True)


def corrected(made: Study, *, rows=None, replicates=None, **comparing) -> pd.DataFrame:
    """The study's comparisons, corrected as if these settings had been declared."""
    rows = read(made, "comparisons") if rows is None else rows
    grid = changed(made.grid, **comparing)
    order = {name: [MACRO, *sorted(set(part["label"]) - {MACRO})] for name, part in rows.groupby("dataset")}
    replicates = read(made, "replicates") if replicates is None else replicates
    return multiplicity.corrected(rows, grid=grid, order=order, replicates=replicates)


def changed(grid: Grid, **comparing) -> Grid:
    """The grid with other settings of the comparison."""
    return grid.model_copy(update={"comparing": grid.comparing.model_copy(update=comparing)})


def grid_of(sources: tuple[str, ...], *, twin: bool, seeds: tuple[int, ...], comparing: dict) -> Grid:
    """A study of these sources on both datasets."""
    training = Training(steps=100)
    backbone = "timm/resnet50"
    controls, targets, fitted = (comparing.pop(*given) for given in (("controls", ()), ("targets", {}), ("fitted", {})))
    made = [Source(name=sources[0], backbone=backbone)]
    for position, name in enumerate(source for source in sources[1:] if source not in controls):
        if position % 2:
            made.append(Source(name=name, backbone=backbone, weights=Weights(layout=Choice(name="timm"))))
        else:
            method = Choice(name="dino", options={"prototypes": 512})
            made.append(Source(name=name, backbone=backbone, method=method, corpus="photographs", training=training))
    recipes = comparing.pop("recipes", ("finetune",))
    settings = {"reference": sources[0], "resamples": 512}
    return Grid(
        archives=(
            Archive(name="chest_archive", kind="chestxray14", twin=Twin(cases=80) if twin else None),
            Archive(name="vindr_archive", kind="vindr", twin=Twin(cases=80) if twin else None),
            Archive(name="photographs", kind="natural_photographs"),
        ),
        reductions={"everything": Choice(name="everything")},
        sources=(*made, *(_control(name, made) for name in controls)),
        datasets=tuple(
            Dataset(name=name, archive=f"{name}_archive", targets=targets.get(name, {}), sources=fitted.get(name, ()))
            for name in ("chest", "vindr")
        ),
        recipes=tuple(Recipe(name=name, training=training) for name in recipes),
        seeds=seeds,
        comparing=Comparing(**(settings | comparing)),
    )


def _control(name: str, sources: list[Source]) -> Source:
    of, _, control = name.rpartition("_")
    return next(source for source in sources if source.name == of).as_control(control)


def _write_ledger(path: Path, grid: Grid) -> None:
    """What parts share: nothing, but some pictures twice in one training split, and patients where that is excused."""
    excused = {(excuse.kind, *excuse.between): excuse.reason for excuse in grid.leaks.excused}
    parts = grid.overlaps.parts
    found = [("identical", parts[0], parts[0]), *excused, ("patients", parts[0], parts[1])]
    rows = [
        {
            **dict(zip(("kind", "part", "other"), one, strict=True)),
            **{"cases": 3 * (number < len(found) - 1), "other_cases": 4, "patients": 2},
            **{"example": "a.png", "other_example": "b.png"},
            **{"must_be_apart": "test" in one[2], "excuse": excused.get(one, "")},
        }
        for number, one in enumerate(found)
    ]
    LEDGER.write(pd.DataFrame(rows), path)


SIZES = {"train": 400, "validation": 40, "test": 160}
"""Cases of each split."""


def archive_cases(shares: dict[str, float]) -> pd.DataFrame:
    """A table of cases, two a patient: half of them women of 40 and 60 years, and a PA; the others tell nothing."""
    splits = [split for split, size in SIZES.items() for _ in range(size)]
    rows = pd.DataFrame({"split": splits})
    number, within = rows.index.to_series(), rows.groupby("split").cumcount()
    told = number % 2 == 0
    made = rows.assign(
        row=number,
        case="c" + number.astype(str),
        patient="p" + (number // 2).astype(str),
        **dict.fromkeys(("study", "site", "pixels"), ""),
        file="a.png",
        sex=told.map({True: "F", False: ""}),
        age=(40.0 + 20.0 * (number % 4 == 0)).where(told),
        view=told.map({True: "PA", False: ""}),
    )
    sizes = rows["split"].map(SIZES)
    bears = {f"target:{label}": (within < (share * sizes).round()).astype(float) for label, share in shares.items()}
    return made.assign(**bears)


def _write_archive(folder: Path, shares: dict[str, float]) -> None:
    counts = [
        {
            "label": label,
            "split": split,
            "positives": round(share * cases),
            "negatives": cases - round(share * cases),
            "unknown": 0,
            "positive_patients": round(share * cases) // 2,
            "negative_patients": cases // 2,
        }
        for label, share in shares.items()
        for split, cases in SIZES.items()
    ]
    LABELS.write(pd.DataFrame(counts), folder / "labels.parquet")
    CASES.write(archive_cases(shares), folder / "cases.parquet")
    _write_rejects(folder, 2)


def _write_rejects(folder: Path, many: int) -> None:
    rows = [{"case": f"b{number}", "file": f"b{number}.png", "reason": "truncated file"} for number in range(many)]
    REJECTS.write(pd.DataFrame(rows, columns=["case", "file", "reason"]), folder / "rejects.parquet")
