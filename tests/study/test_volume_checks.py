"""Keys of volumes are refused of pictures and the reverse; how values are shown travels with trainings only."""

import pytest

from headwater.core.errors import UserError
from headwater.study import config as study_config
from headwater.study import settings
from headwater.study.archive import Archive, Dataset, seen_of
from headwater.study.ct_windows import Window
from headwater.study.intensity import Intensity
from headwater.study.job_graph import JobGraph
from headwater.study.source import Source

MSD = {"kind": "msd", "folder": "organ", "size": 48}


def study(*, archive=MSD, backbone="monai/segresnet", **two) -> dict:
    return {
        "seeds": [0],
        "archives": {"organ": archive},
        "sources": {"one": {"backbone": backbone}, "two": {"backbone": backbone, **two}},
        "datasets": {"organ": None},
        "recipes": {"finetune": {"training": {"epochs": 2, "batch": 8}}},
        "comparison": {"reference": "one"},
    }


def told(**given) -> str:
    with pytest.raises(UserError) as refused:
        study_config.load(study(**given))
    return str(refused.value)


PICTURES = {"kind": "chestxray14", "folder": "chest"}


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        ({**PICTURES, "spacing": "median"}, "organ.spacing: chestxray14 holds pictures or slices, not volumes; remove"),
        ({**PICTURES, "intensity": "zscore"}, "organ.intensity: chestxray14 holds pictures or slices, not volumes"),
        ({**PICTURES, "size": [32, 32, 16]}, "organ.size: chestxray14 holds pictures or slices, which become squares"),
        ({**MSD, "resize": "squash"}, "organ.resize: msd holds volumes, which have no such setting; remove it"),
        ({**MSD, "images_of": "organ"}, "organ.images_of: labels of volumes cannot be read a second time; remove it"),
        ({**MSD, "window": "bone"}, "organ.window: msd holds grey values, not Hounsfield units; remove it"),
        (
            {**MSD, "window": "bone", "intensity": "zscore"},
            "organ.intensity: values can be shown in one way only; remove it or `window`",
        ),
        (
            {**MSD, "kind": {"name": "msd", "hounsfield": True}, "intensity": "zscore"},
            "organ.intensity: msd holds Hounsfield units, which `window` shows; remove it",
        ),
        (
            {**MSD, "kind": {"name": "msd", "hounsfield": True}, "window": "slice"},
            "organ.window: a patch of a volume has no slices of its own",
        ),
        ({**MSD, "intensity": "minmax"}, "there is no intensity 'minmax'; write zscore, or {percentiles: [0.5, 99.5]}"),
        ({**MSD, "intensity": {"percentiles": [99, 1]}}, "percentiles must rise, from 0 to 100 at most"),
        ({**MSD, "size": [32, 32]}, "archives.organ.size"),
        ({**MSD, "spacing": [1, 1, 0]}, "archives.organ.spacing"),
    ],
)
def test_keys_that_do_not_fit_are_refused(archive, said):
    backbone = "timm/resnet18" if archive["kind"] == "chestxray14" else "monai/segresnet"
    assert said in told(archive=archive, backbone=backbone)


def test_networks_and_images_have_the_same_dimensions():
    remedy = "set sources.one.slices: axial, coronal or sagittal, or choose a backbone for volumes"
    said = told(backbone="timm/resnet18")
    assert "sources.one.backbone: timm/resnet18 takes pictures or slices, but archives.organ holds volumes" in said
    assert remedy in said
    assert "monai/segresnet takes volumes, but datasets hold slices" in told(archive=PICTURES)


LEARNED = {"method": "simclr", "corpus": "organ", "training": {"steps": 2, "batch": 8}}
FLAT = {"backbone": "timm/resnet18", "slices": "coronal"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"slices": "axial"}, "sources.two.slices: monai/segresnet takes volumes, not their slices; remove it"),
        (
            {"archive": PICTURES, "backbone": "timm/resnet18", "slices": "axial"},
            "sources.two.slices: all that it sees are pictures or slices; remove it",
        ),
        ({**FLAT, "backbone": "monai/segresnet"}, "sources.two.slices: monai/segresnet takes volumes"),
        (
            {"two": {**FLAT, **LEARNED, "views": {"flip": 0.5, "flip_axes": ["y"]}}},
            "sources.two.views.flip_axes: coronal slices have no extent along y; name another axis",
        ),
        (
            {"two": {**FLAT, "weights": {"layout": "timm"}}},
            "sources.two.weights: intensity z-scores of organ, but values from 0 to 1 in the training of its weights;"
            " set archives.organ.intensity: {percentiles: [0.5, 99.5]}, or set sources.two.weights.fed_otherwise",
        ),
    ],
)
def test_slices_that_do_not_fit_are_refused(given, said):
    two = given.pop("two", {})
    content = study(**given)
    content["sources"]["two"] |= two
    with pytest.raises(UserError) as refused:
        study_config.load(content)
    assert said in str(refused.value)


def test_a_probe_is_of_the_kind_of_its_corpus():
    content = study()
    content["archives"]["pictures"] = {**PICTURES, "size": 48}
    content["sources"]["two"] |= {**FLAT, **LEARNED, "probe": {"archive": "pictures"}}
    with pytest.raises(UserError, match=r"probe\.archive: holds pictures or slices, but the corpus volumes; name an"):
        study_config.load(content)


def test_one_dataset_is_seen_whole_by_one_source_and_in_slices_by_another():
    content = study(archive={**MSD, "size": [64, 48, 32]})
    content["sources"]["two"] |= FLAT
    content["sources"]["three"] = {**FLAT, **LEARNED, "slices": "sagittal"}
    config = study_config.load(content)
    graph, grid = JobGraph(config), config.grid()
    seen = {
        source: settings.of(
            graph, "finetune", {"dataset": "organ", "source": source, "recipe": "finetune", "seed": "0"}
        )
        for source in config.sources
    }
    assert {source: told["patch"] for source, told in seen.items()} == {
        "one": [64, 48, 32], "two": [64, 1, 32], "three": [1, 48, 32],
    }  # fmt: skip
    assert grid.size_of_encoder("three") == (1, 48, 32)
    # as networks of volumes do, they take values as they are shown; what is compared is one archive, prepared once
    assert config.sources["two"].mean == (0.0,) and config.sources["two"].std == (1.0,)
    assert [job.rule for job in graph.jobs()].count("prepare_volumes") == 1
    assert grid.comparison("organ").pairs == [("two", "one"), ("three", "one")]
    # a source without the key keeps its digest
    assert "slices" not in config.sources["one"].as_json() and seen["two"]["run"]["source"]["slices"] == "coronal"


@pytest.mark.parametrize(
    ("more", "seen"),
    [
        ({}, Intensity(zscore=True)),
        ({"intensity": {"percentiles": [1, 99]}}, Intensity(percentiles=(1, 99))),
        ({"kind": {"name": "msd", "hounsfield": True}}, Window(centre=40, width=400)),
        ({"kind": {"name": "msd", "hounsfield": True}, "window": "bone"}, Window(centre=300, width=1500)),
    ],
)
def test_how_values_are_shown_travels_with_trainings_and_not_with_preparation(more, seen):
    config = study_config.load(study(archive={**MSD, **more}))
    (archive,), grid = config.archives.values(), config.grid()
    assert seen_of(archive) == seen == grid.dataset("organ").seen
    assert "window" not in archive.as_json() and "intensity" not in archive.as_json()
    # a record survives the command line of a job
    assert Dataset.from_json(grid.dataset("organ").as_json()).seen == seen
    assert JobGraph(config).looking_at("organ", "one").seen == seen
    assert Source.from_json(JobGraph(config).looking_at("organ", "one").as_json()).seen == seen


def test_volumes_have_a_rule_of_their_own_whose_products_include_masks():
    graph = JobGraph(study_config.load(study()))
    jobs = {job.rule: job for job in graph.jobs()}
    assert "prepare" not in jobs and jobs["prepare_volumes"].product == "results/archives/organ/cases.parquet"
    more = {"masks.npy", "references.npy", "ceilings.parquet"}
    names = {product.rpartition("/")[2] for product in graph.rules["prepare_volumes"].products}
    assert names - more == {product.rpartition("/")[2] for product in graph.rules["prepare"].products} and more < names
    assert jobs["prepare_volumes"].product in jobs["ledger"].needs


def test_a_patch_is_a_cube_or_has_three_sides():
    assert Archive(name="a", kind="msd", size=48).patch == (48, 48, 48)
    assert Archive(name="a", kind="msd", size=(64, 48, 32)).patch == (64, 48, 32)
    assert '"size":[64,48,32]' in Archive(name="a", kind="msd", size=(64, 48, 32)).as_json()
