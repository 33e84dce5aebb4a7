"""Resources of a training: how many processes, on how many nodes, on which device."""

from typing import Literal

from pydantic import Field

from headwater.core.records import Record


class Processes(Record):
    """Processes and nodes of one training; excluded from its record, so that a change repeats no job."""

    ranks: int | None = Field(None, ge=1)
    """Processes over all nodes, one per GPU; the global batch stays the same."""
    nodes: int | None = Field(None, ge=1)
    """Nodes that share the processes evenly; more than one needs a cluster."""
    threads: int | None = Field(None, ge=1)
    """CPU threads per process."""
    compile: bool | None = None
    """Whether torch compiles the network."""
    fsdp: bool | None = None
    """Whether weights, gradients and moments are split among the ranks."""


class Compute(Record):
    """Resources that each training job requests, unless it has its own."""

    ranks: int = Field(1, ge=1)
    """Processes per training over all nodes, one per GPU; the global batch stays that of the recipe."""
    nodes: int = Field(1, ge=1)
    """Nodes that share the processes of a training evenly; more than one needs a cluster."""
    threads: int = Field(1, ge=1)
    """CPU threads per training process."""
    workers: int = Field(2, ge=1)
    """Processes that decode images in `prepare`."""
    gpu_memory: float | None = Field(None, gt=0)
    """GB (10^9 bytes) of memory of the GPU that each process has: a plan warns of trainings that do not fit, once
    `headwater plan memory` has measured what their steps take, and `accumulate: auto` makes them fit."""
    compile: bool = False
    """Whether torch compiles networks for trainings, by `torch.compile`: the first step takes minutes, and the others
    are usually faster. Results change by rounding at most. It needs Triton on a GPU and a compiler of C++ on a CPU; not
    for `spark`."""
    fsdp: bool = False
    """Whether the ranks of a training split its weights, gradients and moments among them, by torch's `fully_shard`
    (FSDP2): for networks that one GPU cannot hold, as steps take longer. Results change by rounding at most."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of trainings: `auto` uses GPUs if there are any, `cuda` requires them; `cpu` requests none."""

    def of(self, own: Processes) -> Processes:
        """The processes of a training: its own values, and for those that it leaves out these defaults."""
        return Processes(
            ranks=own.ranks or self.ranks,
            nodes=own.nodes or self.nodes,
            threads=own.threads or self.threads,
            compile=self.compile if own.compile is None else own.compile,
            fsdp=self.fsdp if own.fsdp is None else own.fsdp,
        )

    def resources(self, own: Processes) -> dict[str, int | str]:
        """The resources that a training requests from Snakemake and the cluster."""
        processes = self.of(own)
        ranks_per_node = processes.ranks // processes.nodes
        gpus = 0 if self.device == "cpu" else ranks_per_node
        several = processes.nodes > 1
        # several nodes request their GPUs per node: with `gpu`, version 2.8.0 of the SLURM plugin leaves their
        # distribution to SLURM, and with `tasks` beside `gpu` it starts as many tasks for each GPU
        by_node = "--ntasks-per-node=1" + (f" --gpus-per-node={gpus}" if gpus else "")
        ranks, nodes, threads = processes.ranks, processes.nodes, processes.threads
        return {
            "threads": ranks_per_node * threads,
            "nodes": nodes,
            "gpu": 0 if several else gpus,
            "tasks": nodes if several else 0,
            "slurm_extra": by_node if several else "",
            "launch": f"--ranks {ranks} --nodes {nodes} --threads {threads} --gpus {gpus}"
            + " --compile" * processes.compile
            + " --fsdp" * processes.fsdp,
        }
