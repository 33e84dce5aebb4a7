"""Overlaps by common origin, which no file can show, are refused before the first job unless they are excused."""

import pandas as pd
import pytest

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.data.leakage import LEDGER
from headwater.reporting import prose
from headwater.stages.ledger import ledger
from headwater.study import config, lineage
from headwater.study.archive import Archive
from headwater.study.leaks import Declared
from test_ledger import archive

SHARED = Declared(learned="suprem", test="organs test", origins=("lits",))


def content(*, trained_on=("suprem",), excused=(), **changes):
    """A grid in which weights that have seen LiTS are tested on what was cut out of it."""
    weights = {"layout": "torchvision", "path": "/weights/x.pth", "trained_on": list(trained_on)}
    return {
        "seeds": [0],
        "archives": {"organs": {"kind": "organsmnist", "folder": "/data"}, "chest": {"kind": "chestxray14"}},
        "sources": {"random": {}, "suprem": {"weights": weights}},
        "datasets": {"organs": {}},
        "recipes": {"full": {"training": {"steps": 2}}},
        "leaks": {"excused": list(excused)},
        **changes,
    }


def excuse(learned, test="organs test", kind="declared"):
    return {"kind": kind, "between": [learned, test], "reason": "this is what the study asks about"}


def refused(**changes):
    with pytest.raises(UserError) as refusal:
        config.load(content(**changes))
    return str(refusal.value)


def declared(**changes):
    """What is declared in a grid, all of it excused."""
    try:
        return lineage.declared(config.load(content(**changes)).grid())
    except UserError as refusal:
        return str(refusal)


def test_weights_that_saw_what_is_tested_are_refused_before_the_first_job():
    said = refused()
    assert "leaks: suprem and organs test both come from lits and may share patients, which no file can show" in said
    assert "leaks.excused: [{kind: declared, between: [suprem, organs test], reason: ...}]" in said
    plan = config.load(content(excused=[excuse("suprem")]))
    assert lineage.declared(plan.grid()) == (SHARED,)
    assert declared(trained_on=["abdomenatlas"], excused=[excuse("suprem")]) == (SHARED,)


def test_weights_that_saw_something_else_are_let_through():
    assert declared(trained_on=["imagenet"]) == declared(trained_on=[]) == ()


def test_weights_may_have_seen_the_archive_itself():
    said = refused(trained_on=["chestxray14"], datasets={"chest": {}})
    assert "suprem and chest test both come from chestxray14" in said


@pytest.mark.parametrize("name", ["litss", "supreme"])
def test_an_origin_that_nobody_knows_is_refused(name):
    said = refused(trained_on=[name])
    assert f"sources.suprem.weights.trained_on: there is no {name!r}; did you mean '{name[:-1]}'?" in said


def test_a_corpus_from_the_same_scans_is_refused_by_its_part():
    corpus = {"kind": "own_folder", "folder": "/mine", "made_from": ["ct_org"]}
    ours = {"method": "supervised", "corpus": "mine", "training": {"steps": 2}}
    archives = {**content()["archives"], "mine": corpus}
    changes = {"archives": archives, "sources": {"random": {}, "ours": ours, "again": ours}}
    assert "leaks: mine train and organs test both come from lits" in refused(**changes)
    assert refused(**changes).count("mine train and organs test") == 1
    (one,) = declared(excused=[excuse("mine train")], **changes)
    assert one == Declared(learned="mine train", test="organs test", origins=("lits",))
    # what a twin imitates it does not stem from
    for name in ("mine", "organs"):
        twin = {name: {**archives[name], "twin": {"cases": 40}, "made_from": []}}
        assert declared(**{**changes, "archives": {**archives, **twin}}) == ()


def test_archives_of_one_kind_are_left_to_the_ledger():
    ours = {"method": "supervised", "corpus": "more", "training": {"steps": 2}}
    archives = {**content()["archives"], "more": {"kind": {"name": "organsmnist", "pixels": 64}, "folder": "/data"}}
    assert declared(archives=archives, sources={"random": {}, "ours": ours}) == ()


def test_an_option_may_say_what_an_archive_was_made_from():
    def origins(**changes):
        return lineage.of_archive(Archive(name="cubes", folder="/data", **changes))

    assert "lits" in origins(kind="medmnist3d")
    nodules = origins(kind={"name": "medmnist3d", "flag": "nodule"})
    assert "lidc" in nodules and "lits" not in nodules
    assert origins(kind={"name": "medmnist3d", "flag": "synapse"}) == {"medmnist3d"}
    assert origins(kind="medmnist3d", twin={"cases": 8}) == set()
    for flags in registry.constant("datasets", "medmnist3d", "MADE_FROM", default={}).values():
        assert {name for names in flags.values() for name in names} <= lineage.origins(())


def test_folders_of_ones_own_are_of_one_numbering_only_if_they_say_so():
    def folder(numbering, *made_from):
        return {"kind": {"name": "own_folder", "numbering": numbering}, "folder": "/mine", "made_from": list(made_from)}

    def between(mine, theirs):
        ours = {"method": "supervised", "corpus": "mine", "training": {"steps": 2}}
        sources, datasets = {"random": {}, "ours": ours}, {"theirs": {"labels": ["a"]}}
        excused = [excuse("mine train", "theirs test")]
        archives = {"mine": mine, "theirs": theirs}
        return declared(archives=archives, sources=sources, datasets=datasets, excused=excused)

    shared = Declared(learned="mine train", test="theirs test", origins=("lits",))
    assert between(folder("ulm", "lits"), folder("aachen", "ct_org")) == (shared,)
    none = "leaks.excused[0].between: there is no 'mine train'"
    assert none in between(folder("ulm"), folder("aachen"))
    assert none in between(folder("ulm", "lits"), folder("ulm", "lits"))


def test_training_splits_of_other_datasets_count_where_networks_are_tested_on_each_other():
    corpus = {"kind": "own_folder", "folder": "/mine", "made_from": ["ct_org"]}
    changes = {
        "archives": {**content()["archives"], "mine": corpus},
        "datasets": {"organs": {}, "mine": {"labels": ["a"]}},
        "sources": {"random": {}, "suprem": content(trained_on=[])["sources"]["suprem"]},
    }
    assert declared(**changes) == ()
    external = {**changes, "comparison": {"external": True}}
    assert "leaks: mine train and organs test both come from lits" in refused(**external)
    found = declared(excused=[excuse("mine train"), excuse("organs train", "mine test")], **external)
    assert found == (
        Declared(learned="organs train", test="mine test", origins=("lits",)),
        Declared(learned="mine train", test="organs test", origins=("lits",)),
    )


def test_an_excuse_must_be_for_what_is_declared():
    assert "leaks.excused[0].between: there is no 'random'" in refused(excused=[excuse("random")])
    assert "leaks.excused[0].between: exactly one of the two must be a test split" in refused(
        excused=[excuse("suprem", "suprem")]
    )
    # another kind of excuse does not do
    assert "suprem and organs test both come" in refused(excused=[excuse("organs train", kind="patients")])


def test_what_is_declared_repeats_no_job():
    plain = config.load(content(trained_on=[])).grid()
    told = config.load(content(trained_on=["imagenet"])).grid()
    assert plain.as_json() == told.as_json()
    assert lineage.overlaps(plain).as_json() == plain.overlaps.as_json()


def test_the_ledger_names_it_with_its_reason(tmp_path):
    frame = archive(tmp_path / "organs", seed=1)
    grid = config.load(content(excused=[excuse("suprem")])).grid()
    files = {"cases": [tmp_path / "organs" / "cases.parquet"], "hashes": [tmp_path / "organs" / "hashes.npy"]}
    ledger(overlaps=lineage.overlaps(grid), ledger=tmp_path / "l.parquet", readable=tmp_path / "l.csv", **files)
    (row,) = pd.read_csv(tmp_path / "l.csv").query("kind == 'declared'").itertuples()
    test = frame[frame["split"] == "test"]
    assert (row.part, row.other) == ("organs test", "suprem")
    assert (row.cases, row.other_cases, row.patients) == (len(test), 0, test["patient"].nunique())
    assert row.must_be_apart and row.excuse == excuse("suprem")["reason"]
    told = LEDGER.read(tmp_path / "l.parquet")
    assert "1 overlap between test splits and the data learned from, all excused below" in prose.apart(told, grid=grid)
    unexcused = grid.model_copy(update={"leaks": config.load(content(trained_on=[])).leaks})
    with pytest.raises(
        UserError, match="1 leak into test splits: organs test and suprem share the scans that they stem"
    ):
        ledger(overlaps=lineage.overlaps(unexcused), ledger=tmp_path / "l", readable=tmp_path / "l.csv", **files)


def test_tables_say_that_nobody_can_count_them():
    grid = config.load(content(excused=[excuse("suprem")])).grid()
    (said,) = prose._of_leaks(pd.DataFrame({"dataset": ["organs"]}), grid)
    assert said == (
        "suprem and organs test come from the same scans under different numbers, so no file can show how many of the "
        "test patients were also learned from. The study excuses it (this is what the study asks about)."
    )


def test_every_origin_on_a_card_is_in_the_table():
    origins = lineage.origins(())
    cards = {
        name: registry.constant("datasets", name, "CARD.made_from", default=()) for name in registry.names("datasets")
    }
    assert cards["organsmnist"] == ("lits",)
    assert set().union(*cards.values()) <= origins
    for name in registry.names("weights"):
        assert set(registry.constant("weights", name, "CARD.trained_on", default=())) <= origins
