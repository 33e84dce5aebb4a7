"""Study run: one run at Weights & Biases that holds a study's tables, figures, page, plan and price."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from headwater.core import files
from headwater.core.records import plain, without_places
from headwater.core.timing import seconds
from headwater.reporting import artefacts, crate
from headwater.reporting.results import StudyResults
from headwater.reporting.trace_report import read_table
from headwater.study import run_ids
from headwater.study.grid import Grid
from headwater.study.paths import Paths, history, seconds_of_training
from headwater.study.tracking import Tracking
from headwater.training import wandb_artifacts, wandb_session
from headwater.training.wandb_session import Named, Session

FIGURES = ("forest", "roc")
"""How the names of the figures begin that are shown beside the tables."""

LEFT_OUT = ("characteristics",)
"""Tables that describe patients and not results; the page has them, where small groups are masked."""


def log(study: StudyResults, *, report: Path, tracking: Tracking) -> None:
    """Log what a report shows, from the files of its folder."""
    if tracking.wandb == "disabled":
        return
    wandb = wandb_session.library()
    spent = price(study)
    frames = tables(study.grid, report=report) | {"price": spent, "test_values": study.test_values}
    shown: dict[str, Any] = {f"figures/{file.stem}": wandb.Html(file.read_text()) for file in figures(report)}
    shown["page"] = wandb.Html((report / "index.html").read_text())
    folder = Path(study.paths.tracking())
    folder.mkdir(parents=True, exist_ok=True)
    session = wandb_session.begin(folder, named=named(tracking), config=plan_of(study.grid), tracking=tracking)
    code = 1
    try:
        for name, frame in frames.items():
            table = shown[f"tables/{name}"] = _table(wandb, frame)
            # else W&B makes an artifact of each table, whose manifest has the path of a file here
            table.bind_to_run(session.run, f"tables/{name}", session.run.step)
        session.run.log(shown)
        session.run.summary.update(summary(study, spent=spent))
        keep_files(session, study.grid, paths=study.paths, report=report, tracking=tracking)
        session.remove_former()
        code = 0
    finally:
        session.close(code)


def keep_files(session: Session, grid: Grid, *, paths: Paths, report: Path, tracking: Tracking) -> None:
    """Keep the report's files with the run, and tell which encoders they are about, as the config asks."""
    for source in wandb_artifacts.made_in(grid):
        if artifact := wandb_artifacts.encoder(Path(paths.encoder(source.name)), tracking=tracking):
            session.use(artifact)
    if "report" in tracking.artifacts:
        # the summary names a folder of this machine
        listed = json.loads((report / crate.NAME).read_text())["@graph"]
        files = [report / entity["name"] for entity in listed if entity["@type"] == "File"]
        session.run.log_artifact(wandb_artifacts.report([*files, report / crate.NAME], tracking=tracking))


def named(tracking: Tracking) -> Named:
    """How the run is known."""
    name = tracking.study_name
    return Named(identity=run_ids.of_study(tracking), name=name, group="study", job="study", tags=(name, "study"))


def plan_of(grid: Grid) -> dict[str, Any]:
    """The plan: all settings of the study, without folders of the user."""
    return {"plan": without_places(plain(grid))}


def tables(grid: Grid, *, report: Path) -> dict[str, pd.DataFrame]:
    """The tables of a report in full precision, by name."""
    names = [name for name, formats in artefacts.table_files(grid).items() if "csv" in formats]
    chosen = [name for name in names if not name.startswith(LEFT_OUT)]
    return {name: read_table(report / f"{name}.csv") for name in chosen}


def figures(report: Path) -> list[Path]:
    """The figures of a report that are shown."""
    return sorted(file for file in report.glob("*.svg") if file.name.startswith(FIGURES))


def price(study: StudyResults) -> pd.DataFrame:
    """A row per kind of training: jobs, and process-hours as the jobs have recorded them."""
    grid, paths = study.grid, study.paths
    spent = [("pretrain", source.name, _of_pretraining(paths, source.name)) for source in grid.sources if source.method]
    for dataset in grid.datasets:
        for run in grid.runs(dataset.name):
            fit = files.read_record(Path(paths.fit(run.path)))
            spent.append(("finetune", dataset.name, fit.get("seconds", 0.0) * fit.get("ranks", 1)))
    frame = pd.DataFrame(spent, columns=["job", "of", "seconds"]).groupby(["job", "of"], sort=False)["seconds"]
    counted = frame.agg(["size", "sum"]).reset_index()
    hours = counted["sum"] / 3600
    return pd.DataFrame({"job": counted["job"], "of": counted["of"], "jobs": counted["size"], "process_hours": hours})


def _of_pretraining(paths: Paths, source: str) -> float:
    file = seconds_of_training(Path(history(paths.encoder(source))))
    if not file.is_file():
        return 0.0
    return (seconds(file) or 0.0) * files.read_record(file).get("ranks", 1)


def summary(study: StudyResults, *, spent: pd.DataFrame) -> dict[str, float]:
    """The study in numbers."""
    rows = study.comparisons
    return {
        "comparisons": len(rows),
        "tested": int(rows["tested"].sum()),
        "significant": int(rows["significant"].fillna(False).astype(bool).sum()),
        "process_hours": float(spent["process_hours"].sum()),
    }


def _table(wandb: Any, frame: pd.DataFrame) -> Any:
    """A table of W&B; what is undefined is empty, as JSON has no NaN."""
    cells = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    return wandb.Table(columns=[str(name) for name in frame.columns], data=cells, allow_mixed_types=True)
