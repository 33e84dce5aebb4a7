"""Which sources are fitted to a dataset: runs, comparisons and controls follow it, and what does not fit is refused."""

import copy

import pytest

from headwater.core.errors import UserError
from headwater.study import config as study_config
from headwater.study import lineage
from headwater.study.grid import Grid
from headwater.study.job_graph import JobGraph

TRAINING = {"steps": 4, "batch": 4}
CONFIG = {
    "seeds": [0, 1],
    "archives": {
        "organ": {"kind": "msd", "folder": "organ", "size": [32, 48, 24]},
        "chest": {"kind": "chestxray14", "folder": "chest", "size": 64},
    },
    "sources": {
        "random_3d": {"backbone": "monai/segresnet"},
        "random": {"backbone": "timm/resnet18", "slices": "axial"},
        "published": {"backbone": "timm/resnet18", "weights": {"layout": "timm", "trained_on": ["chestxray14"]}},
        "further": {
            "backbone": "timm/resnet18", "start": "published", "method": "simclr", "corpus": "chest",
            "training": TRAINING,
        },
    },
    "controls": {"again": ["random"]},
    "datasets": {
        "organ": {"sources": ["random_3d", "random"]},
        "chest": {"sources": ["random", "further"]},
    },
    "recipes": {"full": {"training": TRAINING}},
    "comparison": {"reference": {"organ": "random_3d", "chest": "random"}},
    "leaks": {"excused": [
        {"kind": "declared", "between": ["published", "chest test"], "reason": "what is shown is how it is refused"},
    ]},
}  # fmt: skip


def study(**changes):
    """The study with values at dotted places."""
    content = copy.deepcopy(CONFIG)
    for place, value in changes.items():
        *above, last = place.split("__")
        section = content
        for part in above:
            section = section[part]
        section[last] = value
    return content


def told(**changes) -> str:
    with pytest.raises(UserError) as refused:
        study_config.load(study(**changes))
    return str(refused.value)


def test_only_what_is_asked_for_is_fitted_and_compared():
    config = study_config.load(study())
    grid, graph = config.grid(), JobGraph(config)
    fitted = {"organ": ["random_3d", "random", "random_again"], "chest": ["random", "further", "random_again"]}
    jobs = [job for job in graph.jobs() if job.run]
    for name, sources in fitted.items():
        assert [source.name for source in grid.fitted_to(name)] == sources
        assert list(grid.comparison(name).sources) == sources and grid.comparison(name).again == {
            "random_again": "random"
        }
        assert {job.run.source.name for job in jobs if job.run.dataset.name == name} == set(sources)
        # two sources and a control by two seeds
        assert len(graph.compare(name)["predictions"]) == len(graph.records(name)) == 6
    assert grid.comparison("organ").pairs == [("random", "random_3d")]
    assert grid.comparison("chest").pairs == [("further", "random")]
    # the report reads the grid from its record
    again = Grid.from_json(grid.as_json())
    assert [source.name for source in again.fitted_to("organ")] == fitted["organ"] and again.comparing == grid.comparing


def test_a_run_does_not_know_which_sources_are_fitted_beside_it():
    whole = study(datasets__organ={"sources": ["random_3d", "random"]}, datasets__chest={})
    del whole["datasets"]["organ"]["sources"]
    whole["sources"] = {"random": whole["sources"]["random"], "other": {"backbone": "timm/resnet18", "slices": "axial"}}
    whole["comparison"], whole["leaks"] = {}, {}
    less = copy.deepcopy(whole)
    less["sources"]["third"] = {"backbone": "timm/resnet18"}
    less["datasets"]["organ"] = {"sources": ["random", "other"]}
    before, after = (study_config.load(content).grid().run("organ", "random", "full", 0) for content in (whole, less))
    assert before.digest == after.digest


def test_networks_are_built_for_what_they_see():
    grid = study_config.load(study()).grid()
    assert grid.size_of_encoder("random_3d") == (32, 48, 24)
    # the larger of a slice of 32 x 48 and a picture of 64 x 64
    assert grid.size_of_encoder("random") == grid.size_of_encoder("random_again") == 64
    # fitted nowhere itself
    assert grid.size_of_encoder("published") == 64


def test_declared_overlaps_are_those_of_what_is_fitted():
    named = [(overlap.learned, overlap.test) for overlap in lineage.declared(study_config.load(study()).grid())]
    # by way of `further`, which starts from it
    assert named == [("published", "chest test")]
    content = study(datasets__chest={"sources": ["random", "more"]}, leaks={})
    content["sources"] |= {"more": {"backbone": "timm/resnet18"}, "further": {**CONFIG["sources"]["random"]}}
    content["sources"]["published"]["slices"] = "axial"
    content["sources"]["published"]["weights"]["fed_otherwise"] = ["intensity"]
    content["datasets"]["organ"]["sources"] = ["random_3d", "random", "further", "published"]
    assert lineage.declared(study_config.load(content).grid()) == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"datasets__organ__sources": ["random_3d", "randm"]}, "datasets.organ.sources: there is no 'randm'; did you"),
        (
            {"datasets__organ__sources": ["random_3d", "random_again"]},
            "datasets.organ.sources: random_again is a control; name random",
        ),
        ({"datasets__organ__sources": ["random_3d", "random", "random"]}, "organ.sources: a source is listed twice"),
        ({"datasets__organ__sources": ["random_3d"]}, "organ.sources: a comparison needs at least two sources (got 1)"),
        (
            {"comparison__reference": "random_3d"},
            "comparison.reference: random_3d is not among datasets.chest.sources; add it there, or give each dataset"
            " its own: {chest: random, ...}",
        ),
        ({"comparison__reference": {"organs": "random"}}, "comparison.reference: there is no 'organs'; did you mean"),
        ({"comparison__reference": {"organ": "nobody"}}, "comparison.reference: there is no 'nobody'"),
        (
            {"comparison__external": True},
            "datasets.organ.sources: comparison.external compares all sources on all datasets; remove one of them",
        ),
        (
            {"sources__idle": {"backbone": "timm/resnet18"}},
            "sources.idle: fitted to no dataset; add it to datasets.NAME.sources, or remove it",
        ),
        (
            {"datasets__chest__sources": ["random", "further", "random_3d"]},
            "sources.random_3d.backbone: monai/segresnet takes volumes, but datasets hold slices",
        ),
        (
            {"datasets__organ__sources": ["random", "further"], "comparison__reference": "random"},
            "sources.further.backbone: timm/resnet18 takes pictures or slices, but archives.organ holds volumes",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes, said):
    assert said in told(**changes)


def test_without_a_reference_on_a_dataset_all_its_pairs_are_compared():
    config = study_config.load(study(comparison={"reference": {"organ": "random_3d"}}))
    assert config.grid().comparison("chest").reference is None
    assert config.grid().comparison("chest").pairs == [("further", "random")]
