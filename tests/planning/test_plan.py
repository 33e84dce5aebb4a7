"""The power of a study follows from the prepared cases and the config alone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from headwater import cli
from headwater.data import tables
from headwater.data.index import LABELS, label_counts
from headwater.data.store import CASES
from headwater.evaluation.statistics import delong
from headwater.planning.power import power

SHARES = {"common": 0.4, "usual": 0.15, "few": 0.05, "rare": 0.01}
"""Labels of the made archive, and how many of its patients bear them."""


def made(folder: Path, *, patients: int = 600, cases: int = 2, seed: int = 0) -> pd.DataFrame:
    """Prepared cases and the counts of their labels, half of the patients in test; and their config."""
    random = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), cases)
    frame = pd.DataFrame({"row": range(len(patient)), "case": [f"case{row:05d}" for row in range(len(patient))]})
    split = np.where(patient % 2, "train", "test")
    frame = frame.assign(patient=[f"patient{number}" for number in patient], file="x.png", split=split)
    frame = frame.assign(study="", site="", sex="", age=np.nan, view="", pixels=[f"{row:064x}" for row in frame["row"]])
    for label, share in SHARES.items():
        bearing = np.arange(patients) // 2 < share * patients / 2  # as many in train as in test
        frame[tables.TARGET + label] = (bearing[patient] & (random.random(len(patient)) < 0.8)).astype(float)
        first = ~frame.duplicated("patient")
        frame.loc[first, tables.TARGET + label] = bearing.astype(float)
    archive = folder / "results" / "archives" / "made"
    CASES.write(frame, archive / "cases.parquet")
    LABELS.write(label_counts(frame), archive / "labels.parquet")
    return frame


def config(folder: Path, *, seeds: int = 2, sources: int = 3, **content: object) -> Path:
    """A config about the made archive, in which paths are absolute."""
    recipe = {"training": {"steps": 10}}
    says = {
        "results": str(folder / "results"),
        "seeds": list(range(seeds)),
        "archives": {"made": {"kind": "chestxray14", "folder": "data/none"}},
        "sources": {f"source{number}": {} for number in range(sources)},
        "datasets": {"made": {"labels": list(SHARES)}},
        "recipes": {"finetune": recipe},
        "comparison": {"reference": "source0"},
        **content,
    }
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(says))
    return file


def planned(folder: Path, *, file: Path | None = None, **asked: object) -> pd.DataFrame:
    """The table with all digits."""
    csv = folder / "power.csv"
    power(config=file or config(folder), csv=csv, **asked)
    return pd.read_csv(csv)


def one(table: pd.DataFrame, label: str, *, seeds: int = 3, spread: float = 0.02, tests: int = 1) -> pd.Series:
    """The only row about these."""
    at = (table["label"] == label) & (table["seeds"] == seeds) & (table["seed_spread"] == spread)
    return table[at & (table["tests"] == tests)].squeeze(axis=0)


def test_macro_first_and_every_finding_with_its_counts(tmp_path: Path, capsys: pytest.CaptureFixture):
    cases = made(tmp_path)
    power(config=config(tmp_path))
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0].startswith("made: 600 test cases of 300 patients. Smallest difference in AUROC")
    assert lines[2].split()[:1] == ["Label"] and lines[2].count("seeds") == 4
    shown = [line.split("  ")[0].strip() for line in lines[4:10]]
    assert shown == ["macro", "macro, 2 tests", *SHARES]
    test = cases[cases["split"] == "test"]
    for label in SHARES:
        target = test[tables.TARGET + label]
        with_it, without = (test.loc[target == value, "patient"].nunique() for value in (1, 0))
        line = next(line for line in lines[6:10] if line.startswith(label))
        assert line.split()[1:4] == [str(with_it), str(without), "600"]
    assert "Assumptions: AUROC 0.8" in said


def test_rare_findings_are_described_and_few_ones_flagged(tmp_path: Path, capsys: pytest.CaptureFixture):
    made(tmp_path)
    table = planned(tmp_path)
    rare, few, macro = (one(table, label) for label in ("rare", "few", "macro"))
    assert np.isnan(rare["least_detectable"]) and rare["note"].startswith("described only: 3 positive patients")
    assert few["note"].startswith("few patients: 15 positive") and few["degrees_of_freedom"] <= 14
    assert macro["note"].startswith("mean of 3 labels; without rare")
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("rare"))
    assert line.split()[4:8] == ["–"] * 4


def test_more_seeds_and_smaller_spreads_detect_less(tmp_path: Path):
    made(tmp_path)
    table = planned(tmp_path, seeds=[10, 3, 5], seed_spread=[0.02, 0.006])
    least = table[(table["label"] == "macro") & (table["tests"] == 1)].pivot_table(
        index="seeds", columns="seed_spread", values="least_detectable"
    )
    assert least.index.tolist() == [3, 5, 10] and (least[0.006] < least[0.02]).all()
    assert least[0.02].is_monotonic_decreasing and least[0.006].is_monotonic_decreasing


def test_the_standard_error_is_that_of_simulated_trainings(tmp_path: Path):
    """Two networks of one seed each: DeLong's variance of their difference, on scores drawn for these cases."""
    cases = made(tmp_path)
    test = cases[cases["split"] == "test"]
    target, random = test[tables.TARGET + "common"].to_numpy(float), np.random.default_rng(0)
    patient = np.unique(test["patient"], return_inverse=True)[1]

    def noise(runs: int) -> np.ndarray:
        return (random.normal(size=(runs, 300))[:, patient] + random.normal(size=(runs, 600))) / np.sqrt(2)

    variances = []
    for _ in range(200):
        scores = 1.19 * target + np.sqrt(0.6) * noise(1) + np.sqrt(0.4) * noise(2)  # AUROC 0.8
        matrix = delong.areas(target, scores, patients=patient)[1]
        variances.append(matrix[0, 0] + matrix[1, 1] - 2 * matrix[0, 1])
    found = one(planned(tmp_path, seeds=[1]), "common", seeds=1)
    assert found["standard_error"] == pytest.approx(np.sqrt(np.mean(variances)), rel=0.03)


def test_the_macro_is_told_alone_and_as_one_of_all_tests(tmp_path: Path):
    made(tmp_path)
    content = {"metrics": ["auroc", "average_precision"], "reference": "source0"}
    table = planned(tmp_path, file=config(tmp_path, sources=4, comparison=content))
    alone, among = (one(table, "macro", tests=tests) for tests in (1, 6))
    assert among["least_detectable"] > alone["least_detectable"]
    assert among["standard_error"] == alone["standard_error"]
    assert set(table.loc[table["label"] != "macro", "tests"]) == {1}


def test_one_seed_is_about_two_networks(tmp_path: Path, capsys: pytest.CaptureFixture):
    made(tmp_path)
    table = planned(tmp_path, seeds=[1])
    common = one(table, "common", seeds=1)
    assert common["positive_patients"] < common["negative_patients"]
    assert common["degrees_of_freedom"] == pytest.approx(common["positive_patients"] - 1)
    assert one(table, "common", seeds=1, spread=0.006)["least_detectable"] == pytest.approx(
        one(table, "common", seeds=1)["least_detectable"]
    )
    said = capsys.readouterr().out
    assert "1 seed " in said and "(no training noise)" in " ".join(said.split())


def test_a_difference_beyond_perfection_is_none(tmp_path: Path, capsys: pytest.CaptureFixture):
    made(tmp_path, patients=80)
    file = config(tmp_path, comparison={"reference": "source0", "fewest_positive": 2})
    table = planned(tmp_path, file=file, auroc=0.95, seeds=[2])
    assert np.isinf(one(table, "few", seeds=2)["least_detectable"])
    assert "inf" not in capsys.readouterr().out


def test_all_labels_where_the_config_names_none(tmp_path: Path):
    made(tmp_path)
    table = planned(tmp_path, file=config(tmp_path, datasets={"made": {}}))
    assert set(table["label"]) == {"macro", *SHARES}


def test_structures_are_planned_by_dice_beside_findings(tmp_path: Path, capsys: pytest.CaptureFixture):
    cases = made(tmp_path)
    first, *others = SHARES
    targets = {"outline": {"task": "segmentation", "labels": [first]}, "findings": {"labels": others}}
    volumes = {"archives": {"made": {"kind": "msd", "folder": "data/none", "size": 16}}}
    sources = {f"source{number}": {"backbone": "monai/segresnet"} for number in range(2)}
    metrics = {"reference": "source0", "metrics": ["auroc", "dice"]}
    study = {**volumes, "sources": sources, "comparison": metrics, "datasets": {"made": {"targets": targets}}}
    file = config(tmp_path)
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | study))
    table = planned(tmp_path, file=file, case_spread=0.1, seeds=[5])
    labels = {metric: set(of_metric["label"]) for metric, of_metric in table.groupby("metric")}
    assert labels == {"AUROC": {"macro", *others}, "Dice": {"macro", first}}
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("Smallest difference in AUROC") == said.count("Smallest difference in Dice") == 1
    assert "Over cases the Dice has a standard deviation of 0.1 " in said
    # only the cases that have the structure, and their patients
    of_dice = table[(table["label"] == first) & (table["seed_spread"] == 0.006)].squeeze(axis=0)
    test = cases[(cases["split"] == "test") & (cases[tables.TARGET + first] == 1)]
    assert (of_dice["cases"], of_dice["positive_patients"]) == (len(test), test["patient"].nunique())
    half = planned(tmp_path, file=file, case_spread=0.05, seeds=[5])
    halved = half[(half["label"] == first) & (half["seed_spread"] == 0.006)].squeeze(axis=0)
    assert halved["standard_error"] < of_dice["standard_error"] < 2 * halved["standard_error"]


def test_numbers_are_left_out_in_so_many_words(tmp_path: Path, capsys: pytest.CaptureFixture):
    made(tmp_path)
    targets = {"age": {"task": "regression", "labels": ["age"]}, "findings": {"labels": list(SHARES)}}
    table = planned(tmp_path, file=config(tmp_path, datasets={"made": {"targets": targets}}), seeds=[3])
    assert set(table["label"]) == {"macro", *SHARES}
    assert "made: its numbers are left out" in capsys.readouterr().out
    alone = {"recipes": {"finetune": {"training": {"steps": 10}, "select": "loss"}}}
    alone["comparison"] = {"reference": "source0", "metrics": ["r_squared"]}
    power(config=config(tmp_path, datasets={"made": {"task": "regression", "labels": ["age"]}}, **alone))
    said = capsys.readouterr().out
    assert "made: its numbers are left out" in said and "Smallest difference" not in said


def test_a_finding_that_nobody_learns_is_left_out(tmp_path: Path):
    cases = made(tmp_path)
    cases.loc[cases["split"] == "train", tables.TARGET + "usual"] = 0.0
    LABELS.write(label_counts(cases), tmp_path / "results" / "archives" / "made" / "labels.parquet")
    usual = one(planned(tmp_path), "usual")
    assert np.isnan(usual["least_detectable"]) and usual["note"] == "left out: no positive case in train"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seeds", "0"], "--seeds must be >= 1 (got 0)"),
        (["--auroc", "0.4"], "headwater plan power: power.auroc: Input should be greater than 0.5 (got 0.4)"),
        (["--correlation", "0.9"], "headwater plan power: power: seed_correlation must be >= correlation"),
        (["--case-spread", "0.6"], "headwater plan power: power.case_spread: Input should be less than 0.5 (got 0.6)"),
        (["--seed-spread", "0.02", "2"], "--seed-spread must be from 0 to below 0.5 (got 2)"),
        (["--config", "absent.yaml"], "absent.yaml: there is no such config file"),
        (["--sedes", "3"], "unknown option --sedes; did you mean '--seeds'?"),
    ],
)
def test_what_cannot_be_asked(tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture):
    made(tmp_path)
    with pytest.raises(SystemExit) as exited:
        cli.main(
            ["plan", "power", *(["--config", str(config(tmp_path))] if "--config" not in arguments else []), *arguments]
        )
    assert exited.value.code == 2
    assert said in capsys.readouterr().err


def test_an_archive_that_is_not_prepared_is_named_with_the_command(tmp_path: Path, capsys: pytest.CaptureFixture):
    file = config(tmp_path)
    with pytest.raises(SystemExit) as exited:
        cli.main(["plan", "power", "--config", str(file)])
    assert exited.value.code == 2
    cases = tmp_path / "results" / "archives" / "made" / "cases.parquet"
    assert capsys.readouterr().err == (
        f"headwater plan power: {cases}: dataset made is not prepared; run snakemake {cases} --configfile {file}\n"
    )


def test_an_unknown_label_is_named(tmp_path: Path, capsys: pytest.CaptureFixture):
    made(tmp_path)
    with pytest.raises(SystemExit):
        cli.main(["plan", "power", str(config(tmp_path, datasets={"made": {"labels": ["rar"]}}))])
    assert "there is no label 'rar' (datasets.made); did you mean 'rare'?" in capsys.readouterr().err
