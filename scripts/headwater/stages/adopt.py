"""Adopt: published weights are translated to the network's parameter names, with a report on every tensor."""

from pathlib import Path

from headwater.core.files import write_json
from headwater.models import published_weights
from headwater.study import paths
from headwater.study.archive import sized
from headwater.study.source import Source


def adopt(*, source: Source, size: list[int], encoder: Path, coverage: Path) -> None:
    """Write a source's published weights as an encoder for images of `size` pixels, and the coverage report.

    Of volumes SIZE are the three sides of what is seen of them. Refuses a coverage below the source's minimum; the
    report is printed and kept even then.
    """
    weights = published_weights.read(source, size=sized(size))
    write_json(weights.report(), coverage)
    print(f"{source.name}: {weights.name} in {source.backbone}\n{weights.coverage.table()}", flush=True)
    if not weights.enough:
        # Snakemake deletes the outputs of a failed job; this copy stays
        refused = paths.refused(coverage)
        write_json(weights.report(), refused)
        raise weights.too_little(refused)
    weights.write(encoder)
    print(f"coverage {weights.coverage.summary()}", flush=True)
