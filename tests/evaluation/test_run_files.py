"""One row, one setting: predictions of runs with other settings than the config's are refused where they are read."""

from pathlib import Path

import pytest

from headwater.core.errors import UserError
from headwater.evaluation import predictions, run_files
from headwater.evaluation.predictions import PREDICTIONS
from predictions_made import cohort, comparison, scored


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """The predictions of two seeds, each with the digest of its run's record."""
    cases = cohort(patients=8, images=1, labels={"Mass": 0.5})
    paths = [tmp_path / f"seed{seed}" / "predictions.parquet" for seed in (0, 1)]
    for seed, path in enumerate(paths):
        path.parent.mkdir()
        PREDICTIONS.write(scored(cases, source="dino", seed=seed, strength=1.0), path, origin={"record": f"{seed:08x}"})
    return paths


def test_the_runs_of_the_config_pass(files: list[Path]):
    run_files.refuse_other_records(files, ["00000000", "00000001"])


def test_a_seed_trained_with_other_settings_is_named_with_both_digests(files: list[Path]):
    with pytest.raises(
        UserError,
        match=r"seed1/predictions\.parquet: .* its record is 00000001, that of the config is 00000009; "
        r"restore the config, or delete .*/seed1 and run snakemake again",
    ):
        run_files.refuse_other_records(files, ["00000000", "00000009"])


def test_seeds_that_are_exchanged_are_refused(files: list[Path]):
    with pytest.raises(UserError, match="seed1/predictions"):
        run_files.refuse_other_records(files[::-1], ["00000000", "00000001"])


def test_each_file_needs_a_record(files: list[Path]):
    with pytest.raises(UserError, match="2 files of predictions need as many records"):
        run_files.refuse_other_records(files, ["00000000"])


def test_predictions_from_before_records_were_kept_are_read(files: list[Path]):
    PREDICTIONS.write(PREDICTIONS.read(files[1]), files[1])
    run_files.refuse_other_records(files, ["00000000", "00000009"])


@pytest.mark.parametrize(("asked", "given"), [("test", "validation"), ("validation", "test")])
def test_predictions_of_another_split_are_refused(files: list[Path], asked: str, given: str):
    plan = comparison(sources=("dino",), metrics=("auroc",))
    predictions.read_all(plan, files, split=asked)
    for file, split in zip(files, (asked, given), strict=True):
        PREDICTIONS.write(PREDICTIONS.read(file), file, origin={predictions.PART: split})
    with pytest.raises(UserError, match=rf"seed1/predictions\.parquet: is of the {given} split, not of {asked}; give"):
        predictions.read_all(plan, files, split=asked)
