"""What `leaks.resolve` changes in a study's jobs, and that a study without it keeps its own."""

import pytest

from headwater.core.errors import UserError
from headwater.study import config as study_config
from headwater.study.job_graph import JobGraph
from workflow_made import small_config

RESOLVED = {"resolve": {"identical": "drop_from_training"}}
LIST = "results/archives/{}/dropped.parquet"


def graph(leaks=None, **changes) -> JobGraph:
    return JobGraph(study_config.load({**small_config(), **({"leaks": leaks} if leaks else {}), **changes}))


def test_each_job_that_learns_reads_the_list_of_its_archive():
    resolved = graph(RESOLVED)
    lists = [LIST.format(archive) for archive in ("chestxray14", "photographs")]
    assert resolved.rules["ledger"].outputs["dropped"] == lists
    read = {
        "finetune": resolved.finetune("chestxray14", "random"),
        "predict": resolved.predict("chestxray14"),
        "reduce": resolved.reduce("photographs", "everything"),
        "pretrain": resolved.pretrain("photographs"),
        "embed": resolved.embed("photographs", "random"),
    }
    expected = {"finetune": lists[0], "predict": lists[0]}
    assert {name: inputs["dropped"] for name, inputs in read.items()} == dict.fromkeys(read, lists[1]) | expected
    assert resolved.report()["dropped"] == lists
    made_by = {job.product: job for job in resolved.jobs()}
    for job in made_by.values():
        if job.rule in ("finetune", "predict", "reduce", "pretrain"):
            assert "results/ledger.parquet" in job.needs


def test_a_study_that_resolves_nothing_keeps_its_files_and_its_records():
    plain, resolved = graph(), graph(RESOLVED)
    assert not any("dropped" in str(plain.looked_up(rule, Wildcards())) for rule in ("finetune", "predict", "pretrain"))
    assert list(plain.rules["ledger"].outputs) == ["ledger", "readable"]
    assert '"labels"' not in plain.grid.overlaps.as_json()
    assert [run.digest for run in plain.grid.runs("chestxray14")] == [
        run.digest for run in resolved.grid.runs("chestxray14")
    ]


class Wildcards:
    """Wildcards of a job of any rule."""

    dataset, archive, reduction = "chestxray14", "photographs", "everything"
    source = "photographs"


def test_a_second_reading_and_a_probe_read_the_list_of_the_images():
    config = small_config()
    config["archives"]["again"] = {"images_of": "chestxray14"}
    config["archives"]["other"] = {**config["archives"]["chestxray14"], "kind": "chestxray14", "folder": "other"}
    config["datasets"]["again"] = {"labels": ["Mass"]}
    config["sources"]["photographs"]["probe"] = {"archive": "other", "labels": ["Mass"]}
    resolved = JobGraph(study_config.load({**config, "leaks": RESOLVED}))
    assert resolved.finetune("again", "random")["dropped"] == LIST.format("chestxray14")
    assert resolved.pretrain("photographs")["probe"][-1] == LIST.format("other")
    needed = {learned.archive: learned.labels for learned in resolved.grid.overlaps.archives}
    assert needed == {"chestxray14": ("Cardiomegaly", "Effusion", "Mass"), "other": (), "photographs": ()}


@pytest.mark.parametrize(
    ("resolve", "said"),
    [
        ({"declared": "drop_from_training"}, "leaks.resolve"),
        ({"identical": "drop_from_test"}, "leaks.resolve"),
        ("drop_from_training", "leaks.resolve"),
    ],
)
def test_what_cannot_be_resolved_is_refused(resolve, said):
    with pytest.raises(UserError, match=said) as refused:
        graph({"resolve": resolve})
    assert "\n" not in str(refused.value)
