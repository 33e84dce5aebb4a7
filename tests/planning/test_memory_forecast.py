"""Memory is forecast without a GPU, warned of before any job, and set beside what trainings allocated."""

import copy
import json
from pathlib import Path

import pytest

from headwater import cli
from headwater.planning import memory, memory_forecast, preflight, runtime_estimate
from headwater.planning.memory_forecast import GB, MemoryProfile
from headwater.study import config as study_config
from headwater.study.job_graph import jobs
from headwater.study.paths import history
from headwater.study.step_memory import StepMemory
from records_made import record, written
from workflow_made import small_config

STEP = StepMemory(weights=GB, gradients=GB, moments=2 * GB, activations=GB, image=GB)
"""With 16 images 21 GB: 4 of weights, gradients and moments, 1 and 16 of activations."""


def content(**compute) -> dict:
    plain = small_config()
    plain["sources"]["contrastive"] = copy.deepcopy(plain["sources"]["photographs"]) | {"method": "simclr"}
    return plain | ({"compute": compute} if compute else {})


def forecast(folder: Path, config: dict, step: StepMemory = STEP) -> study_config.Config:
    """A plan whose trainings all take the same."""
    plan = study_config.load(config | {"results": str(folder / "results")})
    keys = [rehearsal.key for _, rehearsal in memory_forecast.timing_profile.trainings(plan)]
    profile = MemoryProfile(trainings=dict.fromkeys(keys, step))
    written(memory_forecast.file_of(plan, folder=folder), profile.as_json())
    return plan


def test_every_kind_of_training_is_measured_on_the_cpu(tmp_path: Path, capsys: pytest.CaptureFixture):
    config = written(tmp_path / "config.yaml", json.dumps(small_config()))
    cli.main(["plan", "memory", "--config", str(config), "--folder", str(tmp_path), "--gpus", "0.001", "24"])
    said = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in said.splitlines() if line.startswith(("pretrain", "finetune"))}
    assert rows.keys() == {"pretrain", "finetune"} and "Parts on 24 GB" in said
    # the network's 0.001 GB alone do not fit into the smaller
    assert all(row[-3:][0] == "–" and row[-2] == "1" for row in rows.values())
    profile = memory_forecast.read(study_config.load(small_config()), folder=tmp_path)
    assert len(profile.trainings) == 2
    [of_photographs] = [step for key, step in profile.trainings.items() if key.startswith("supervised")]
    assert of_photographs.moments == 2 * of_photographs.gradients > 0 < of_photographs.image


def test_what_does_not_fit_is_told_with_its_remedy(tmp_path: Path):
    plan = forecast(tmp_path, content(gpu_memory=20))
    large = "takes about 21.0 GB at once, too much for a GPU of 20 GB;"
    assert sorted(memory_forecast.tight(plan, folder=tmp_path)) == [
        f"recipes.finetune.training: finetune of chestxray14, finetune, timm/test_resnet {large}"
        " set accumulate: 2 (13.0 GB)",
        f"sources.contrastive.training: pretrain of contrastive {large}"
        " give each process 8 images of a batch: raise compute.ranks, or lower batch",
        f"sources.photographs.training: pretrain of photographs {large} set accumulate: 2 (13.0 GB)",
    ]


@pytest.mark.parametrize("compute", [{"gpu_memory": 80}, {}, {"gpu_memory": 20, "device": "cpu"}])
def test_nothing_is_told_of_what_fits_or_of_gpus_that_are_unknown(tmp_path: Path, compute: dict):
    plan = forecast(tmp_path, content(**compute))
    assert not list(memory_forecast.tight(plan, folder=tmp_path))


def test_shards_are_counted_as_such(tmp_path: Path):
    step = STEP.model_copy(update={"gathered": GB // 2})
    whole, split = (
        memory_forecast.forecasts(forecast(tmp_path, content(ranks=2, fsdp=fsdp), step), folder=tmp_path)
        for fsdp in (False, True)
    )
    # 8 images each: 4 GB and a second copy of the gradients; or half of the 4 GB, and 1 GB that is whole at once
    assert [each.bytes for each in whole] == [14 * GB] * 3 and [each.bytes for each in split] == [12 * GB] * 3


def test_accumulation_that_is_set_counts(tmp_path: Path):
    config = content(gpu_memory=20)
    config["recipes"]["finetune"]["training"]["accumulate"] = 2
    config["sources"]["photographs"]["training"]["accumulate"] = 4
    lines = list(memory_forecast.tight(forecast(tmp_path, config), folder=tmp_path))
    assert len(lines) == 1 and lines[0].startswith("sources.contrastive")


def test_parts_that_are_chosen_fit_and_are_told_of_where_batch_norm_forbids_them(tmp_path: Path):
    config = content(gpu_memory=20)
    config["recipes"]["finetune"]["training"]["accumulate"] = "auto"
    config["sources"]["photographs"] |= {"backbone": "timm/test_vit"}
    config["sources"]["photographs"]["training"]["accumulate"] = "auto"
    plan = forecast(tmp_path, config)
    found = {each.of: each for each in memory_forecast.forecasts(plan, folder=tmp_path)}
    # 16 images at a time take 21 GB, 8 take 13
    assert found["photographs"].chosen == 2 and found["photographs"].bytes == 13 * GB
    lines = [line for line in memory_forecast.tight(plan, folder=tmp_path) if "contrastive" not in line]
    told = "recipes.finetune.training.accumulate: auto needs 2 parts for chestxray14, finetune, timm/test_resnet on a"
    assert [line.startswith(told) and line.endswith("only with BatchNorm; set 2") for line in lines] == [True]
    # of GPUs that are unknown no parts are known
    whole = forecast(tmp_path / "unknown", {**config, "compute": {}})
    known = {each.of: each.bytes for each in memory_forecast.forecasts(whole, folder=tmp_path / "unknown")}
    assert known["photographs"] == 21 * GB


def test_a_network_that_never_fits_is_told_so(tmp_path: Path):
    plan = forecast(tmp_path, content(gpu_memory=6))
    words = " ".join(memory_forecast.tight(plan, folder=tmp_path))
    assert "one image at a time takes 6.0 GB, so take a smaller network, smaller images or a larger GPU" in words
    assert "take a smaller network: raise compute.ranks" in words


def test_each_plan_notes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    plan = forecast(tmp_path, content(gpu_memory=20))
    assert sum("takes about 21.0 GB" in note for note in preflight.examined(plan).notes) == 3
    assert not any("GB" in note for note in preflight.examined(forecast(tmp_path, content())).notes)


def test_estimates_have_it_until_a_gpu_was_timed(tmp_path: Path):
    plan = forecast(tmp_path, content())
    needed = runtime_estimate.estimated(plan, folder=tmp_path).memory
    assert needed["pretrain", "photographs"] == 21 * GB and len(needed) == 3


def test_it_stands_beside_what_was_allocated(tmp_path: Path, capsys: pytest.CaptureFixture):
    plan = forecast(tmp_path, content())
    [pretrain] = [job for job in jobs(plan) if job.title == "pretrain photographs"]
    rows = ["10,machine/gpu_memory_gib,18.0", "20,machine/gpu_memory_gib,19.5", "20,machine/memory_gib,99.0"]
    written(tmp_path / pretrain.product)
    record(tmp_path, pretrain.product, starttime=1000.0, endtime=1100.0)
    written(
        Path(history(str(tmp_path / pretrain.product))) / "machine.csv", "step,name,value\n" + "\n".join(rows) + "\n"
    )
    table = memory.beside_actual(plan, folder=tmp_path)
    # 19.5 GiB are 20.94 GB
    assert table.to_dict("records") == [
        {
            "Rule": "pretrain",
            "Of": "photographs",
            "Jobs": "1",
            "Forecast GB": "21.00",
            "Allocated GB": "20.94",
            "Ratio": "1.00",
        }
    ]
    config = written(tmp_path / "config.yaml", json.dumps(content() | {"results": str(tmp_path / "results")}))
    cli.main(["plan", "compare", "--config", str(config), "--folder", str(tmp_path)])
    assert "Memory of GPUs" in capsys.readouterr().out


@pytest.mark.parametrize("gpus", ["0", "-1"])
def test_gpus_without_memory_are_refused(tmp_path: Path, gpus: str, capsys: pytest.CaptureFixture):
    config = written(tmp_path / "config.yaml", json.dumps(small_config()))
    with pytest.raises(SystemExit):
        cli.main(["plan", "memory", "--config", str(config), f"--gpus={gpus}"])
    assert "--gpus must be > 0" in capsys.readouterr().err
