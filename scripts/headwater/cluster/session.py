"""What Snakemake does before the first job of a study, and after the last one."""

from pathlib import Path

from headwater.cluster import slurm
from headwater.core.errors import UserError
from headwater.study.job_graph import JobGraph


def begin(graph: JobGraph, *, local: bool, session: str | None) -> None:
    """Refuse trainings on several nodes where there is but this machine; end what a killed Snakemake has left."""
    config = graph.config
    trainings = [*config.sources.values(), *config.recipes.values()]
    nodes = max(config.compute.of(training.compute).nodes for training in trainings)
    if local and not slurm.own_number() and nodes > 1:
        raise UserError("trainings on several nodes need SLURM", remedy="set nodes: 1, or say --profile profiles/slurm")
    slurm.end_former(Path(graph.paths.sessions()), session=session)


def end(graph: JobGraph) -> None:
    """Delete the progress of finished trainings, as nothing is at work any more, and show the verdict."""
    products = graph.progress()
    for saved in map(str, Path(graph.paths.progress()).glob("*.pt")):
        if saved in products and Path(products[saved]).exists():
            Path(saved).unlink()
    summary = Path(graph.paths.summary())
    if summary.exists():
        print(summary.read_text())
