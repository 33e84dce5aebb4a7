"""Settings of a job: all that its products depend on besides the files that it reads, named as in its command."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headwater.core.records import plain
from headwater.study import lineage
from headwater.study.job_graph import JobGraph

Settings = dict[str, Any]
"""Values as JSON has them, by the names of the command's options."""


def of(graph: JobGraph, rule: str, wildcards: Mapping[str, str]) -> Settings:
    """The settings of a job of the study."""
    return {name: plain(value) for name, value in SETTINGS[rule](graph, **wildcards).items()}


def written(graph: JobGraph, rule: str, wildcards: Mapping[str, str]) -> Path:
    """The product that stands for all of a job's: the first, or the folder of a rule that writes a folder."""
    if rule == "twin":
        return Path(graph.grid.archive(wildcards["archive"]).folder)
    return Path(graph.paths.report() if rule == "report" else graph.rules[rule].product.format_map(wildcards))


def _twin(graph: JobGraph, *, archive: str) -> Settings:
    record = graph.grid.archive(archive)
    return {"archive": record.kind.name, **record.twin.model_dump(mode="json")}


def _prepare(graph: JobGraph, *, archive: str) -> Settings:
    return {"archive": graph.grid.archive(archive)}


def _embed(graph: JobGraph, *, archive: str, source: str) -> Settings:
    return {"source": graph.looking_at(archive, source), **_patch(graph, archive, source)}


def _reduce(graph: JobGraph, *, archive: str, reduction: str) -> Settings:
    return {"reduction": graph.grid.reductions[reduction]}


def _encode(graph: JobGraph, *, source: str) -> Settings:
    return {"source": graph.grid.source(source), "size": graph.grid.size_of_encoder(source)}


def _patch(graph: JobGraph, archive: str, source: str) -> Settings:
    """The patch in which a source's networks see volumes; nothing for pictures."""
    size = graph.grid.size_of(archive, source=source)
    return {} if isinstance(size, int) else {"patch": list(size)}


def _finetune(graph: JobGraph, *, dataset: str, source: str, recipe: str, seed: str) -> Settings:
    archive = graph.grid.dataset(dataset).archive
    return {"run": graph.grid.run(dataset, source, recipe, seed), **_patch(graph, archive, source)}


def _predict(graph: JobGraph, *, dataset: str, source: str, recipe: str) -> Settings:
    told = graph.grid.dataset(dataset)
    wanted = {"write_outlines": True} if told.write_outlines else {}
    runs = [graph.grid.run(dataset, source, recipe, seed) for seed in graph.grid.seeds]
    return {"runs": runs, **_patch(graph, told.archive, source), **wanted}


def _transport(graph: JobGraph, *, dataset: str, source: str, recipe: str) -> Settings:
    runs = _predict(graph, dataset=dataset, source=source, recipe=recipe)
    runs.pop("write_outlines", None)
    return {**runs, "asked": graph.exchanges("abroad", dataset)}


def _compare(graph: JobGraph, *, dataset: str) -> Settings:
    return {"comparison": graph.grid.comparison(dataset), "records": graph.records(dataset)}


def _cross(graph: JobGraph, *, dataset: str) -> Settings:
    guests = {"records_elsewhere": graph.records_of_guests(dataset), "fitted_to": graph.exchanges("guests", dataset)}
    return {**_compare(graph, dataset=dataset), **guests}


def _examine(graph: JobGraph, *, dataset: str) -> Settings:
    settings = _compare if not graph.exchanged("guests", dataset) else _cross
    return settings(graph, dataset=dataset)


def _overlay(graph: JobGraph, *, dataset: str) -> Settings:
    told = graph.grid.dataset(dataset)
    return {**_compare(graph, dataset=dataset), "dataset": told, "patch": list(graph.grid.archive(told.archive).patch)}


SETTINGS = {
    "twin": _twin,
    "prepare": _prepare,
    "prepare_volumes": _prepare,
    "relabel": _prepare,
    "ledger": lambda graph: {"overlaps": lineage.overlaps(graph.grid)},
    "embed": _embed,
    "reduce": _reduce,
    "adopt": _encode,
    "pretrain": _encode,
    "finetune": _finetune,
    "predict": _predict,
    "transport": _transport,
    "compare": _compare,
    "examine": _examine,
    "cross": _cross,
    "overlay": _overlay,
    "report": lambda graph: {"grid": graph.grid},
}
"""The settings of each rule's jobs, given their wildcards; values may be records."""
