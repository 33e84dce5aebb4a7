"""Adopt: published weights brought into our spelling, with an account of every tensor, or not at all."""

import json
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.files import write_json
from headwater.core.fingerprints import sha256
from headwater.models import backbones
from headwater.models.backbones._encoder import Encoder
from headwater.models.weights import _coverage, _files, _nearest
from headwater.models.weights._coverage import Coverage
from headwater.study import paths
from headwater.study.source import Source
from headwater.training import checkpoint

SHOWN = 2
"""So many names are shown where none fits."""


def adopt(*, source: Source, size: int, encoder: Path, coverage: Path) -> None:
    """Write a source's published weights as an encoder for images of `size` pixels, and the report of what fitted.

    Refuses weights that fill less of the network than the source demands; the report is printed and kept even then.
    """
    if source.weights is None:
        raise UserError(f"source {source.name!r} has no weights", remedy="give it weights, or leave adopt out")
    if source.misfit:
        raise UserError(f"source {source.name!r}: {source.misfit}", remedy="name a layout and a backbone of one kind")
    found, metadata = _found(source)
    mean, std = _normalisation(source, metadata)
    network = backbones.build(source.backbone, size=size, mean=mean, std=std, seed=source.seed)
    options = registry.chosen("weights", source.weights.layout)
    covered = _matching(found, network=network, patch=options.patch)(source.weights.layout.name, options.prefix)
    covered.footnotes += _differing(source.backbone)
    named = {"source": source.name, "backbone": source.backbone, "file": source.weights.path}
    report = {**named, **covered.report(), "origin": _origin(source)}
    write_json(report, coverage)
    print(
        f"{source.name}: {source.weights.path or source.backbone} in {source.backbone}\n{covered.table()}", flush=True
    )
    if covered.share < source.weights.coverage or not covered.tensors:
        # Snakemake deletes what a failed job declared; this copy stays
        refused = paths.refused(coverage)
        write_json(report, refused)
        raise UserError(
            f"coverage {covered.summary()} is below {100 * source.weights.coverage:g} %{_met(found, covered)}",
            file=source.weights.path or source.backbone,
            remedy=_remedy(source, found=found, covered=covered, network=network, report=refused),
        )
    _write(network, covered=covered, source=source, path=encoder)
    print(f"coverage {covered.summary()}", flush=True)


def _differing(backbone: str) -> list[str]:
    """In what a network is not quite the one whose weights are published, whoever publishes them."""
    footnote = getattr(registry.load("backbones", backbone.partition("/")[0]), "FOOTNOTE", "")
    return [footnote] if footnote else []


def _met(found: dict[str, Tensor], covered: Coverage) -> str:
    """Which names met which, where none of a checkpoint's found its place."""
    if covered.tensors or covered.mismatched:
        return ""
    theirs, ours = (", ".join(list(names)[:SHOWN]) for names in (found, covered.expected))
    return f": the file has {theirs}, ...; the network asks for {ours}, ..."


def _matching(found: dict[str, Tensor], *, network: Encoder, patch: str) -> Callable[[str, str], Coverage]:
    """What tells how much of the network the tensors fill under a layout and a prefix."""
    resamplers = {"resample": network.resample}
    resamplers |= {"resample_patch": network.resample_patch} if patch == "resample" else {}
    expected = network.expected()

    def match(name: str, prefix: str) -> Coverage:
        layout = registry.load("weights", name)
        return _coverage.match(found, expected=expected, layout=layout, prefix=prefix, **resamplers)

    return match


def _found(source: Source) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors, metadata) of the source's checkpoint file, or of its library's hub where it names none."""
    if source.weights.path:
        return _files.read(Path(source.weights.path), wrapper=registry.chosen("weights", source.weights.layout).wrapper)
    layout = registry.load("weights", source.weights.layout.name)
    if not hasattr(layout, "download"):
        raise UserError(
            f"sources.{source.name}.weights: {source.weights.layout.name} weights cannot be fetched by themselves",
            remedy=f"download the file from {layout.CARD.where} and set path",
        )
    return layout.download(source.backbone), {}


def _origin(source: Source) -> dict[str, str]:
    """Which checkpoint was read, by its fingerprint, and whose it is."""
    layout, file = source.weights.layout.name, source.weights.path
    card = registry.load("weights", layout).CARD
    fingerprint = sha256(Path(file)) if file else "fetched by its library"
    return {"file": file, "sha256": fingerprint, "layout": layout, "title": card.title, "licence": card.licence}


def _normalisation(source: Source, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) that the options say, else those of the layout."""
    options = registry.chosen("weights", source.weights.layout)
    if options.mean and options.std:
        return options.mean, options.std
    mean, std = registry.load("weights", source.weights.layout.name).normalisation(source.backbone, metadata)
    return options.mean or mean, options.std or std


def _remedy(source: Source, *, found: dict[str, Tensor], covered: Coverage, network: Encoder, report: Path) -> str:
    """The prefix, layout or treatment of the patches that would fill more, if any would."""
    layout, options = source.weights.layout.name, registry.chosen("weights", source.weights.layout)
    match = _matching(found, network=network, patch=options.patch)
    best = _nearest.layout(found, chosen=layout, backbone=source.backbone, expected=covered.expected, match=match)
    if best is not None and best.share > covered.share:
        prefix = f"set prefix: {best.prefix}" if best.prefix else "leave prefix out"
        if best.layout == layout:
            return prefix
        return f"did you mean layout: {best.layout}?" + (f" then {prefix}" if best.prefix != options.prefix else "")
    if _matching(found, network=network, patch="resample")(layout, options.prefix).share > covered.share:
        return "use a backbone whose patches are as large as the checkpoint's, or set patch: resample"
    return f"check backbone, layout and wrapper; {report} lists every tensor"


def _write(network: Encoder, *, covered: Coverage, source: Source, path: Path) -> None:
    """The network with the loaded tensors, and in its metadata the names of those that stayed as drawn."""
    own = network.backbone.state_dict()
    network.backbone.load_state_dict({**own, **covered.tensors})
    told = {"share": covered.share, "unfilled": [*covered.missing, *covered.mismatched]}
    told |= {"footnotes": covered.footnotes} if covered.footnotes else {}
    metadata = {
        **network.metadata(),
        "source": source.as_json(),
        "digest": source.digest,
        "coverage": json.dumps(told),
        "origin": json.dumps(_origin(source), sort_keys=True),
    }
    checkpoint.save_weights(network.tensors(), path, metadata)
