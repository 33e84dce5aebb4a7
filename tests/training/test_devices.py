"""What a rank computes on: its own GPU, or the CPU where that is said or no GPU is given; never the CPU by accident."""

import pytest
import torch

from headwater.core.errors import UserError
from headwater.training import ddp


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """A machine with so many GPUs, of which SLURM gave some names."""

    def made(gpus: int, given: str | None = None) -> list[int]:
        chosen: list[int] = []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if given is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
        return chosen

    return made


def test_a_machine_without_gpus_computes_on_the_cpu(machine):
    machine(0)
    assert ddp._device("auto", local=0, local_size=1) == torch.device("cpu")
    machine(0, "")
    assert ddp._device("auto", local=0, local_size=1) == torch.device("cpu")


def test_a_job_that_was_given_a_gpu_never_falls_back_in_silence(machine):
    machine(0, "3")
    with pytest.raises(UserError, match="torch finds no GPU, although CUDA_VISIBLE_DEVICES is 3; check nvidia-smi"):
        ddp._device("auto", local=0, local_size=1)
    assert ddp._device("cpu", local=0, local_size=1) == torch.device("cpu")
    machine(0)
    with pytest.raises(UserError, match=r"torch finds no GPU, although compute\.device is cuda"):
        ddp._device("cuda", local=0, local_size=1)


def test_each_rank_gets_its_own(machine):
    chosen = machine(2, "0,1")
    assert [ddp._device("auto", local=local, local_size=2).index for local in range(2)] == [0, 1] == chosen


@pytest.mark.parametrize("local", [0, 1])
def test_every_rank_refuses_too_few_so_that_the_first_can_say_it(machine, local: int):
    machine(1, "0")
    with pytest.raises(UserError, match="2 ranks on this machine need 2 GPUs, but there are 1"):
        ddp._device("auto", local=local, local_size=2)


def test_idle_gpus_of_a_job_are_named_once(machine, capsys: pytest.CaptureFixture):
    machine(4, "0,1,2,3")
    for local in range(2):
        ddp._device("auto", local=local, local_size=2)
    assert capsys.readouterr().err == "2 of this job's 4 GPUs are idle (ranks: 2)\n"
    machine(4)
    ddp._device("auto", local=0, local_size=1)
    assert capsys.readouterr().err == ""


def test_a_gpu_computes_the_same_each_time_and_fills_no_memory_for_it(machine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    machine(1, "0")
    try:
        with ddp.world(threads=1) as world:
            assert world.device == torch.device("cuda", 0) and torch.are_deterministic_algorithms_enabled()
            assert not torch.utils.deterministic.fill_uninitialized_memory
    finally:
        torch.use_deterministic_algorithms(False)
