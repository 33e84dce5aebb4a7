"""Run ids: by which a training is known at a dashboard, so that no two studies write into each other's runs."""

import hashlib
import json

from headwater.study.config import Config
from headwater.study.grid import Run
from headwater.study.job_graph import JobGraph
from headwater.study.source import Source
from headwater.study.tracking import Tracking
from headwater.study.upstream import digests

DIGITS = 16
"""Hexadecimal digits of an id: among a million runs two are the same with a chance of 3e-8."""


def told(config: Config) -> Tracking:
    """The config's tracking with what jobs need for the ids; as it is where no service is to know them."""
    if not config.tracking.services:
        return config.tracking
    inputs = digests(JobGraph(config))
    return config.tracking.model_copy(update={"study": config.results, "inputs": inputs})


def of_training(record: Run | Source, *, tracking: Tracking, content: str = "") -> str:
    """The id of a training: it follows from the study, the project, and all settings that the training depends on.

    `content` are the fingerprints of the files that it reads, so that other data under the same settings is another
    run.
    """
    depends_on = {name: tracking.inputs.get(name, "") for name in _inputs_of(record)}
    return _id([tracking.study, tracking.project, record.as_json(), depends_on, content])


def of_study(tracking: Tracking) -> str:
    """The id of the run that holds a study's tables and figures."""
    return _id([tracking.study, tracking.project, "study"])


def _inputs_of(record: Run | Source) -> list[str]:
    if isinstance(record, Run):
        return [f"archive {record.dataset.archive}", f"source {record.source.original.name}"]
    return [f"source {record.name}"]


def _id(parts: list) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:DIGITS]
