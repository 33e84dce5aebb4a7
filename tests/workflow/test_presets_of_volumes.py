"""The preset on volumes: a valid study whose plan, on a twin, runs to its report."""

import json

import pytest
import yaml

from headwater.planning import preflight
from headwater.stages.adopt import adopt
from headwater.study import config
from workflow_made import ROOT, planned

PRESET = ROOT / "config" / "examples" / "hippocampus.yaml"


def test_the_preset_wants_nothing_but_its_folder():
    assert preflight.mistakes(config.read(PRESET)) == [
        "/data/Task04_Hippocampus: there is no such folder; correct archives.hippocampus.folder"
    ]


def test_no_view_swaps_front_and_back():
    for recipe in config.read(PRESET).recipes.values():
        assert not (recipe.views.flip and "y" in recipe.views.flip_axes) and recipe.select == "dice"


def test_the_preset_is_planned_to_its_report_on_a_twin(tmp_path):
    study = yaml.safe_load(PRESET.read_text())
    study["archives"]["hippocampus"] |= {"folder": "twin", "twin": {"cases": 40, "seed": 1}}
    jobs = planned(tmp_path, config=study)
    assert (jobs["prepare_volumes"], jobs["pretrain"], jobs["report"]) == (1, 2, 1)
    assert jobs["finetune"] == 3 * 2 * 3


KNEES = ROOT / "config" / "knee_mr.yaml"
PUBLISHED = ROOT / "config" / "knee_mr_published.yaml"
TWINS = ROOT / "config" / "examples" / "knee_mr_twins.yaml"


@pytest.mark.parametrize(("preset", "weights"), [(KNEES, 2), (PUBLISHED, 1)], ids=["ours", "published"])
def test_the_studies_of_knees_want_nothing_but_their_folder_and_weights(preset, weights):
    missing = preflight.mistakes(config.read(preset))
    assert missing[0].startswith("/data/oai: there is no such folder") and len(missing) == 1 + weights
    assert all("there is no such file" in line for line in missing[1:])


def test_the_study_of_twins_of_knees_has_the_kinds_of_starts_of_ours_and_is_planned_to_its_report(tmp_path):
    ours, twins = config.read(KNEES), config.read(TWINS)
    assert twins.sources.keys() - ours.sources.keys() == {"dino_2d"}
    for name in ("suprem", "dino", "suprem_dino", "mae"):
        assert twins.sources[name].kind == ours.sources[name].kind
        assert (twins.sources[name].start, twins.sources[name].method and twins.sources[name].method.name) == (
            ours.sources[name].start, ours.sources[name].method and ours.sources[name].method.name,
        )  # fmt: skip
    assert preflight.mistakes(twins) == []
    study = yaml.safe_load(TWINS.read_text())
    study["sources"]["suprem"]["weights"]["path"] = str(TWINS.with_name("suprem_of_twins.pth"))
    jobs = planned(tmp_path, config=study)
    assert (jobs["prepare_volumes"], jobs["pretrain"], jobs["overlay"], jobs["report"]) == (1, 4, 2, 1)
    assert jobs["finetune"] == 3 * (6 + 6 + 2)


def test_the_start_of_the_twins_is_a_file_in_suprems_layout(tmp_path):
    twins = config.read(TWINS)
    weights = twins.sources["suprem"].weights.model_copy(update={"path": str(TWINS.with_name("suprem_of_twins.pth"))})
    source = twins.sources["suprem"].model_copy(update={"weights": weights})
    adopt(source=source, size=[16, 40, 40], encoder=tmp_path / "e.safetensors", coverage=tmp_path / "c.json")
    report = json.loads((tmp_path / "c.json").read_text())
    assert report["share"] == 1 and not report["missing"]
