"""The ids of runs at a dashboard: two studies that differ in anything that a run depends on share none."""

import copy
from functools import cache
from typing import Any

import pytest

from headwater.study import config as study_config
from headwater.study import run_ids
from headwater.study.grid import Run
from headwater.study.source import Source
from study.test_every_key import CHANGES, SECTIONS, put, whole

NO_RUN = {
    # what is compared, and which runs there are besides
    "seeds", "comparison", "controls", "leaks", "datasets.sources", "datasets.recipes", "datasets.write_outlines",
    "datasets.tolerance", "reductions", "source_grids",
    # what things are called for people
    "labels", "sources.title", "sources.short", "datasets.title", "datasets.short", "recipes.title", "recipes.short",
    # where and how fast
    "compute", "recipes.compute", "sources.compute", "archives.folder", "tracking", "results",
    # what origins are declared
    "archives.made_from", "sources.weights.trained_on", "sources.collapse",
    # of archives on which no run of this config learns
    "archives.images_of", "archives.intensity", "archives.spacing", "archives.test",
}  # fmt: skip
"""Keys, or sections of keys, whose change may leave every run as it is; results and project have tests of their own."""


def ids(content: dict[str, Any]) -> dict[str, str]:
    """The id of each training of a config, by the name of its product."""
    config = study_config.load(content)
    grid, tracking = config.grid(), run_ids.told(config)
    trainings: list[Run | Source] = [run for dataset in grid.datasets for run in grid.runs(dataset.name)]
    trainings += [source for source in config.sources.values() if source.kind == "pretrained"]
    names = [record.path if isinstance(record, Run) else record.name for record in trainings]
    found = [run_ids.of_training(record, tracking=tracking) for record in trainings]
    assert len(set(found)) == len(found), "two trainings of a study share an id"
    return dict(zip(names, found, strict=True)) | {"study": run_ids.of_study(tracking)}


@cache
def unchanged() -> dict[str, str]:
    return ids(whole())


def differing(place: str) -> set[str]:
    """The trainings of a config that a change takes away, or gives another id."""
    change = CHANGES[place]
    before = put(whole(), change.beside)
    first = ids(before) if change.beside else unchanged()
    second = ids(put(before, {change.place: change.value}))
    return {name for name in first if first[name] != second.get(name)}


def leaves_runs(place: str) -> bool:
    parts = place.split(".")
    return any(".".join(parts[:end]) in NO_RUN for end in range(1, len(parts) + 1))


TRIED = sorted(place for place, change in CHANGES.items() if place not in SECTIONS and not change.refused)


@pytest.mark.parametrize("place", [place for place in TRIED if not leaves_runs(place)])
def test_a_key_on_which_a_run_depends_changes_its_id(place):
    assert differing(place)


@pytest.mark.parametrize("place", ["results", "tracking.project"])
def test_studies_in_other_folders_or_projects_share_no_id(place):
    change = CHANGES[place]
    config = put(whole(), change.beside)
    assert not set(ids(config).values()) & set(ids(put(config, {change.place: change.value})).values())


@pytest.mark.parametrize("place", [place for place in TRIED if place.partition(".")[0] in ("comparison", "compute")])
def test_what_changes_no_training_leaves_its_id(place):
    assert not differing(place)


def test_size_and_validation_of_an_archive_tell_its_runs_apart_and_no_others():
    content = whole()
    first = ids(content)
    for key, value in {"size": 48, "validation": 0.3}.items():
        other = copy.deepcopy(content)
        other["archives"]["second"][key] = value
        second = ids(other)
        changed = {name for name in first if first[name] != second[name]}
        # a published encoder is built for the largest of the sizes
        resized = {name for name in first if "/published/" in name and key == "size"}
        assert changed == resized | {name for name in first if name.startswith("second/")}


def test_an_encoders_corpus_tells_apart_what_is_fine_tuned_from_it():
    content = whole()
    other = copy.deepcopy(content)
    other["archives"]["scans"]["size"] = 48
    first, second = ids(content), ids(other)
    assert {name for name in first if first[name] != second[name]} == {
        name for name in first if name == "of_scans" or "/of_scans/" in name
    }


def test_other_files_under_the_same_settings_are_another_run():
    config = study_config.load(whole())
    run, tracking = next(config.grid().runs("chestxray14")), run_ids.told(config)
    assert len({run_ids.of_training(run, tracking=tracking, content=content) for content in ("a", "b", "")}) == 3
