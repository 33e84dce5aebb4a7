"""Published weights: a checkpoint matched with a network under its layout, and what would match better."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.fingerprints import sha256
from headwater.core.records import Record
from headwater.models import backbones, checkpoint_files, nearest_layout, weight_coverage
from headwater.models.encoder import Encoder
from headwater.models.weight_coverage import Coverage
from headwater.models.weight_files import save_weights
from headwater.study.source import Source

SHOWN = 2
"""So many names are shown where none matches."""


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """A source's checkpoint, the network that it is to fill, and how much of it is filled."""

    source: Source
    tensors: dict[str, Tensor]
    """As the checkpoint names them."""
    network: Encoder

    @property
    def layout(self) -> str:
        """The layout that the source names."""
        return self.source.weights.layout.name

    @property
    def options(self) -> Record:
        """How the checkpoint differs from the layout."""
        return registry.chosen("weights", self.source.weights.layout)

    @property
    def name(self) -> str:
        """The checkpoint's file, or the network whose library fetches it."""
        return self.source.weights.path or self.source.backbone

    @cached_property
    def coverage(self) -> Coverage:
        """What the checkpoint fills under the source's layout and options."""
        coverage = self._matching(patch=self.options.patch)(self.layout, self.options.prefix)
        # a network may differ from the one whose weights are published, whoever publishes them
        footnote = getattr(registry.load("backbones", self.source.backbone.partition("/")[0]), "FOOTNOTE", "")
        coverage.footnotes += [footnote] if footnote else []
        return coverage

    @property
    def enough(self) -> bool:
        """Whether as much of the network is filled as the source demands."""
        return bool(self.coverage.tensors) and self.coverage.share >= self.source.weights.coverage

    @cached_property
    def origin(self) -> dict[str, str]:
        """Which checkpoint was read, by its fingerprint, and whose it is."""
        file, card = self.source.weights.path, registry.load("weights", self.layout).CARD
        fingerprint = sha256(Path(file)) if file else "fetched by its library"
        return {
            "file": file,
            "sha256": fingerprint,
            "layout": self.layout,
            "title": card.title,
            "licence": card.licence,
        }

    def report(self) -> dict[str, Any]:
        """What became of each tensor, and where it came from."""
        named = {"source": self.source.name, "backbone": self.source.backbone, "file": self.source.weights.path}
        return {**named, **self.coverage.report(), "origin": self.origin}

    def too_little(self, report: Path) -> UserError:
        """The refusal of weights that fill too little; `report` lists every tensor."""
        demanded = f"{100 * self.source.weights.coverage:g} %"
        return UserError(
            f"coverage {self.coverage.summary()} is below {demanded}{self._names()}",
            file=self.name,
            remedy=self._remedy(report),
        )

    def write(self, path: Path) -> None:
        """Write the network with the loaded tensors, and in its metadata the names of those that stayed as drawn."""
        drawn = self.network.backbone.state_dict()
        self.network.backbone.load_state_dict({**drawn, **self.coverage.tensors})
        summary = {
            "share": self.coverage.share,
            "unfilled": [*self.coverage.missing, *self.coverage.mismatched],
        } | ({"footnotes": self.coverage.footnotes} if self.coverage.footnotes else {})
        metadata = {
            **self.network.metadata(),
            "source": self.source.as_json(),
            "digest": self.source.digest,
            "coverage": json.dumps(summary),
            "origin": json.dumps(self.origin, sort_keys=True),
        }
        save_weights(self.network.tensors(), path, metadata)

    def _names(self) -> str:
        """Some names of either side, where none of the checkpoint's found its place."""
        if self.coverage.tensors or self.coverage.mismatched:
            return ""
        theirs, ours = (", ".join(list(names)[:SHOWN]) for names in (self.tensors, self.coverage.expected))
        return f": the file has {theirs}, ...; the network asks for {ours}, ..."

    def _remedy(self, report: Path) -> str:
        """The prefix, layout or treatment of the patches that would fill more, if any would."""
        best = nearest_layout.layout(
            self.tensors,
            chosen=self.layout,
            backbone=self.source.backbone,
            expected=self.coverage.expected,
            match=self._matching(patch=self.options.patch),
        )
        if best is not None and best.share > self.coverage.share:
            prefix = f"set prefix: {best.prefix}" if best.prefix else "leave prefix out"
            if best.layout == self.layout:
                return prefix
            further = f" then {prefix}" if best.prefix != self.options.prefix else ""
            return f"did you mean layout: {best.layout}?{further}"
        resampled = self._matching(patch="resample")(self.layout, self.options.prefix)
        if resampled.share > self.coverage.share:
            return "use a backbone whose patches are as large as the checkpoint's, or set patch: resample"
        return f"check backbone, layout and wrapper; {report} lists every tensor"

    def _matching(self, *, patch: str) -> Callable[[str, str], Coverage]:
        """A function that says what the checkpoint fills under a layout and a prefix."""
        resamplers = {"resample": self.network.resample}
        resamplers |= {"resample_patch": self.network.resample_patch} if patch == "resample" else {}
        expected = self.network.expected()

        def match(name: str, prefix: str) -> Coverage:
            layout = registry.load("weights", name)
            return weight_coverage.match(
                self.tensors, expected=expected, layout=layout, prefix=prefix, file=self.name, **resamplers
            )

        return match


def read(source: Source, *, size: int) -> PublishedWeights:
    """The checkpoint of a source, and its network for images of `size` pixels."""
    if source.weights is None:
        raise UserError(f"source {source.name!r} has no weights", remedy="give it weights, or leave adopt out")
    if source.misfit:
        raise UserError(f"source {source.name!r}: {source.misfit}", remedy="name a layout and a backbone of one kind")
    tensors, metadata = _tensors(source)
    mean, std = _normalisation(source, metadata)
    network = backbones.build(source.backbone, size=size, mean=mean, std=std, seed=source.seed)
    return PublishedWeights(source=source, tensors=tensors, network=network)


def _tensors(source: Source) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors, metadata) of the source's checkpoint file, or of its library's hub where it names none."""
    if source.weights.path:
        wrapper = registry.chosen("weights", source.weights.layout).wrapper
        return checkpoint_files.read(Path(source.weights.path), wrapper=wrapper)
    layout = registry.load("weights", source.weights.layout.name)
    if not hasattr(layout, "download"):
        raise UserError(
            f"sources.{source.name}.weights: {source.weights.layout.name} weights cannot be fetched by themselves",
            remedy=f"download the file from {layout.CARD.where} and set path",
        )
    return layout.download(source.backbone), {}


def _normalisation(source: Source, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of the options, else those of the layout."""
    options = registry.chosen("weights", source.weights.layout)
    if options.mean and options.std:
        return options.mean, options.std
    mean, std = registry.load("weights", source.weights.layout.name).normalisation(source.backbone, metadata)
    return options.mean or mean, options.std or std
