"""What a study prints at its end fits a terminal, and its numbers are those of the report."""

from pathlib import Path

import pandas as pd

from headwater.reporting import brief
from headwater.study.paths import Paths

RECORDED = Path(__file__).parent.parent / "golden" / "report" / "significance.csv"


def test_the_end_is_the_verdict_the_macros_and_the_page(tmp_path):
    paths = Paths(tmp_path / "results")
    Path(paths.report()).mkdir(parents=True)
    Path(paths.table("significance")).write_bytes(RECORDED.read_bytes())
    summary = "1 of 2 tests is significant.\n\nDataset  Label\n---\nx\n\nchest, label by label\n\ny\n\nPage: z\n"
    Path(paths.summary()).write_text(summary)
    said = brief.brief(paths)
    assert said.startswith("1 of 2 tests is significant.\n\nDataset") and said.endswith(f"\n\nPage: {paths.page()}")
    assert "label by label" not in said
    assert all(len(line) <= 100 for line in said.splitlines() if not line.startswith("Page"))
    rows = pd.read_csv(RECORDED)
    macros = rows[rows["label"] == "macro"]
    lines = said.splitlines()
    for row in macros.dropna(subset=["value", "difference"]).itertuples():
        assert any(row.source in line and f"{row.value:.3f}" in line for line in lines)


def test_long_names_cost_the_intervals_and_then_the_ends_of_lines():
    rows = pd.read_csv(RECORDED)
    assert "[" in brief.macros(rows.assign(metric="auroc"))
    for length in (40, 200):
        table = brief.macros(rows.assign(source="s" * length))
        assert "[" not in table and max(map(len, table.splitlines())) <= 100
