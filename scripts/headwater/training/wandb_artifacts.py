"""W&B artifacts: encoders and the report's files as Weights & Biases keeps them, with what made and what used them.

Its server knows a file by its content: the same encoder, made by a pre-training and used by many trainings, is one
version of one artifact and is uploaded once.
"""

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from headwater.core import weights_digest
from headwater.core.errors import UserError
from headwater.core.fingerprints import sha256
from headwater.study.grid import Grid
from headwater.study.source import Source
from headwater.study.tracking import Tracking
from headwater.training import wandb_session

RELATIVE = "give `results` relative to the folder in which you start, or remove tracking.artifacts"

LONGEST_NAME = 128
"""Characters of a name that W&B takes."""


def encoder(path: Path, *, tracking: Tracking) -> Any | None:
    """The artifact of an encoder; none if the config asks for none, or if its weights were published by others."""
    if "encoders" not in tracking.artifacts:
        return None
    if not path.is_file():
        said = f"Weights & Biases: {path} is no longer there, so what used it is shown without it"
        print(said, file=sys.stderr, flush=True)
        return None
    metadata = weights_digest.metadata_of(path, remedy="delete it and run its rule again")
    source = json.loads(metadata["source"])
    if not source["method"]:
        # their licence is not ours to give
        return None
    told = {"source": source["name"], "backbone": source["backbone"], "method": source["method"]["name"]}
    return _artifact(
        name(tracking, source["name"]),
        kind="encoder",
        files=[path],
        metadata={**told, "settings": metadata["digest"], "sha256": sha256(path)},
    )


def kept(grid: Grid, *, tracking: Tracking) -> dict[str, str]:
    """The kinds of the artifacts of a study, by their names."""
    found = {}
    if "encoders" in tracking.artifacts:
        found |= {name(tracking, source.name): "encoder" for source in made_in(grid)}
    if "report" in tracking.artifacts:
        found[name(tracking, "report")] = "report"
    return found


def made_in(grid: Grid) -> list[Source]:
    """The sources that a study pre-trains."""
    return [source for source in grid.sources if source.method and not source.control]


def report(files: Iterable[Path], *, tracking: Tracking) -> Any:
    """The artifact of a report's files."""
    return _artifact(name(tracking, "report"), kind="report", files=files, metadata={})


def name(tracking: Tracking, what: str) -> str:
    """The name of an artifact: the study's name, and what it is."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", f"{tracking.study_name}-{what}")[:LONGEST_NAME]


def _artifact(name: str, *, kind: str, files: Iterable[Path], metadata: dict[str, str]) -> Any:
    artifact = wandb_session.library().Artifact(name, type=kind, metadata=metadata)
    for file in files:
        if file.is_absolute():
            # W&B keeps the path as it is given
            raise UserError("its folder would be told to Weights & Biases", file=file, remedy=RELATIVE)
        # W&B's copy of a file would have a path in the user's own folders
        artifact.add_file(str(file), name=file.name, policy="immutable", skip_cache=True)
    return artifact
