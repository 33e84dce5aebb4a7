"""The label map has every label of the radiograph archives once, and only labels of the same finding are shared."""

import hashlib

import pytest

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.study import label_map

ARCHIVES = ("chestxray14", "vindr", "chexpert", "mimic_cxr", "padchest", "uka_cxr")

VERSIONS = {1: "91565ffc41ebf320"}
"""The bytes of each version: another table is another version."""


@pytest.fixture
def changed(tmp_path):
    """The table with one text replaced, read anew."""

    def read(old: str, new: str) -> label_map.Findings:
        text = label_map.TABLE.read_text()
        assert old in text
        file = tmp_path / "findings.csv"
        file.write_text(text.replace(old, new, 1))
        return label_map.read(file)

    return read


def test_every_label_of_the_six_archives_has_its_place():
    rows = label_map.table().rows
    labels = {(archive, label) for archive in ARCHIVES for label in registry.load("datasets", archive).CARD.labels}
    assert {(row.archive, row.label) for row in rows} == labels and len(rows) == len(labels)


def test_a_table_that_changes_has_another_version():
    digest = hashlib.sha256(label_map.TABLE.read_bytes()).hexdigest()[:16]
    assert VERSIONS[label_map.table().version] == digest, "raise the version, and add it to VERSIONS"


def test_shared_labels_are_spelt_as_each_archive_spells_them():
    shared = label_map.shared("chestxray14", "padchest")
    assert shared["Effusion"] == "pleural effusion" and shared["Pleural_Thickening"] == "pleural thickening"
    assert shared["Fibrosis"] == "pulmonary fibrosis" and "Infiltration" not in shared and "Hernia" not in shared


def test_the_two_archives_of_one_labelling_program_share_all():
    labels = registry.load("datasets", "chexpert").CARD.labels
    assert label_map.shared("chexpert", "mimic_cxr") == {label: label for label in labels}


@pytest.mark.parametrize("one", ARCHIVES)
def test_what_is_shared_is_shared_both_ways(one):
    for other in ARCHIVES:
        there, back = label_map.shared(one, other), label_map.shared(other, one)
        assert there == {mine: theirs for theirs, mine in back.items()} and len(set(there.values())) == len(there)
    assert label_map.shared(one, one) == {label: label for label in label_map.table().labels(one).values()}


def test_what_the_published_study_shared_is_shared_but_for_what_is_near():
    """Its shorter lists: cardiomegaly to pneumothorax; of those, "no finding" is of different lists."""
    shared = label_map.shared("vindr", "mimic_cxr")
    common = ("Cardiomegaly", "Pleural effusion", "Pneumonia", "Atelectasis", "Consolidation", "Pneumothorax")
    assert set(common) <= set(shared) and not {"No finding", "Lung Opacity"} & set(shared)


def test_near_is_not_the_same_and_says_why():
    rows = {(row.archive, row.label): row for row in label_map.table().rows}
    for place in (("padchest", "infiltrates"), ("uka_cxr", "pneumonic_infiltrates"), ("vindr", "Lung Opacity")):
        assert rows[place].how == "near" and len(rows[place].why) > 20


def test_a_finding_tells_its_archives():
    assert label_map.table().archives("emphysema") == {
        "chestxray14": "Emphysema", "vindr": "Emphysema", "padchest": "emphysema",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("# version 1\n", "", "begin with a line such as: # version 1"),
        ("seen by radiologists\n", "seen, by radiologists\n", "put values that contain a comma into quotes"),
        ("finding,archive", "findings,archive", "the columns are findings, archive"),
        ("vindr,Cardiomegaly", "vindr,Cardiomegalie", "vindr has no 'Cardiomegalie'; did you mean 'Cardiomegaly'?"),
        ("vindr,Cardiomegaly", "vinder,Cardiomegaly", "vinder has no 'Cardiomegaly'"),
        ("padchest,emphysema,same", "padchest,emphysema,alike", "emphysema of padchest is 'alike'"),
        (
            ",vindr,Calcification,alone",
            "edema,vindr,Calcification,alone",
            "needs a finding unless it is alone",
        ),
        (
            "Support Devices,same,read by the same program",
            "Support Devices,same,",
            "Support Devices of chexpert: the reason is missing",
        ),
        (",padchest,kyphosis", ",padchest,scoliosis", "scoliosis of padchest is listed twice"),
        (",padchest,kyphosis", ",padchest,scoliosis", "kyphosis of padchest is missing"),
        ("uka_cxr,atelectasis_left,near", "uka_cxr,atelectasis_left,same", "uka_cxr has two labels for atelectasis"),
        ("Pleural Other,same", "Pleural Other,near", "pleural_other is in fewer than two archives"),
    ],
)
def test_a_broken_table_is_refused(changed, old, new, said):
    with pytest.raises(UserError) as refused:
        changed(old, new)
    assert said in str(refused.value)


def test_an_unknown_archive_or_finding_is_told_the_nearest():
    with pytest.raises(UserError, match="did you mean 'padchest'"):
        label_map.shared("vindr", "padchests")
    with pytest.raises(UserError, match="did you mean 'edema'"):
        label_map.table().archives("oedema")


def test_each_reason_is_one_line():
    assert all(len(row.why) < 120 and len(row.why.splitlines()) == 1 for row in label_map.table().rows)
