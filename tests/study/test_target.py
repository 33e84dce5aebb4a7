"""Several things asked side by side: what a config may say of them, and what the records of a study then hold."""

import copy

import jsonschema
import pytest
import yaml

from headwater.core.errors import UserError
from headwater.study import config as study_config
from headwater.study import shared_labels
from headwater.study.archive import Dataset
from headwater.study.comparison import Comparison
from headwater.study.grid import Grid
from headwater.study.json_schema import schema

GOOD = yaml.safe_load("""
seeds: [0, 1]
archives:
  covid_ct: {folder: covid}
  padchest: {folder: padchest}
sources:
  random:
  other:
datasets:
  covid_ct:
    targets:
      cohort: {task: classification, labels: [CT_COVID, CT_NonCOVID]}
      sex: {labels: [male]}
recipes:
  finetune: {training: {epochs: 2, batch: 8}}
comparison: {reference: random}
""")


def with_dataset(**dataset) -> dict:
    """The good config with another dataset."""
    return copy.deepcopy(GOOD) | {"datasets": {"covid_ct": dataset}}


def refused(content: dict) -> str:
    with pytest.raises(UserError) as refusal:
        study_config.load(content)
    return str(refusal.value)


def laid_out(content: dict = GOOD) -> Grid:
    return study_config.load(copy.deepcopy(content)).grid()


def test_targets_stand_in_alphabetical_order_whatever_the_config_says():
    dataset = laid_out().dataset("covid_ct")
    turned = with_dataset(targets=dict(reversed(GOOD["datasets"]["covid_ct"]["targets"].items())))
    assert list(dataset.asked) == list(laid_out(turned).dataset("covid_ct").asked) == ["cohort", "sex"]
    assert dataset.listed == ("CT_COVID", "CT_NonCOVID", "male")
    assert Dataset.from_json(dataset.as_json()).listed == dataset.listed
    assert laid_out(turned).digest == laid_out().digest


def test_a_dataset_without_targets_is_recorded_as_before():
    dataset = Dataset(name="a", archive="b", labels=("x",))
    assert dataset.as_json() == '{"archive":"b","labels":["x"],"name":"a"}'
    assert {name: asked.labels for name, asked in dataset.asked.items()} == {"": ("x",)}
    comparison = laid_out(with_dataset(labels=["CT_COVID"])).comparison("covid_ct")
    assert "targets" not in comparison.as_json() and "task" not in comparison.as_json()
    assert comparison.evidence == ("target", "score") and comparison.subsets == {}


def test_a_comparison_knows_the_task_of_each_label_and_has_a_macro_for_each_target_of_several_labels():
    comparison = laid_out().comparison("covid_ct")
    # the mean over one label is that label
    assert list(comparison.subsets) == ["cohort"] and comparison.subset("cohort") == ("CT_COVID", "CT_NonCOVID")
    assert comparison.task_of("male") == "classification"
    assert Comparison.from_json(comparison.as_json()) == comparison
    labels = ["CT_COVID", "male"]
    assert comparison.fitting("auroc", labels) == labels and comparison.fitting("dice", labels) == []


def test_the_schema_takes_targets():
    jsonschema.validate(GOOD, schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(with_dataset(targets={"sex": {"label": ["male"]}}), schema())


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        (
            {"targets": {"sex": {"labels": ["male"]}}, "labels": ["CT_COVID"]},
            "datasets.covid_ct.labels: each target has its own; move it below targets, or remove targets",
        ),
        ({"targets": {"sex": {"labels": ["male"]}}, "task": "classification"}, "datasets.covid_ct.task: each target"),
        ({"targets": {"sex": {}}}, "datasets.covid_ct.targets.sex.labels: missing; give it a value"),
        ({"targets": {"sex": {"labels": []}}}, "datasets.covid_ct.targets.sex.labels: lists no label; list one, or"),
        ({"targets": {"sex": {"label": ["male"]}}}, "targets.sex.label: unknown key; did you mean 'labels'?"),
        (
            {"targets": {"sex": {"labels": ["male"]}, "who": {"labels": ["CT_COVID", "male"]}}},
            "datasets.covid_ct.targets.sex.labels and targets.who.labels ('male'): a label is listed twice; remove",
        ),
        ({"targets": {"sex": {"labels": ["male", "male"]}}}, "covid_ct.targets.sex.labels ('male'): a label is listed"),
        (
            {"targets": {"sex": {"task": "classificaton", "labels": ["male"]}}},
            "datasets.covid_ct.targets.sex.task: there is no 'classificaton'; did you mean 'classification'?",
        ),
        ({"task": "ordinal"}, "datasets.covid_ct.labels: the task ordinal needs 3 or more, in their order (got 0)"),
        (
            {"task": "ordinal", "labels": ["CT_COVID", "male"]},
            "datasets.covid_ct.labels: the task ordinal needs 3 or more, in their order (got 2); list them all, from",
        ),
        (
            {"targets": {"sex": {"task": "ordinal", "labels": ["male"]}}},
            "datasets.covid_ct.targets.sex.labels: the task ordinal needs 3 or more, in their order (got 1)",
        ),
        ({"targets": {"s x": {"labels": ["male"]}}}, "targets.s x: use letters, digits, _ and - in names"),
        ({"targets": {False: {"labels": ["male"]}}}, "a name must be text (got False); put it in quotes"),
    ],
)
def test_mistakes_in_targets_are_told(dataset: dict, said: str):
    assert said in refused(with_dataset(**dataset))


def test_a_subset_of_labels_has_another_name_than_a_target():
    content = copy.deepcopy(GOOD)
    content["comparison"]["subsets"] = {"sex": {"covid_ct": ["male"]}}
    assert "datasets.covid_ct.targets.sex: comparison.subsets has one of that name" in refused(content)
    content["comparison"]["subsets"] = {"some": {"covid_ct": ["mal"]}}
    assert "comparison.subsets.some.covid_ct: there is no 'mal'; did you mean 'male'?" in refused(content)


def test_a_metric_that_fits_no_label_of_a_dataset_is_refused():
    content = copy.deepcopy(GOOD)
    content["comparison"]["metrics"] = ["auroc", "hausdorff95"]
    assert (
        "comparison.metrics: hausdorff95 needs target, hausdorff95; dataset covid_ct (classification) gives target, "
        "score; choose another metric"
    ) in refused(content)
    content["comparison"]["metrics"] = ["auroc", "brier"]
    assert "brier needs probabilities; dataset covid_ct (classification) gives log-odds; remove it" in refused(content)


def test_networks_are_asked_abroad_what_they_were_asked_at_home():
    content = copy.deepcopy(GOOD)
    targets = {"heart": {"labels": ["Cardiomegaly"]}, "lungs": {"labels": ["Effusion"]}}
    content["archives"] = {"chestxray14": {"folder": "a"}, "more": {"kind": "chestxray14", "folder": "b"}}
    content["datasets"] = {"chestxray14": {"targets": targets}, "more": {"labels": ["Effusion", "Mass"]}}
    content["comparison"]["external"] = True
    grid = laid_out(content)
    assert shared_labels.shared(grid, fitted="chestxray14", tested="more") == (("Effusion", "Effusion"),)
