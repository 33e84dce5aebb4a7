"""The RO-Crate is sound by the rules of RO-Crate 1.2, its files are those of the report, and it says what made them."""

import json
from datetime import date
from pathlib import Path

import pytest

from headwater.core.files import write_json
from headwater.core.fingerprints import sha256
from headwater.reporting import crate
from headwater.stages.report import report
from report_made import study

OUTSIDE = {"ro-crate-metadata.json", "summary.txt"}
"""The crate itself, and what names a folder of this machine."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    made = study(folder, strengths={"random": 0.3, "dino": 1.2}, resamples=128)
    run = next(made.grid.runs("chest"))
    record = {"digest": run.digest, "kept_step": 4, "steps": 9, "score": None, "rows": {"train": 4}}
    write_json(record | {"versions": {"torch": "9.9.9"}}, folder / "runs" / run.path / "fit.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headwater.reporting.writing.draw", lambda study: {})
        report(**made.arguments(), folder=folder / "report")
    return made


@pytest.fixture(scope="module")
def folder(made) -> Path:
    return made.results / "report"


@pytest.fixture(scope="module")
def entities(folder):
    content = json.loads((folder / crate.NAME).read_text())
    assert content["@context"] == "https://w3id.org/ro/crate/1.2/context"
    by_id = {entity["@id"]: entity for entity in content["@graph"]}
    assert len(by_id) == len(content["@graph"])
    return by_id


def references(value):
    """All ids that a value refers to."""
    if isinstance(value, list):
        return [found for inner in value for found in references(inner)]
    return [value["@id"]] if isinstance(value, dict) else []


def test_it_is_flat_and_each_reference_is_there(entities):
    for entity in entities.values():
        assert {"@id", "@type"} <= entity.keys() and (entity["@id"] == crate.NAME or "name" in entity)
        for key, value in entity.items():
            inner = value if isinstance(value, list) else [value]
            assert all(set(part) == {"@id"} for part in inner if isinstance(part, dict)), key
            for identity in references(value):
                assert identity in entities or key == "conformsTo", identity


def test_descriptor_and_root_are_as_the_specification_asks(entities):
    descriptor, root = entities[crate.NAME], entities["./"]
    assert descriptor["about"] == {"@id": "./"} and descriptor["conformsTo"] == {"@id": crate.VERSION}
    assert root["@type"] == "Dataset" and root["name"] and root["description"]
    assert date.fromisoformat(root["datePublished"])
    assert entities[root["license"]["@id"]]["name"] == "author"


def test_its_files_are_those_of_the_report(entities, folder):
    listed = references(entities["./"]["hasPart"])
    assert set(listed) == {file.name for file in folder.iterdir()} - OUTSIDE
    for name in listed:
        of, file = entities[name], folder / name
        assert of["@type"] == "File" and of["description"] and "/" in of["encodingFormat"]
        assert of["sha256"] == sha256(file) and of["contentSize"] == str(file.stat().st_size)


def test_each_run_is_an_action_with_what_it_was_made_from(entities, made):
    actions = {entity["@id"]: entity for entity in entities.values() if entity["@type"] == "CreateAction"}
    runs = [run for dataset in made.grid.datasets for run in made.grid.runs(dataset.name)]
    assert set(actions) == {"#report", *(f"#run/{run.path}" for run in runs)}
    assert set(references(entities["./"]["mentions"])) == set(actions)
    for run in runs:
        action = actions[f"#run/{run.path}"]
        assert action["identifier"] == run.digest and references(action["result"]) == [f"#model/{run.path}"]
        [archive] = references(action["object"])
        assert archive == f"#archive/{run.dataset.archive}" and entities[archive]["conditionsOfAccess"]
    assert set(references(actions["#report"]["result"])) == set(references(entities["./"]["hasPart"]))


def test_versions_are_those_of_the_records(entities):
    [torch] = [entities[identity] for identity in references(entities["#headwater"]["softwareRequirements"])]
    assert (torch["name"], torch["softwareVersion"]) == ("torch", "9.9.9")


def test_the_model_of_a_run_has_its_fingerprint(made, folder):
    results = made.read_in()
    results.provenance.files = results.provenance.files.assign(model="e" * 64)
    graph = crate.metadata(results, described={"macro.csv": "macro"}, folder=folder)["@graph"]
    networks = [entity for entity in graph if entity["@id"].startswith("#model/")]
    assert networks and all(network["sha256"] == "e" * 64 for network in networks)


def test_nothing_in_it_is_a_place(folder, made):
    content = (folder / crate.NAME).read_text()
    assert str(made.results) not in content and ".." not in content
