"""Every job that `snakemake -n` plans for a shipped config, a line of JSON each: `python tests/golden_plan.py CONFIG`.

Empty files in a temporary folder stand in for the archives and checkpoints that the config expects; paths that are
absolute or lie above the checkout are made relative to that folder. To see what a change moves, print the jobs before
and after it and compare. Tables and checkpoints are not looked into, as `snakemake -n` does, because they are empty.
"""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from snakemake import api
from snakemake.settings import types

ROOT = Path(__file__).parent.parent

LABEL_FILES = {
    "chestxray14": ("Data_Entry_2017_v2020.csv", "train_val_list.txt", "test_list.txt"),
    "chexpert": ("train.csv", "valid.csv"),
    "covid_ct": tuple(
        f"Data-split/{label}/{part}CT_{label}.txt"
        for label in ("COVID", "NonCOVID")
        for part in ("train", "val", "test")
    ),
    "ct_ich": ("hemorrhage_diagnosis_raw_ct.csv", "patient_demographics.csv"),
    "fdg_petct": ("fdg_metadata.csv",),
    "lidc": ("LIDC-IDRI-0001/study/series/1-001.dcm",),
    "mimic_cxr": (
        *(f"mimic-cxr-2.0.0-{table}.csv.gz" for table in ("split", "metadata", "chexpert", "negbio")),
        "mimic-cxr-2.1.0-test-set-labeled.csv",
    ),
    "msd": ("imagesTr/hippocampus_001.nii.gz", "labelsTr/hippocampus_001.nii.gz"),
    "oai": ("contents.0E1.csv", "Enrollees.txt", "kxr_sq_bu00.txt"),
    "organsmnist": ("organsmnist.npz", "organsmnist_224.npz"),
    "own_folder": ("labels.csv",),
    "padchest": ("PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",),
    "rsna_ich": ("stage_2_train.csv",),
    "uka_cxr": ("uka_cxr.csv",),
    "vindr": ("annotations/image_labels_train.csv", "annotations/image_labels_test.csv"),
}
"""What must be there of an archive before its preparation can be planned."""

OF_THE_MACHINE = ("tmpdir", "_cores", "_nodes")
"""Resources that tell of the machine and not of the job."""

CORES = 64
"""So many that no job is given fewer than it asks for."""


def jobs(config: Path) -> list[dict[str, Any]]:
    """The jobs of a shipped config, by rule and first product."""
    content = below(yaml.safe_load(config.read_text()))
    with _elsewhere() as folder:
        for file in _expected(content):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        Path("config.yaml").write_text(yaml.safe_dump(content))
        found = [_told(job) for job in _planned(folder)]
    return sorted(found, key=lambda job: (job["rule"], job["output"]))


def below(content: dict[str, Any]) -> dict[str, Any]:
    """The config with all that it expects below the folder in which it is planned."""
    for archive in content["archives"].values():
        if "folder" in archive:
            archive["folder"] = archive["folder"].lstrip("./")
    for source in content["sources"].values():
        if "path" in source.get("weights", {}):
            source["weights"]["path"] = source["weights"]["path"].lstrip("./")
    return content


def _expected(content: dict[str, Any]) -> Iterator[Path]:
    """Files of archives that no rule makes, and checkpoints."""
    for name, archive in content["archives"].items():
        kind = archive.get("kind", name)
        if "folder" in archive and "twin" not in archive:
            files = LABEL_FILES[kind["name"] if isinstance(kind, dict) else kind]
            yield from (Path(archive["folder"], file) for file in files)
    for source in content["sources"].values():
        if "path" in source.get("weights", {}):
            yield Path(source["weights"]["path"])


@contextlib.contextmanager
def _elsewhere() -> Iterator[Path]:
    """A new folder to be in."""
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        yield Path(name)


def _planned(folder: Path) -> list[Any]:
    """Snakemake's own jobs."""
    # what Snakemake and the Snakefile print is no line of ours
    with contextlib.redirect_stdout(sys.stderr), patch("headwater.planning.preflight.check"):
        quiet = types.OutputSettings(dryrun=True, quiet={types.Quietness.ALL})
        with api.SnakemakeApi(quiet) as snakemake:
            workflow = snakemake.workflow(
                resource_settings=types.ResourceSettings(cores=CORES),
                config_settings=types.ConfigSettings(configfiles=[Path("config.yaml")]),
                snakefile=ROOT / "Snakefile",
                workdir=folder,
            )
            workflow.dag(types.DAGSettings()).execute_workflow(executor="dryrun")
            return list(workflow._workflow.dag.jobs)


def _told(job: Any) -> dict[str, Any]:
    """What a job is, less its command: how a rule calls its verb may change."""
    return {
        "rule": job.rule.name,
        "wildcards": dict(job.wildcards_dict),
        "output": list(map(str, job.output)),
        "input": list(map(str, job.input)),
        "params": {str(name): _plain(value) for name, value in job.params.items()},
        "log": list(map(str, job.log)),
        "benchmark": str(job.benchmark or ""),
        "threads": job.threads,
        "resources": {name: value for name, value in job.resources.items() if name not in OF_THE_MACHINE},
    }


def _plain(value: Any) -> Any:
    """A param as JSON can say it."""
    return (
        value
        if isinstance(value, int | float | None)
        else [*map(str, value)]
        if isinstance(value, list)
        else str(value)
    )


if __name__ == "__main__":
    os.environ.pop("SNAKEMAKE_PROFILE", None)
    for planned in jobs(Path(sys.argv[1]).absolute()):
        print(json.dumps(planned, sort_keys=True))
