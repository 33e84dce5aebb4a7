"""What the report says of cases that are dropped from training, and of images with opposite labels."""

import pandas as pd

from headwater.data import opposite_labels
from headwater.data.dropping import DROPPED
from headwater.data.leakage import LEDGER
from headwater.reporting import prose


def dropped(*rows):
    """A list of dropped cases of (split, kinds)."""
    frame = [
        {"case": f"c{number}", "split": split, "kinds": kinds, "tests": "a test"}
        for number, (split, kinds) in enumerate(rows)
    ]
    return DROPPED.check(DROPPED.frame(frame))


def test_dropped_cases_are_counted_by_part_and_by_reason():
    lists = {
        "chest": dropped(("train", "identical"), ("train", "patients, identical"), ("validation", "near-identical")),
        "hand": dropped(),
    }
    assert prose.dropped(lists) == [
        "Dropped from training, because a test split has their like (leaks.resolve): 2 cases of chest train "
        "(patients: 1, identical images: 2); 1 case of chest validation (near-identical images: 1)."
    ]
    assert prose.dropped({"hand": dropped()}) == prose.dropped({}) == []


def test_opposite_labels_are_counted_over_all_parts_by_how_the_images_look_the_same():
    row = {"cases": 2, "other_cases": 2, "patients": 2, "example": "", "other_example": "", "excuse": ""}
    row |= {"must_be_apart": False, "other": "ct test"}
    kinds = opposite_labels.KINDS
    rows = [
        {**row, "kind": kinds["identical"], "part": "ct train", "pairs": 2},
        {**row, "kind": kinds["identical"], "part": "ct test", "pairs": 1},
        {**row, "kind": kinds["near-identical"], "part": "ct train", "pairs": 1},
    ]
    assert opposite_labels.sentences(pd.DataFrame(rows)) == [
        "3 pairs of identical images and 1 pair of near-identical images have opposite labels within one archive"
    ]
    (single,) = opposite_labels.sentences(pd.DataFrame(rows[2:]))
    assert single.startswith("1 pair of near-identical images has opposite labels")
    assert opposite_labels.sentences(LEDGER.frame([])) == []
