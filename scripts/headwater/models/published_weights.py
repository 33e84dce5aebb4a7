"""Published weights: a checkpoint loaded into a network under its layout, and what to change if it does not fit."""

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
from headwater.models.encoder import Encoder, Size
from headwater.models.inflation import Inflation
from headwater.models.weight_coverage import Coverage
from headwater.models.weight_files import save_weights
from headwater.study.source import Source

SHOWN = 2
"""How many parameter names of each side an error shows when none matches."""


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """A source's checkpoint, the network to load it into, and the coverage."""

    source: Source
    tensors: dict[str, Tensor]
    """The checkpoint's tensors under its own names."""
    network: Encoder
    inflation: Inflation | None = None
    """How the checkpoint's network of slices becomes one of volumes, if the source says so."""

    @property
    def layout(self) -> str:
        """The layout in the source's config."""
        return self.source.weights.layout.name

    @property
    def options(self) -> Record:
        """The options of the layout in the source's config."""
        return registry.chosen("weights", self.source.weights.layout)

    @property
    def name(self) -> str:
        """The checkpoint's file, or the network whose library downloads it."""
        return self.source.weights.path or self.source.backbone

    @cached_property
    def coverage(self) -> Coverage:
        """The coverage of the network under the source's layout and options."""
        coverage = self._matching(patch=self.options.patch)(self.layout, self.options.prefix)
        # a footnote of the backbone concerns all published weights, whatever their layout
        footnote = getattr(registry.load("backbones", self.source.backbone.partition("/")[0]), "FOOTNOTE", "")
        coverage.footnotes += [footnote] if footnote else []
        of_layout = registry.constant("weights", self.layout, "FOOTNOTE", default="")
        coverage.footnotes += [of_layout] if of_layout else []
        if coverage.inflated:
            coverage.footnotes.append(
                f"weights of {self.inflation.plane} slices inflated to volumes: kernels repeated along the depth and "
                "divided by their extent (arXiv 1705.07750, section 2.2), colours summed"
            )
        return coverage

    @property
    def enough(self) -> bool:
        """Whether the coverage reaches the source's minimum, of what the layout's files hold."""
        return bool(self.coverage.tensors) and self.share >= self.source.weights.coverage

    @property
    def share(self) -> float:
        """The share of the network's parameters that were loaded; of its encoder alone where files hold no decoder."""
        encoder_only = registry.constant("weights", self.layout, "ENCODER_ONLY", default=False)
        return self.coverage.parts["encoder"]["share"] if encoder_only else self.coverage.share

    @cached_property
    def origin(self) -> dict[str, str]:
        """The checkpoint's file, fingerprint, layout, title and licence."""
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
        """The coverage report: how each tensor was loaded or why not, and the checkpoint's origin."""
        names = {"source": self.source.name, "backbone": self.source.backbone, "file": self.source.weights.path}
        return {**names, **self.coverage.report(), "origin": self.origin}

    def too_little(self, report: Path) -> UserError:
        """The error for a coverage below the minimum; `report` is the file that lists every tensor."""
        minimum = self.source.weights.coverage
        # nothing is too little even where nothing is demanded
        short = f"is below {100 * minimum:g} %" if minimum else "loads nothing"
        return UserError(
            f"coverage {self.coverage.summary()} {short}{self._names()}",
            file=self.name,
            remedy=self._remedy(report),
        )

    def write(self, path: Path) -> None:
        """Save the network; its metadata name the tensors that were not loaded and keep their random weights."""
        initial = self.network.backbone.state_dict()
        self.network.backbone.load_state_dict({**initial, **self.coverage.tensors})
        summary = {
            "share": self.coverage.share,
            **({part: found["share"] for part, found in self.coverage.parts.items()} if self.coverage.decoder else {}),
            **({"inflated": self.inflation.plane} if self.coverage.inflated else {}),
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
        """Example parameter names of the file and of the network, if none matches."""
        if self.coverage.tensors or self.coverage.mismatched:
            return ""
        in_file, expected = (", ".join(list(names)[:SHOWN]) for names in (self.tensors, self.coverage.expected))
        return f": the file has {in_file}, ...; the network expects {expected}, ..."

    def _remedy(self, report: Path) -> str:
        """The prefix, layout or patch option that would raise the coverage, if there is one."""
        best = nearest_layout.layout(
            self.tensors,
            chosen=self.layout,
            backbone=self.source.backbone,
            dimensions=2 if self.inflation else self.source.dimensions,
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
        """A function that gives the coverage under a layout and a prefix."""
        resamplers = {"resample": self.network.resample}
        resamplers |= {"resample_patch": self.network.resample_patch} if patch == "resample" else {}
        expected, decoder = self.network.expected(), backbones.decoder(self.source.backbone)
        inflate = self.inflation.inflated if self.inflation else None

        def match(name: str, prefix: str) -> Coverage:
            layout = registry.load("weights", name)
            return weight_coverage.match(
                self.tensors,
                expected=expected,
                layout=layout,
                prefix=prefix,
                inflate=inflate,
                decoder=decoder,
                file=self.name,
                **resamplers,
            )

        return match


def read(source: Source, *, size: Size) -> PublishedWeights:
    """The checkpoint of a source, and its network for images of `size` pixels."""
    if source.weights is None:
        raise UserError(f"source {source.name!r} has no weights", remedy="give it weights, or leave adopt out")
    if source.misfit:
        raise UserError(
            f"source {source.name!r}: {source.misfit}", remedy="choose a layout and a backbone of the same kind"
        )
    tensors, metadata = _tensors(source)
    normalisation = _normalisation(source, metadata)
    plane = source.weights.inflate
    mean, std = Inflation(plane=plane, slices=normalisation).volumes if plane else normalisation
    drawn = {"seed": source.seed, "zero_residual": source.initialisation == "zero_residual"}
    if orientation := _orientation(source, metadata):
        drawn["orientation"] = orientation
    network = backbones.build(source.backbone, size=size, mean=mean, std=std, **drawn)
    grid = getattr(getattr(network.backbone, "patch_embed", None), "grid_size", None)
    inflation = Inflation(plane=plane, slices=normalisation, grid=grid) if plane else None
    return PublishedWeights(source=source, tensors=tensors, network=network, inflation=inflation)


def _tensors(source: Source) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors, metadata) of the source's checkpoint file, or from its library's hub if no path is set."""
    layout = registry.load("weights", source.weights.layout.name)
    if source.weights.path:
        file, options = Path(source.weights.path), registry.chosen("weights", source.weights.layout)
        tensors, metadata = checkpoint_files.read(file, wrapper=options.wrapper)
        if hasattr(layout, "check"):
            # weights that are inflated, or whose patches are resampled, are those of another network
            other = source.weights.inflate or options.patch == "resample"
            layout.check(file, metadata, options=options, backbone="" if other else source.backbone)
        return tensors, metadata
    # of a network of volumes that is to be inflated, the library has nothing
    if not hasattr(layout, "download") or source.weights.inflate:
        raise UserError(
            f"sources.{source.name}.weights: {source.weights.layout.name} weights cannot be downloaded automatically",
            remedy=f"download the file from {layout.CARD.where} and set path",
        )
    return layout.download(source.backbone), {}


def _orientation(source: Source, metadata: dict[str, str]) -> str | None:
    """The axes on which the weights were trained: the layout's, or those that a file by headwater names."""
    return registry.constant("weights", source.weights.layout.name, "ORIENTATION", default=metadata.get("orientation"))


def _normalisation(source: Source, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) from the options, or else from the layout."""
    options = registry.chosen("weights", source.weights.layout)
    if options.mean and options.std:
        return options.mean, options.std
    mean, std = registry.load("weights", source.weights.layout.name).normalisation(source.backbone, metadata)
    return options.mean or mean, options.std or std
