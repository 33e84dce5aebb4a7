"""Config copy: the jobs of a plan work by the config as it was when the plan was made, whatever is edited meanwhile.

On a cluster each job reads the Snakefile again. It is given the copy instead of the file that people edit.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from headwater.core import files
from headwater.core.errors import UserError

KEY = "copy_of_config"
"""The only entry of the config that a job on a cluster is given: the file of the copy."""

IN_FORCE = "in_force"
"""The file with the digest of the plan whose jobs may run."""

LENGTH = 8
"""Hex digits of a digest."""


def keep(config: dict[str, Any], folder: Path) -> Path:
    """Write the copy of a config, whose plan is now in force; gives its file, which is named by a digest."""
    # a date, which JSON does not have, is written as it stands in YAML; the order of entries is that of tables
    content = json.dumps(config, indent=2, default=str)
    digest = hashlib.sha256(content.encode()).hexdigest()[:LENGTH]
    copy = folder / f"{digest}.json"
    files.write_text(content + "\n", copy)
    files.write_text(digest + "\n", folder / IN_FORCE)
    return copy


def for_jobs(copy: Path) -> list[str]:
    """The words after `--config` that give a job the copy."""
    return [f"{KEY}={copy}"]


def in_job(config: dict[str, Any]) -> dict[str, Any]:
    """The config by which a job works: the copy that it was given, whose plan must be in force, or else `config`."""
    if KEY not in config:
        return config
    copy = Path(config[KEY])
    if not copy.is_file():
        raise UserError("the config by which this job was planned is gone", file=copy, remedy="start snakemake again")
    file = copy.with_name(IN_FORCE)
    in_force = file.read_text().strip() if file.exists() else "none"
    if copy.stem != in_force:
        raise UserError(
            f"this job belongs to plan {copy.stem}, but the config was edited and plan {in_force} is in force",
            file=file,
            remedy="nothing is written; the Snakemake of that plan starts its own jobs",
        )
    return files.read_json(copy)
