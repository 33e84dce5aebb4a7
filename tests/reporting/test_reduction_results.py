"""Sizes and costs of reductions come from the records of jobs, and stand beside the published study's numbers."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from headwater.core import files
from headwater.core.errors import UserError
from headwater.core.records import Choice
from headwater.data.reduction import MANIFEST
from headwater.reporting import reduction_results
from headwater.reporting.references import less_is_more
from headwater.stages.report import report
from headwater.study.archive import Archive, Dataset
from headwater.study.grid import Grid
from headwater.study.paths import Paths
from headwater.study.recipe import Training
from headwater.study.source import Source
from report_made import study

REDUCTIONS = {
    "everything": Choice(name="everything"),
    "hash3": Choice(name="hash", options={"distance": 3}),
    "hash6": Choice(name="hash", options={"distance": 6}),
    "unlike": Choice(
        name="embedding", options={"source": "random", "share": 0.1, "per": "corpus", "mode": "neighbour"}
    ),
    "as_many": Choice(name="random", options={"like": "hash6"}),
}
KEPT = {"everything": 40, "hash3": 20, "hash6": 10, "unlike": 4, "as_many": 10}
STRENGTHS = {"random": 0.3, "all": 1.4, "net": 0.8, "three": 1.2, "net2": 0.9, "six": 1.6}
LEARNED = {"all": "everything", "three": "hash3", "six": "hash6"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study in which three of six sources learned from a corpus, two of them from a part of it."""
    folder = tmp_path_factory.mktemp("study")
    made = study(folder, strengths=STRENGTHS)
    sources = [
        one.model_copy(update={"reduction": LEARNED[one.name]} if one.name in LEARNED else {})
        for one in made.grid.sources
    ]
    noted(folder)
    return replace(made, grid=made.grid.model_copy(update={"sources": tuple(sources), "reductions": REDUCTIONS}))


def noted(folder, *, names=tuple(KEPT), corpus="photographs") -> Paths:
    """Manifests and what jobs noted beside them, as the workflow leaves them."""
    place = folder / "corpora" / corpus
    for name in names:
        manifest = pd.DataFrame({"row": range(40), "case": [f"c{row}" for row in range(40)]})
        manifest = manifest.assign(patient="p", volume="v", position=np.nan, leader="", leader_row=-1, distance=np.nan)
        manifest = manifest.assign(kept=np.arange(40) < KEPT[name])
        MANIFEST.write(manifest, place / f"{name}.manifest.parquet")
        files.write_json({"seconds": 2.5}, place / f"{name}.spent.json")
    files.write_json({"seconds": 30.0}, place / "random.features.json")
    files.write_json({"seconds": 7200.0}, folder / "encoders" / "six" / "spent.json")
    return Paths(folder)


def test_costs_are_what_the_jobs_noted(finished):
    made = finished
    costs = made.read_in().costs.set_index("source")
    assert costs["kept"].to_dict() == {"all": 40, "three": 20, "six": 10}
    assert costs["share"].to_dict() == {"all": 1.0, "three": 0.5, "six": 0.25}
    assert costs.loc["six", "pretraining_seconds"] == 7200 and np.isnan(costs.loc["all", "pretraining_seconds"])
    assert (costs["reduction_seconds"] == 2.5).all() and costs["features_seconds"].isna().all()
    # 100 steps of 64 images
    assert costs["epochs"].to_dict() == {"all": 160, "three": 320, "six": 640}
    whole = reduction_results.cost_table(made.read_in().costs, warnings=[], notes=[], grid=made.grid)
    shown = whole.shown.set_index("Source")
    assert shown.loc["six"].to_dict() == {
        **{"Corpus": "photographs", "Reduction": "hash6", "By": "hash, distance 6, per volume"},
        **{"Kept": "10 of 40", "Share": "25.0%", "To reduce": "2.5 s", "Pre-training": "2 h"},
        **{"Steps": "100", "Epochs": "640"},
    }


def test_equal_epochs_are_fewer_steps_of_less_and_features_count_among_the_costs(finished, tmp_path):
    learned = {"backbone": "timm/resnet50", "method": "dino", "corpus": "photographs"}
    grid = finished.grid
    sources = [grid.source("random")] + [
        Source(name=name, **learned, reduction=name, training=Training(epochs=3, batch=16)) for name in KEPT
    ]
    grid = grid.model_copy(update={"sources": tuple(sources)})
    costs = reduction_results.costs(noted(tmp_path / "all"), grid=grid).set_index("source")
    assert costs["steps"].to_dict() == {"everything": 8, "hash3": 4, "hash6": 2, "unlike": 1, "as_many": 2}
    assert costs["features_seconds"].dropna().to_dict() == {"unlike": 30.0}
    whole = reduction_results.cost_table(costs.reset_index(), warnings=[], notes=[], grid=grid)
    shown = whole.shown.set_index("Source")
    assert shown["To reduce"].to_dict() == dict.fromkeys(KEPT, "2.5 s") | {"unlike": "32.5 s"}
    assert shown.loc["unlike", "By"] == "embedding, share 0.1, per corpus, seen by random, neighbours"
    assert shown.loc["as_many", "By"] == "random, like hash6"
    assert any("At equal epochs" in note for note in reduction_results.notes(costs, grid=grid))
    with pytest.raises(UserError, match="no manifest of photographs, hash6; run reduce first"):
        reduction_results.costs(noted(tmp_path / "some", names=("everything", "hash3")), grid=grid)


@pytest.fixture(scope="module")
def folders(finished, tmp_path_factory):
    """The report with reductions twice, and once without."""
    made = finished
    places = [tmp_path_factory.mktemp("reports") / name for name in ("first", "second", "without")]
    for place in places[:2]:
        report(**made.arguments(), folder=place)
    whole = made.grid.model_copy(
        update={"sources": tuple(one.model_copy(update={"reduction": "everything"}) for one in made.grid.sources)}
    )
    report(**made.arguments(grid=whole), folder=places[2])
    return places


NEW = [
    *(f"reductions{part}.{suffix}" for part in ("", "_measured") for suffix in ("csv", "md", "tex", "html")),
    *(f"reductions_{name}.{form}" for name in ("chest", "vindr") for form in ("svg", "pdf", "png")),
]


def test_tables_and_figures_are_there_only_where_a_corpus_was_reduced(folders):
    names = [{file.name for file in folder.iterdir()} for folder in folders]
    assert names[0] == names[1] == names[2] | set(NEW)
    assert "Less of the corpus" in (folders[0] / "index.html").read_text()
    assert (
        "educed" not in (folders[2] / "index.html").read_text()
        and "#reductions" not in (folders[2] / "index.html").read_text()
    )
    told = json.loads((folders[0] / "provenance.json").read_text())["tables"]
    assert {"reductions.csv", "reductions_measured.csv"} <= set(told)


def test_the_same_inputs_give_the_same_bytes(folders):
    for name in [*NEW, "index.html"]:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


def test_what_came_of_it_is_what_the_comparisons_say(folders):
    found = pd.read_csv(folders[0] / "reductions_measured.csv")
    assert len(found) == 2 * len(STRENGTHS)
    compared = pd.read_csv(folders[0] / "significance.csv")
    macro = compared[compared["label"] == "macro"].set_index(["dataset", "source"])
    for row in found.itertuples():
        said = macro.loc[row.dataset, row.source]
        assert (row.value, row.value_low, row.value_high) == (said["value"], said["value_low"], said["value_high"])
        assert row.source == "random" or (row.difference, row.p_adjusted) == (said["difference"], said["p_adjusted"])
    assert found.set_index("source").loc["six", "share"].tolist() == [0.25, 0.25]
    assert found.set_index("source").loc[["random", "net"], "share"].isna().all()
    words = (folders[0] / "reductions_measured.md").read_text()
    assert "Difference from random" in words and "Study" not in words
    # in the sweep two distances, three shares in the other panel
    drawing = (folders[0] / "reductions_chest.svg").read_text()
    assert "bits in which hashes may differ" in drawing and "dino, photographs, 100 steps: hash" in drawing


# the published study


AS_LONG = Training(epochs=800)


def ct(
    name: str,
    *,
    task: str | dict = "covid_ct",
    corpus: str = "lidc",
    method: str = "swav",
    training: Training = AS_LONG,
    more: dict | None = None,
    twin: dict | None = None,
    **options,
):
    """What the study reached with a source on a task."""
    reductions = {"everything": Choice(name="everything"), "it": Choice(name=name, options=options)}
    learned = {"method": method, "corpus": "slices", "reduction": "it", "training": training}
    source = Source(name="s", **{"backbone": "timm/resnet50", **(learned if method else {}), **(more or {})})
    archives = (Archive(name="task", kind=task), Archive(name="slices", kind=corpus, twin=twin))
    grid = Grid.model_construct(archives=archives, reductions=reductions)
    return less_is_more.auroc(source, Dataset(name="d", archive="task"), grid), less_is_more.hours(
        "pretraining", source, grid
    )


@pytest.mark.parametrize(
    ("found", "value", "hours"),
    [
        (ct("everything"), 0.8073, 280),
        (ct("everything", corpus="fdg_petct"), 0.7751, 538),
        (ct("hash", corpus="fdg_petct"), 0.82992, 57),
        (ct("hash"), 0.82314, 27),
        (ct("hash", distance=3), 0.81342, np.nan),
        (ct("hash", distance=12), 0.8112, np.nan),
        (ct("hash", per="corpus", task="rsna_ich"), 0.86762, np.nan),
        (ct("hash", share=0.1), 0.82554, 24),
        (ct("ssim", task="ct_ich"), 0.85904, 34),
        (ct("mutual_information", share=0.1, task="ct_ich"), 0.80028, 24),
        (ct("every_n", n=10, per="volume"), 0.81502, 27),
        (ct("everything", method=""), 0.7371, np.nan),
    ],
)
def test_the_studys_numbers_stand_beside_what_is_like_them(found, value, hours):
    told, took = found
    assert told.value == pytest.approx(value) and told.spread > 0
    assert np.array_equal(took, hours, equal_nan=True)


@pytest.mark.parametrize(
    "found",
    [
        ct("embedding", source="s"),
        ct("random", share=0.1),
        ct("hash", distance=9),
        ct("hash", of="average"),
        ct("hash", share=0.2),
        ct("hash", mode="neighbour"),
        ct("every_n", n=10),
        ct("ssim", per="corpus"),
        ct("ssim", mode="neighbour"),
        ct("hash", method="dino"),
        ct("hash", corpus="natural_photographs"),
        ct("hash", task="vindr"),
    ],
)
def test_what_the_study_has_not_done_is_left_empty(found):
    assert found[0] is None


def test_the_table_has_one_number_of_each_and_says_where_it_is_from():
    table = pd.read_csv(less_is_more.TABLE, keep_default_na=False)
    assert not table.duplicated(["quantity", "task", "corpus", "reduction"]).any() and (table["source"] != "").all()
    auroc = table[table["quantity"] == "auroc"]
    assert auroc["value"].between(0.6, 1).all() and set(auroc["task"]) == {
        task for task, _ in less_is_more.TASKS.values()
    }
    assert set(table["corpus"]) == {"", *less_is_more.CORPORA.values()}


def test_what_differs_is_named():
    assert ct("hash")[0].differs == ""
    assert "private" in ct("hash", task="ct_ich")[0].differs and "private" in ct("hash", task="rsna_ich")[0].differs
    assert ct("ssim", task="ct_ich")[0].differs.endswith("the study's threshold is not published")
    assert "n is not published" in ct("every_n", n=10, per="volume")[0].differs
    steps, hours = ct("hash", training=Training(steps=137_000))
    assert steps.differs == "137000 steps, whatever is kept; the study has 800 epochs" and np.isnan(hours)
    assert "4 epochs; the study has 800" in ct("hash", training=Training(epochs=4))[0].differs
    assert "starts from imagenet" in ct("hash", more={"start": "imagenet"})[0].differs
    assert "test_resnet; the study has" in ct("hash", more={"backbone": "timm/test_resnet"})[0].differs
    assert ct("hash", twin={"cases": 96})[0].differs == "synthetic images"
    assert "splits" in ct("hash", task={"name": "covid_ct", "splits": "grouped"})[0].differs
    organs = ct("everything", task="organsmnist")[0]
    assert organs.value == 0.97 and np.isnan(organs.spread) and "abstract" in organs.differs
