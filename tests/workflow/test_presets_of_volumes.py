"""The preset on volumes: a valid study whose plan, on a twin, runs to its report."""

import yaml

from headwater.planning import preflight
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
    assert (jobs["prepare_volumes"], jobs["pretrain"], jobs["report"]) == (1, 1, 1)
    assert jobs["finetune"] == 2 * 2 * 3
