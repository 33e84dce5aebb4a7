"""The dashboards that would be made, and that are made and replaced on a server."""

import copy
import json
import re
from pathlib import Path

import pytest
import yaml

import wandb_server
from headwater.core.errors import UserError
from headwater.data.tables import MACRO
from headwater.reporting.dashboards.making import dashboard
from workflow_made import small_config

pytest.importorskip("wandb_workspaces", reason="wandb-workspaces is in the extra wandb")


def large() -> dict:
    """6 sources x 2 datasets x 5 seeds."""
    config = copy.deepcopy(small_config())
    config["archives"]["second"] = {"kind": "chestxray14", "folder": "second", "size": 32, "twin": {"cases": 100}}
    config["datasets"]["second"] = {}
    config["seeds"] = [0, 1, 2, 3, 4]
    pretrained = config["sources"]["photographs"]
    config["sources"] = {"random": {}, "other": {}, "third": {}}
    config["sources"] |= {name: copy.deepcopy(pretrained) for name in ("photographs", "more", "most")}
    config["comparison"]["reference"] = "random"
    return config | {"tracking": {"wandb": "offline", "entity": "team"}, "results": "results/large"}


def written(content: dict, tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(json.loads(json.dumps(content))))
    return file


def test_what_would_be_made_fits_the_classes_of_wandb_workspaces(tmp_path, capsys, monkeypatch):
    from wandb_workspaces.reports.v2 import internal as of_reports
    from wandb_workspaces.workspaces import internal as of_workspaces

    monkeypatch.chdir(tmp_path)
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    dashboard(written(large(), tmp_path), dry_run=True)
    made = json.loads(capsys.readouterr().out)
    views = [of_workspaces.View.model_validate(view) for view in made["workspaces"]]
    assert [view.display_name for view in views] == ["large: chestxray14", "large: second"]
    report = of_reports.ReportViewspec.model_validate(made["report"])
    grids = [block for block in report.spec.blocks if isinstance(block, of_reports.PanelGrid)]
    # differences, two grids for each dataset, and the pre-trainings
    assert len(grids) == 1 + 2 * 2 + 1
    panels = [panel for grid in grids for panel in grid.metadata.panel_bank_section_config.panels]
    bars = [panel.config for panel in panels if isinstance(panel, of_reports.BarPlot)]
    assert [bar.metrics for bar in bars] == [[f"test/auroc/{MACRO}"]] * 2
    curves = [panel.config for panel in panels if isinstance(panel, of_reports.LinePlot)]
    assert curves and {(one.group_by, one.group_agg, one.group_area) for one in curves} == {
        ("source.value", "mean", "stddev")
    }
    charts = [panel.config for panel in panels if isinstance(panel, of_reports.Vega2)]
    assert [chart.string_settings["dataset"] for chart in charts] == ["chestxray14", "second"]
    # the fields that the chart asks for are those that its panels give it
    asked = {word.partition("}")[0] for word in json.dumps(made["chart"]["spec"]).split("${field:")[1:]}
    assert asked <= charts[0].field_settings.keys()
    told = json.dumps(made)
    assert "tables/significance" in told and "/team/headwater/runs/" in told
    assert not (tmp_path / "results").exists()


def test_files_that_are_kept_are_linked(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = large()
    encoders = [("encoder", name) for name in ("more", "most", "photographs")]
    for asked, links in (([], []), (["encoders", "report"], [*encoders, ("report", "report")])):
        dashboard(written(content | {"tracking": content["tracking"] | {"artifacts": asked}}, tmp_path), dry_run=True)
        linked = re.findall(r"/team/headwater/artifacts/(\w+)/large-(\w+)", capsys.readouterr().out)
        assert sorted(linked) == links


def test_studies_in_folders_of_one_name_share_no_run_on_their_dashboards(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = []
    for results in ("one/large", "two/large"):
        dashboard(written(large() | {"results": results}, tmp_path), dry_run=True)
        asked.append(set(re.findall(r'"study_run"[^[]*?"value": "(\w+)"', capsys.readouterr().out)))
    assert len(asked[0]) == len(asked[1]) == 1 and asked[0] != asked[1]


def test_a_study_that_sends_nothing_has_no_dashboard(tmp_path):
    config = large()
    config["tracking"] = {}
    with pytest.raises(UserError, match=r"set tracking\.wandb to offline or online"):
        dashboard(written(config, tmp_path), dry_run=True)
    config["tracking"] = {"wandb": "offline"}
    config["archives"]["second"] |= {"kind": "mimic_cxr", "twin": None}
    with pytest.raises(UserError, match=r"nothing of archives\.second may go to a server outside"):
        dashboard(written(config, tmp_path), dry_run=True)


@pytest.mark.slow
def test_dashboards_that_are_made_again_replace_the_former(tmp_path, monkeypatch):
    import wandb

    wandb.teardown()
    monkeypatch.chdir(tmp_path)
    with wandb_server.running() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", wandb_server.KEY)
        for _ in range(2):
            dashboard(written(large(), tmp_path))
        wandb.teardown()
    names = sorted(view["displayName"] for view in server.views.values())
    assert names == ["large: chestxray14", "large: second", "large: sources of first weights compared"]
    assert len(server.charts) == 1 and not server.unknown
