"""A report on outlines alone: Dice and distances in their own formats, what they are, and the ceiling beside Dice."""

import re

import numpy as np
import pandas as pd
import pytest

import report_made
import segmented_made
from headwater.stages.report import report

LABELS = {"chest": ["Atelectasis", "Effusion", "Hernia", "Edema"], "vindr": ["Cardiomegaly", "Pleural_effusion & more"]}
METRICS = ("dice", "hausdorff95", "surface_dice", "hallucination")
CEILINGS = {"Atelectasis": 0.9, "Effusion": 0.8, "Edema": 0.5}


def outlined(file) -> None:
    """Predictions that outline instead of scoring; those of dino are better."""
    frame = pd.read_parquet(file)
    draw = np.random.default_rng([len(str(file)), frame["seed"][0]])
    mean = 0.9 if "dino" in str(file) else 0.7
    overlap = np.where(draw.random((1, len(frame))) < 0.03, 0.0, draw.beta(20 * mean, 20 * (1 - mean), (1, len(frame))))
    target = frame["target"].to_numpy()[None]
    made = segmented_made.Knees(patient=np.arange(len(frame)), target=target, easy=target, hard=target)
    columns = segmented_made.evidence(draw, made, overlap, invented=0.9 - 0.8 * (mean > 0.8))
    frame = frame.drop(columns="score").assign(**{name: column[0] for name, column in columns.items()})
    frame.to_parquet(file, index=False)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The folder of the report, with every table and figure."""
    folder = tmp_path_factory.mktemp("told")
    patch = pytest.MonkeyPatch()
    real = report_made.written

    def written(*given, **options):
        files = real(*given, **options)
        for file in files:
            outlined(file)
        return files

    patch.setattr(report_made, "written", written)
    targets = {name: {"outline": {"labels": labels, "task": "segmentation"}} for name, labels in LABELS.items()}
    with patch.context(), segmented_made.there(folder / "plugins"):
        made = report_made.study(
            folder,
            strengths={"random": 0.3, "dino": 1.2},
            targets=targets,
            seeds=(0, 1, 2),
            fewest_positive=2,
            metrics=METRICS,
        )
        rows = [
            {
                "structure": name,
                "split": split,
                "cases": 9,
                "dice_mean": dice - 0.1 * (split == "train"),
                "dice_min": 0.1,
            }
            for name, dice in CEILINGS.items()
            for split in ("train", "test")
        ]
        pd.DataFrame(rows).to_parquet(folder / "archives" / "chest_archive" / "ceilings.parquet")
        report(**made.arguments(), folder=folder / "report")
    patch.undo()
    return folder / "report"


def test_distances_have_two_decimals_and_shares_three(told):
    lines = (told / "significance.md").read_text().splitlines()
    number = r"\d+\.\d{%d} ± \d+\.\d{%d} \["
    for title, digits in (("Dice", 3), ("Hausdorff distance (95 %, mm)", 2), ("surface Dice", 3), ("hallucination", 3)):
        of_metric = [line for line in lines if f" {title} " in line and "±" in line]
        assert of_metric and all(re.search(number % (digits, digits), line) for line in of_metric), title


def test_tables_and_figures_say_what_the_measures_are_and_which_direction_is_better(told):
    page = (told / "index.html").read_text()
    for name in ("significance.md", "macro.md", "labelwise_chest.md"):
        notes = (told / name).read_text()
        for said in ("both directions, as MONAI defines it", "counts with the diagonal of its scan", "within 1 mm of"):
            assert said in notes
    assert "Hausdorff distance (95 %, mm), lower is better" in page and "Dice, lower is better" not in page
    assert "dino is better than random, Hausdorff distance" in page or "dino is better than random, Dice" in page


def test_the_ceiling_stands_beside_dice_only(told):
    rows = pd.read_csv(told / "significance.csv")
    assert rows.loc[rows["metric"] != "dice", "ceiling"].isna().all()
    dice = rows[(rows["metric"] == "dice") & (rows["dataset"] == "chest")].groupby("label")["ceiling"].first()
    assert dice["Atelectasis"] == 0.9 and dice["Effusion"] == 0.8
    tested = rows[(rows["dataset"] == "chest") & (rows["metric"] == "dice") & rows["tested"]]["label"].unique()
    inside = [CEILINGS[label] for label in tested if label != "macro"]
    assert len(inside) > 1 and dice["macro"] == pytest.approx(np.mean(inside))
    assert rows.loc[rows["dataset"] == "vindr", "ceiling"].isna().all()
    for name in ("significance.md", "macro.md", "labelwise_chest.md"):
        assert "| Ceiling |" in re.sub(" +", " ", (told / name).read_text())


def test_labels_are_said_to_be_left_out_by_the_metric_that_leaves_them_out(told):
    page = (told / "index.html").read_text()
    assert "Hernia, Dice: left out: no positive case in test; not in the macro" in page
    assert "no negative case in validation" not in page


def test_nothing_is_told_of_probabilities_and_alarms(told):
    assert pd.read_csv(told / "calibration.csv").empty
    page = (told / "index.html").read_text()
    assert "Nothing could be measured." in page[page.index('id="calibration"') :]
