"""RO-Crate: the files of a report, what they hold and what made them, as other programs read it.

Plain JSON-LD by RO-Crate 1.2 (https://w3id.org/ro/crate/1.2). The library `rocrate` writes the time of writing into it,
and the same results shall give the same bytes.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headwater import __version__
from headwater.core import fingerprints
from headwater.core.fingerprints import NOT_RECORDED
from headwater.data import cards
from headwater.reporting import model_cards, prose
from headwater.reporting.check_lists import AUTHOR
from headwater.reporting.results import StudyResults
from headwater.study.grid import Run

NAME = "ro-crate-metadata.json"
VERSION = "https://w3id.org/ro/crate/1.2"
FORMATS = {
    **{".csv": "text/csv", ".html": "text/html", ".md": "text/markdown", ".tex": "application/x-tex"},
    **{".json": "application/json", ".pdf": "application/pdf", ".png": "image/png", ".svg": "image/svg+xml"},
}
"""The media type of each suffix."""

Entity = dict[str, Any]


def metadata(study: StudyResults, *, described: Mapping[str, str], folder: Path) -> Entity:
    """The crate of the files in `folder`, each with its description."""
    made = [_file(folder / name, says) for name, says in sorted(described.items())]
    runs = [run for dataset in study.grid.datasets for run in study.grid.runs(dataset.name)]
    archives = [_archive(name, study) for name in study.grid.archives_used]
    actions = [_reporting(made, archives), *(_fitting(run, study) for run in runs)]
    networks = [_network(run, study) for run in runs]
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": "Sources of first weights compared",
        "description": prose.extent(study.grid),
        "identifier": f"headwater config {study.grid.digest}",
        "datePublished": _day(study),
        "license": _to("#licence"),
        "hasPart": [_to(entity["@id"]) for entity in made],
        "mentions": [_to(entity["@id"]) for entity in actions],
    }
    about = {
        "@id": NAME,
        "@type": "CreativeWork",
        "conformsTo": _to(VERSION),
        "about": _to("./"),
    }
    licence = {
        "@id": "#licence",
        "@type": "CreativeWork",
        "name": AUTHOR,
        "description": "Left to the author; the terms of the archives come first.",
    }
    graph = [about, root, licence, *made, *archives, *networks, *actions, *_software(runs, study)]
    return {"@context": f"{VERSION}/context", "@graph": graph}


def _to(identity: str) -> Entity:
    return {"@id": identity}


def _day(study: StudyResults) -> str:
    """The day of the newest comparison: the report itself depends on no clock."""
    newest = max(file.stat().st_mtime for file in study.tables_compared)
    return datetime.fromtimestamp(newest, UTC).date().isoformat()


def _file(file: Path, says: str) -> Entity:
    return {
        "@id": file.name,
        "@type": "File",
        "name": file.name,
        "description": says,
        "encodingFormat": FORMATS[file.suffix],
        "contentSize": str(file.stat().st_size),
        "sha256": fingerprints.sha256(file),
    }


def _archive(name: str, study: StudyResults) -> Entity:
    """An archive, which is no part of the crate."""
    archive = study.grid.archive(name)
    card = cards.card(archive)
    where = {"url": card.url} if card.url else {}
    return {
        "@id": f"#archive/{name}",
        "@type": "CreativeWork",
        "name": model_cards.titled(archive),
        "conditionsOfAccess": card.licence,
        **where,
    }


def _network(run: Run, study: StudyResults) -> Entity:
    """A fine-tuned network, which lies outside of the report."""
    sha256 = model_cards.tested_model(run, study)
    return {
        "@id": f"#model/{run.path}",
        "@type": "CreativeWork",
        "name": f"network of {run.path}",
        **({} if sha256 == NOT_RECORDED else {"sha256": sha256}),
    }


def _fitting(run: Run, study: StudyResults) -> Entity:
    """What made a network."""
    archive = study.grid.dataset(run.dataset.name).archive
    return {
        "@id": f"#run/{run.path}",
        "@type": "CreateAction",
        "name": f"finetune {run.path}",
        "description": prose.nameless_way(run.source, study.grid),
        "identifier": run.digest,
        "instrument": [_to("#headwater")],
        "object": [_to(f"#archive/{archive}")],
        "result": [_to(f"#model/{run.path}")],
    }


def _reporting(made: list[Entity], archives: list[Entity]) -> Entity:
    return {
        "@id": "#report",
        "@type": "CreateAction",
        "name": "report",
        "instrument": [_to("#headwater")],
        "object": [_to(entity["@id"]) for entity in archives],
        "result": [_to(entity["@id"]) for entity in made],
    }


def _software(runs: Iterable[Run], study: StudyResults) -> list[Entity]:
    """headwater, and the versions of the packages that networks were fitted with, as their records have them."""
    versions = {
        package
        for run in runs
        for package in model_cards.fit_of(run, study).get("versions", {}).items()
        if package[0] != "headwater"
    }
    packages = [
        {"@id": f"#{name}-{version}", "@type": "SoftwareApplication", "name": name, "softwareVersion": version}
        for name, version in sorted(versions)
    ]
    own = {
        "@id": "#headwater",
        "@type": "SoftwareApplication",
        "name": "headwater",
        "softwareVersion": __version__,
        "softwareRequirements": [_to(package["@id"]) for package in packages],
    }
    return [own, *packages]
