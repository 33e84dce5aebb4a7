"""Adopt: published weights brought into our spelling, with an account of every tensor, or not at all."""

from pathlib import Path

from headwater.core.files import write_json
from headwater.models import published_weights
from headwater.study import paths
from headwater.study.source import Source


def adopt(*, source: Source, size: int, encoder: Path, coverage: Path) -> None:
    """Write a source's published weights as an encoder for images of `size` pixels, and the report of what fitted.

    Refuses weights that fill less of the network than the source demands; the report is printed and kept even then.
    """
    weights = published_weights.read(source, size=size)
    write_json(weights.report(), coverage)
    print(f"{source.name}: {weights.name} in {source.backbone}\n{weights.coverage.table()}", flush=True)
    if not weights.enough:
        # Snakemake deletes what a failed job declared; this copy stays
        refused = paths.refused(coverage)
        write_json(weights.report(), refused)
        raise weights.too_little(refused)
    weights.write(encoder)
    print(f"coverage {weights.coverage.summary()}", flush=True)
