"""Upstream: digests of all settings from which the archives and encoders of a study are made."""

import hashlib
import json

from headwater.study import settings
from headwater.study.job_graph import JobGraph
from headwater.study.rules import PREPARED_BY

OF_ARCHIVES = {*PREPARED_BY.values(), "relabel"}
OF_ENCODERS = {"adopt", "pretrain"}


def digests(graph: JobGraph) -> dict[str, str]:
    """By `archive NAME` and `source NAME` the digest of the settings of the job that makes it and of all before it.

    A random start has none: it follows from the run's own record. The ledger counts only where a study drops what it
    finds.
    """
    by_product: dict[str, str] = {}
    by_name: dict[str, str] = {}
    for job in graph.upstream():
        if job.rule == "ledger" and not graph.grid.leaks.resolve:
            continue
        before = [by_product[need] for need in job.needs if need in by_product]
        content = [job.rule, settings.of(graph, job.rule, graph.named(job.rule, job.wildcards)), sorted(before)]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
        by_product[job.product] = digest
        if job.rule in OF_ARCHIVES:
            by_name[f"archive {job.wildcards[0]}"] = digest
        if job.rule in OF_ENCODERS:
            by_name[f"source {job.wildcards[0]}"] = digest
    return by_name
