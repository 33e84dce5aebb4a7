"""Pictures that are stored larger than networks see them: where a view comes from, what it repeats, what is refused."""

import copy
import re
from typing import Any

import pytest

from headwater.core.errors import UserError
from headwater.planning import preflight, timing_profile
from headwater.study import config as study_config
from headwater.study import settings
from headwater.study.job_graph import JobGraph, jobs
from workflow_made import small_config


def changed(**changes: Any) -> dict[str, Any]:
    """The small config with pictures of 48 pixels, and values at places such as archives__photographs__view."""
    config = copy.deepcopy(small_config())
    for archive in config["archives"].values():
        archive["size"] = 48
    for place, value in changes.items():
        *above, last = place.split("__")
        section = config
        for part in above:
            section = section.setdefault(part, {})
        section[last] = value
    return config


ALL = {"archives__chestxray14__view": 32, "archives__photographs__view": 32}
RUN = {"dataset": "chestxray14", "source": "photographs", "recipe": "finetune"}


def graph(**changes: Any) -> JobGraph:
    return JobGraph(study_config.load(changed(**changes)))


def told(plan: JobGraph) -> dict[str, Any]:
    """The settings of the jobs."""
    return {
        "prepare": settings.of(plan, "prepare", {"archive": "chestxray14"}),
        "pretrain": settings.of(plan, "pretrain", {"source": "photographs"}),
        "finetune": settings.of(plan, "finetune", {**RUN, "seed": "0"}),
        "predict": settings.of(plan, "predict", RUN),
    }


def test_a_view_repeats_trainings_and_prepares_nothing_again():
    without, with_views = told(graph()), told(graph(**ALL))
    assert without["prepare"] == with_views["prepare"]
    assert [without[rule] == with_views[rule] for rule in ("pretrain", "finetune", "predict")] == [False] * 3
    assert (without["pretrain"]["size"], with_views["pretrain"]["size"]) == (48, 32)
    assert with_views["finetune"]["run"]["source"]["view"] == with_views["finetune"]["run"]["dataset"]["view"] == 32


def test_a_view_of_all_pixels_is_none():
    whole = dict.fromkeys(ALL, 48)
    assert told(graph(**whole)) == told(graph())
    both = {"datasets__chestxray14__view": 48, "sources__photographs__view": 48}
    assert told(graph(**ALL, **both)) == told(graph())


def test_pre_training_and_fine_tuning_may_see_different_sizes():
    grid = graph(**ALL, sources__photographs__view=40, datasets__chestxray14__view=24).grid
    assert (grid.size_of_encoder("photographs"), grid.size_of_encoder("random")) == (40, 24)
    run = grid.run("chestxray14", "photographs", "finetune", 0)
    assert (run.source.view, run.dataset.view) == (40, 24)


def test_a_second_reading_of_the_same_pictures_may_have_a_view_of_its_own():
    second = {"images_of": "chestxray14", "view": 40}
    grid = graph(**ALL, archives__again=second, datasets__again={"labels": ["Cardiomegaly", "Effusion"]}).grid
    assert [dataset.view for dataset in grid.datasets] == [32, 40]


def test_a_source_looks_at_a_corpus_in_its_view():
    plan = graph(**ALL)
    assert plan.looking_at("chestxray14", "random").view == 32


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"archives__chestxray14__view": 64},
            "archives.chestxray14.view: 64 pixels are more than pictures of 48 pixels have; lower it, or set"
            " archives.chestxray14.size: 64",
        ),
        ({"datasets__chestxray14__view": 64}, "datasets.chestxray14.view: 64 pixels are more than"),
        ({"sources__photographs__view": 64}, "sources.photographs.view: 64 pixels are more than"),
        (
            {"sources__random__view": 32},
            "sources.random.view: this source is not pre-trained here; remove it, or set datasets.NAME.view",
        ),
        (
            {"archives__volumes": {"kind": {"name": "msd", "structures": ["organ"]}, "folder": "x", "view": 32}},
            "archives.volumes.view: volumes holds volumes, which are seen in patches of their `size`; remove it",
        ),
    ],
)
def test_what_has_no_such_view_is_refused(changes, said):
    with pytest.raises(UserError, match=re.escape(said)):
        study_config.load(changed(**changes))


def test_a_view_has_the_multiples_that_a_network_or_a_method_asks_of_a_size():
    transformer = {"sources__photographs__backbone": "timm/vit_base_patch16_224"}
    plan = study_config.load(changed(**transformer, sources__photographs__view=40, datasets__chestxray14__view=24))
    lines = [line for line in preflight.mistakes(plan) if ".view" in line]
    assert lines == [
        f"{place}.view: timm/vit_base_patch16_224 takes multiples of its patch of 16 pixels (got {got}); set 32"
        for place, got in (("sources.photographs", 40), ("datasets.chestxray14", 24))
    ]
    masked = {"sources__photographs__method": "spark", "archives__photographs__size": 96}
    for view, refused in ((64, False), (80, True)):
        plan = study_config.load(changed(**masked, sources__photographs__view=view))
        assert any("must be a multiple of 32" in line for line in preflight.mistakes(plan)) is refused


def test_the_time_of_a_step_is_that_of_the_view_and_noise_has_the_stored_size():
    plan = study_config.load(changed(**ALL))
    rehearsals = [timing_profile.rehearsal_of(job, plan) for job in jobs(plan)]
    keys = {rehearsal.key for rehearsal in rehearsals if rehearsal}
    assert all("32 of 48 px" in key for key in keys) and len(keys) == 2
    assert {(rehearsal.size, rehearsal.view) for rehearsal in rehearsals if rehearsal} == {(48, 32)}
