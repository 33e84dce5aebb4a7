"""The copy of a config by which the jobs of a plan work, and the plan that is in force."""

import datetime
from pathlib import Path

import pytest

from headwater.cluster import config_copy
from headwater.core.errors import UserError


def given(copy: Path) -> dict[str, str]:
    """What Snakemake makes of the words after --config in a job."""
    (word,) = config_copy.for_jobs(copy)
    key, _, value = word.partition("=")
    return {key: value}


def test_a_copy_is_named_by_its_content_and_keeps_its_order(tmp_path: Path):
    first = config_copy.keep({"seeds": [0], "results": "r"}, tmp_path)
    assert list(config_copy.in_job(given(first)).items()) == [("seeds", [0]), ("results", "r")]
    assert config_copy.keep({"seeds": [0], "results": "r"}, tmp_path) == first
    assert config_copy.keep({"seeds": [0, 1], "results": "r"}, tmp_path) != first
    assert first.exists()


def test_a_date_is_kept_as_it_is_written(tmp_path: Path):
    copy = config_copy.keep({"folder": datetime.date(2024, 5, 1)}, tmp_path)
    assert config_copy.in_job(given(copy)) == {"folder": "2024-05-01"}


def test_only_jobs_of_a_former_plan_are_refused(tmp_path: Path):
    first = config_copy.keep({"seeds": [0]}, tmp_path)
    second = config_copy.keep({"seeds": [0, 1]}, tmp_path)
    assert config_copy.in_job(given(second)) == {"seeds": [0, 1]}
    with pytest.raises(UserError, match=rf"belongs to plan {first.stem}, but .* plan {second.stem} is in force"):
        config_copy.in_job(given(first))
    # the config was changed back
    config_copy.keep({"seeds": [0]}, tmp_path)
    assert config_copy.in_job(given(first)) == {"seeds": [0]}


def test_a_job_without_a_copy_works_by_what_it_was_given():
    assert config_copy.in_job({"seeds": [0]}) == {"seeds": [0]}


def test_a_copy_that_is_gone_and_a_plan_that_is_not_in_force_are_told(tmp_path: Path):
    copy = config_copy.keep({"seeds": [0]}, tmp_path)
    (tmp_path / config_copy.IN_FORCE).unlink()
    with pytest.raises(UserError, match="plan none is in force"):
        config_copy.in_job(given(copy))
    copy.unlink()
    with pytest.raises(UserError, match=r"json: the config by which this job was planned is gone; start snakemake"):
        config_copy.in_job(given(copy))
