"""Networks fitted to other datasets are examined with what their own validation split has settled."""

import numpy as np
import pandas as pd
import pytest

import elsewhere_made
from declared_tables import declared_tables
from elsewhere_made import LABELS, SHARED, STRENGTHS
from headwater.core.errors import UserError
from headwater.core.fingerprints import sha256
from headwater.evaluation.statistics import operating, recalibration
from headwater.stages.examine import examine
from predictions_made import cohort, of_validation, told, written

TABLES = ("calibration", "reliability", "thresholds", "subgroups", "settled", "provenance")
SEEDS = (0, 1)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The arguments of `examine` with guests."""
    folder = tmp_path_factory.mktemp("study")
    made = elsewhere_made.made(folder, seeds=SEEDS)
    validation = of_validation(cohort(patients=40, images=2, labels=LABELS, seed=1))
    there = validation.rename(columns=dict(SHARED)).drop(columns=set(LABELS) - set(dict(SHARED)))
    plain = {source: strength for source, strength in STRENGTHS.items() if source != "dino_again"}
    asked = {"seeds": SEEDS, "product": "validation"}
    return {
        "comparison": made.comparison,
        "predictions": made.predictions,
        "validation": written(folder, validation, strengths=STRENGTHS, **asked),
        "labels": made.labels,
        "cases": told(folder / "cases.parquet", made.cases),
        "fitted_to": made.fitted_to,
        "elsewhere": made.elsewhere,
        "validation_elsewhere": written(folder, there, strengths=plain, dataset="other", **asked),
        "labels_elsewhere": made.labels_elsewhere,
    }


def examined(study: dict, folder, **changes) -> dict[str, pd.DataFrame]:
    """The tables by name."""
    products = {name: folder / f"{name}.parquet" for name in TABLES}
    examine(**(study | changes), **products)
    return {name: declared_tables()[name].read(file) for name, file in products.items()}


def scores(files: list, *, source: str, seed: int, **wanted: str) -> tuple[np.ndarray, np.ndarray]:
    """(targets, scores) of one run and label."""
    [file] = [file for file in files if file.parts[-2] == f"seed{seed}" and file.parts[-4] == source]
    frame = pd.read_parquet(file)
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    frame = frame[frame["target"].notna()]
    return frame["target"].to_numpy(), frame["score"].to_numpy()


def test_guests_keep_the_thresholds_and_the_temperature_of_their_own_hospital(study, tmp_path):
    found = examined(study, tmp_path)
    for label, asked in SHARED:
        sensitivities, briers = [], []
        for seed in SEEDS:
            own = scores(study["validation_elsewhere"], source="dino", seed=seed, label=asked)
            threshold = operating.threshold(*own, specificity=0.9)
            target, score = scores(study["elsewhere"], source="dino", seed=seed, label=label, tested_on="chest")
            sensitivities.append(np.mean(score[target == 1] >= threshold))
            all_of_it = [
                scores(study["validation_elsewhere"], source="dino", seed=seed, label=one) for _, one in SHARED
            ]
            temperature = recalibration.temperature(*(np.concatenate(parts) for parts in zip(*all_of_it, strict=True)))
            briers.append(np.mean((1 / (1 + np.exp(-score / temperature)) - target) ** 2))
        of_dino = "fitted_to == 'other' and source == 'dino'"
        row = found["thresholds"].query(of_dino).set_index("label").loc[label]
        assert (row.asked, row.sensitivity) == (asked, pytest.approx(np.mean(sensitivities)))
        scaled = found["calibration"].query(f"{of_dino} and scores == 'scaled'")
        assert scaled.set_index("label")["brier"][label] == pytest.approx(np.mean(briers))


def test_guests_are_asked_for_shared_findings_only_and_controls_stay_at_home(study, tmp_path):
    found = examined(study, tmp_path)
    for name in ("calibration", "thresholds"):
        guests = found[name][found[name]["fitted_to"] == "other"]
        assert set(guests["label"]) == {"macro", *dict(SHARED)}
        assert set(guests["source"]) == {"random", "dino"}
    assert set(found["settled"]["dataset"]) == {"chest"}


def test_guests_change_nothing_at_home(study, tmp_path):
    with_guests = examined(study, tmp_path)
    alone = {name: study[name] for name in ("comparison", "predictions", "validation", "labels", "cases")}
    without = examined(alone, tmp_path / "alone")
    for name, table in without.items():
        at_home = with_guests[name]
        if name == "provenance":
            at_home = at_home[at_home["dataset"] == "chest"].reset_index(drop=True)
        if "fitted_to" in at_home:
            at_home = at_home[at_home["fitted_to"] == "chest"].reset_index(drop=True)
        pd.testing.assert_frame_equal(at_home, table, check_exact=True)


def test_a_guest_without_its_validation_scores_is_refused(study, tmp_path):
    with pytest.raises(UserError, match="other: no predictions of run"):
        examined(study, tmp_path, validation_elsewhere=study["validation_elsewhere"][1:])


def test_what_was_examined_is_told_file_by_file(study, tmp_path):
    told = examined(study, tmp_path)["provenance"]
    given = [study[name] for name in ("predictions", "validation", "elsewhere", "validation_elsewhere")]
    expected = {sha256(file) for files in given for file in files}
    assert set(told["predictions"]) == expected and len(told) == len(expected)
    guests = told[told["dataset"] == "other"]
    assert set(guests["file"]) == {"elsewhere.parquet", "validation.parquet"}
