"""The inputs of a number as a tree: comparison, cases, splits, predictions, models, encoders and weights."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError, safe_open

from headwater.core import files as core_files
from headwater.core.errors import UserError
from headwater.core.fingerprints import NOT_RECORDED, RANDOM, short
from headwater.data import cards, dropping, splits, store
from headwater.data.tables import read_origin, refuse_changed
from headwater.reporting import prose
from headwater.reporting.trace_number import Number
from headwater.reporting.trace_report import AS_RECORDED, CHANGED, GONE, Report
from headwater.study import config as study_config
from headwater.study.folds import Fold
from headwater.study.source import Source

FIT_KINDS = {"encoder": dict, "score": int | float}
"""What entries of fit.json hold that are looked into; any may be null."""


@dataclass
class Node:
    """A line of the tree, and the nodes that it was made from."""

    text: str
    made_from: list["Node"] = field(default_factory=list)


def tree(number: Number, report: Report, *, file: Path, config: Path | None) -> Node:
    """The number with all its inputs."""
    compared = Path(report.paths.compared(number.dataset, number.product))
    recorded = report.record["comparisons"].get(compared.name, NOT_RECORDED)
    sources = [source for source in report.grid.sources if source.name in set(number.runs["source"])]
    return Node(
        f"{number.title}: {report.compared(file, report.record['tables'].get(file.name, NOT_RECORDED))}",
        [
            *(Node(line) for line in number.lines if line),
            Node(_of_config(report, config)),
            Node(
                report.line("comparison", compared, recorded),
                [
                    *(_cases(report, name, runs=number.runs) for name in _datasets(number)),
                    *(_source(report, source, number.runs) for source in sources),
                ],
            ),
        ],
    )


def _datasets(number: Number) -> list[str]:
    """The tested dataset, then those that networks were fitted to."""
    return list(dict.fromkeys([number.dataset, *sorted(number.runs["dataset"])]))


def _of_config(report: Report, config: Path | None) -> str:
    """The digest of the grid, and whether the config still has the same."""
    digest = report.record["config"]
    if config is None:
        return f"config: grid {digest}"
    now = study_config.read(config).grid().digest
    report.checked[config] = state = AS_RECORDED if now == digest else CHANGED
    return f"config: {config}: grid {now} {state}"


def _cases(report: Report, dataset: str, *, runs: pd.DataFrame) -> Node:
    """The cases of a dataset, their archive and their splits."""
    told = report.grid.dataset(dataset)
    archive, file = told.archive, Path(report.paths.cases(told.archive))
    line = report.line(f"cases of {dataset}", file, report.record["cases"].get(archive, NOT_RECORDED))
    # guests record the splits of the dataset that they were fitted to, so only runs of this dataset count
    own = runs[runs["dataset"] == dataset]
    made_from = [_archive(report, archive)]
    for part in told.parts:
        of_part = own[own["run"].str.startswith(f"{part.name}/")]
        recorded = sorted(set(of_part["split"]))
        made_from.append(_splits(report, archive, recorded[0] if len(recorded) == 1 else "", fold=part.fold))
    return Node(line, [*made_from, _images(report, archive, table=file)])


def _archive(report: Report, name: str) -> Node:
    """The description and licence of an archive."""
    archive = report.grid.archive(name)
    card = cards.card(archive)
    return Node(f"archive {name}: {prose.about(archive)}; licence: {card.licence}")


def _splits(report: Report, archive: str, recorded: str, *, fold: Fold | None = None) -> Node:
    """The current digest of an archive's splits, or of those of a fold, and whether it is that of the runs."""
    what = "splits" if fold is None else f"splits of fold {fold.number}"
    file = Path(report.paths.cases(archive))
    dropped = dropping.list_of(archive, grid=report.grid, results=report.paths.results)
    if not file.is_file() or (dropped and not dropped.is_file()):
        return Node(f"{what}: {short(recorded)} {GONE}")
    try:
        now = splits.digests(store.read_cases(file, dropped=dropped, fold=fold))[splits.ALL]
    except UserError as refusal:
        # the line of the file itself reports the change; this one gives the reason why it cannot be read
        return Node(f"{what}: {refusal}")
    unknown = recorded in ("", NOT_RECORDED)
    state = NOT_RECORDED if unknown else AS_RECORDED if now == recorded else CHANGED
    if state == CHANGED:
        report.checked[file] = CHANGED
    return Node(f"{what}: {short(now)} {state}")


def _images(report: Report, archive: str, *, table: Path) -> Node:
    """Whether the prepared images are those whose digests stand in the table of cases."""
    file = Path(report.paths.images(report.grid.images_of(archive)))
    if not file.is_file() or not table.is_file():
        return Node(f"images: {file}: {GONE}")
    try:
        refuse_changed(table)
    except UserError:
        # the line of the table reports the change
        return Node(f"images: {file}: not checked, as their digests stand in {table}")
    try:
        store.check_images(file, table=table)
        state = AS_RECORDED
    except UserError as refusal:
        state = f"{CHANGED} ({refusal.nameless or refusal})"
    report.checked[file] = state.split(" (")[0]
    return Node(f"images: {file}: {state}")


def _source(report: Report, source: Source, runs: pd.DataFrame) -> Node:
    """A source's weights, and its runs of all seeds."""
    own = runs[runs["source"] == source.name].sort_values(["dataset", "recipe", "seed"], kind="stable")
    recorded = sorted(set(own["encoder"]))
    origin = _encoder(report, source.original, recorded[0] if len(recorded) == 1 else "")
    trained = [_run(report, files) for _, files in own.groupby("run", sort=False)]
    return Node(f"source {source.name}", [origin, *trained])


def _run(report: Report, files: pd.DataFrame) -> Node:
    """One run: its predictions, and its model."""
    first = next(files.itertuples())
    folder = Path(report.paths.run(first.run))
    fit = _fit(report, Path(report.paths.fit(first.run)), first)
    model = Node(report.line("model", Path(report.paths.model(first.run)), first.model), fit)
    predicted = [
        Node(report.line(Path(row.file).stem, folder / row.file, row.predictions)) for row in files.itertuples()
    ]
    return Node(f"run {first.run} (record {first.record})", [*predicted, model])


def _fit(report: Report, file: Path, run: Any) -> list[Node]:
    """The record of how a model was fitted."""
    if not file.is_file():
        report.checked[file] = GONE
        return [Node(f"fit: {file}: {GONE}")]
    fit = core_files.read_record(file)
    odd = [name for name, kind in FIT_KINDS.items() if not isinstance(fit.get(name), kind | None)]
    if odd:
        raise UserError(f"{odd[0]} is not as finetune writes it", file=file, remedy=core_files.MADE_AGAIN)
    archive = report.grid.dataset(run.dataset).archive
    recorded = {"model": run.model, "split": run.split, "cases": report.record["cases"].get(archive, NOT_RECORDED)}
    # products of earlier versions may lack a fingerprint, which then cannot be compared
    comparable = {name: fit[name] for name in recorded if name in fit and recorded[name] != NOT_RECORDED}
    other = [name for name in comparable if comparable[name] != recorded[name]]
    report.checked[file] = agrees = CHANGED if other else AS_RECORDED if comparable else NOT_RECORDED
    score = "" if fit.get("score") is None else f" {fit['score']:.4f}"
    drawn = (fit.get("encoder") or {}).get("drawn_under")
    first = f"; first weights drawn under {drawn}" if drawn is not None else ""
    kept = f"step {fit.get('kept_step')} of {fit.get('steps')} kept by validation {fit.get('selected_by')}{score}"
    return [Node(f"fit: {file}: {agrees}: {kept}{first}")]


def _encoder(report: Report, source: Source, recorded: str) -> Node:
    """The weights of a source, and their inputs."""
    if source.kind == "random":
        return Node(f"weights: {RANDOM}, drawn anew for each seed")
    file = Path(report.paths.encoder(source.name))
    return Node(report.line("encoder", file, recorded), list(_learned(report, source, metadata_of(file))))


def metadata_of(file: Path) -> dict[str, Any]:
    """What an encoder's file says of its source, origin, coverage and probe; empty if it is gone or damaged."""
    try:
        with safe_open(file, framework="numpy") as opened:
            metadata = opened.metadata() or {}
        wanted = ("source", "origin", "coverage", "probe")
        told = {name: json.loads(metadata[name]) for name in wanted if name in metadata}
    except (OSError, ValueError, RecursionError, SafetensorError):
        return {}
    # the line of the file itself reports the change
    return {name: entries for name, entries in told.items() if isinstance(entries, dict)}


def _learned(report: Report, source: Source, metadata: dict[str, Any]) -> Iterator[Node]:
    """The inputs of an encoder: a weights file, or a corpus and first weights."""
    origin = metadata.get("origin", {})
    if source.kind == "adopted":
        card = f"{origin.get('title', source.weights.layout.name)}; licence: {origin.get('licence', NOT_RECORDED)}"
        loaded = loaded_share(metadata.get("coverage", {}))
        yield Node(f"adopted: {card}{loaded}", [_checkpoint(report, source, origin)])
        return
    kept = f", {origin['kept']} {prose.thing([report.grid.archive(source.corpus)])}s" if "kept" in origin else ""
    cases = Path(report.paths.cases(source.corpus))
    rows = Path(report.paths.rows(source.corpus, source.reduction))
    parts = [
        Node(
            report.line("cases", cases, origin.get("cases", NOT_RECORDED)),
            [
                _archive(report, source.corpus),
                _splits(report, source.corpus, origin.get("split", "")),
                _images(report, source.corpus, table=cases),
            ],
        ),
        Node(report.line("rows", rows, origin.get("rows", NOT_RECORDED)), list(_features(report, source, rows))),
    ]
    for key, probe in source.probes.items():
        probed, inner = Path(report.paths.cases(probe.archive)), [_archive(report, probe.archive)]
        what = "step chosen on" if key == "probe" else "also probed on"
        parts.append(Node(report.line(what, probed, origin.get(key, NOT_RECORDED)), inner))
    if source.start:
        parts.append(_encoder(report, report.grid.source(source.start), origin.get("start", NOT_RECORDED)))
    yield Node(f"pre-trained: {source.method.name} on {source.corpus} ({source.reduction}{kept})", parts)


def loaded_share(coverage: dict[str, Any]) -> str:
    """How much of a network was loaded, of its encoder and its decoder apart, and whether it was inflated."""
    if not isinstance(coverage.get("share"), float | int):
        return ""
    apart = ", ".join(
        f"{part} {_percent(coverage[part])}"
        for part in ("encoder", "decoder")
        if isinstance(coverage.get(part), float | int)
    )
    inflated = f"; inflated from {coverage['inflated']} slices" if "inflated" in coverage else ""
    return f"; {_percent(coverage['share'])} of the network loaded{f' ({apart})' if apart else ''}{inflated}"


def _percent(share: float) -> str:
    """A share rounded down, so that an incomplete one never reads 100 %."""
    return f"{int(share * 1000) / 10:g} %"


def _features(report: Report, source: Source, rows: Path) -> Iterator[Node]:
    """The features by which the images were chosen, if a reduction by features chose them."""
    looking = report.grid.looked_at_by(source.reduction)
    if looking is None:
        return
    file = Path(report.paths.features(source.corpus, looking))
    try:
        recorded = read_origin(rows).get("features", NOT_RECORDED)
    except UserError:
        # the line of the rows reports that they have changed or are gone
        recorded = NOT_RECORDED
    yield Node(report.line("features", file, recorded), [_encoder(report, report.grid.source(looking), "")])


def _checkpoint(report: Report, source: Source, origin: dict[str, Any]) -> Node:
    """The file that weights were read from."""
    if not source.weights.path:
        return Node("checkpoint: fetched by its library, which keeps no file for us")
    # provenance.json tells the file's name only; the encoder's own file, which is not shared, tells where it lies
    file = Path(str(origin.get("file", source.weights.path)))
    return Node(report.line("checkpoint", file, origin.get("sha256", NOT_RECORDED)))
