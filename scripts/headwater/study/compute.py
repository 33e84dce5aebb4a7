"""What a training asks of the machine: how many processes, on how many nodes, on which device."""

from typing import Literal

from pydantic import Field

from headwater.core.records import Record


class Processes(Record):
    """How many processes a training runs as, and on how many nodes; no record tells it, so it repeats no job."""

    ranks: int | None = Field(None, ge=1)
    """Processes over all nodes, one per GPU; the global batch stays the same."""
    nodes: int | None = Field(None, ge=1)
    """Nodes that share the processes evenly; more than one needs a cluster."""
    threads: int | None = Field(None, ge=1)
    """CPU threads per process."""


class Compute(Record):
    """What each training job asks of the machine."""

    ranks: int = Field(1, ge=1)
    """Processes per training over all nodes, one per GPU; the global batch stays as the recipe says."""
    nodes: int = Field(1, ge=1)
    """Nodes that share the processes of a training evenly; more than one needs a cluster."""
    threads: int = Field(1, ge=1)
    """CPU threads per training process."""
    workers: int = Field(2, ge=1)
    """Processes that decode images in `prepare`."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What trains: `auto` takes GPUs where there are any, `cuda` nothing else; `cpu` asks the cluster for none."""

    def of(self, own: Processes) -> Processes:
        """The processes of a training: its own, and what it leaves out from here."""
        return Processes(
            ranks=own.ranks or self.ranks, nodes=own.nodes or self.nodes, threads=own.threads or self.threads
        )

    def asked(self, own: Processes) -> dict[str, int | str]:
        """What a training asks of Snakemake and of the cluster."""
        processes = self.of(own)
        here = processes.ranks // processes.nodes
        gpus = 0 if self.device == "cpu" else here
        several = processes.nodes > 1
        # several nodes get their GPUs node by node: plugin 2.8.0 would share out `gpu` as SLURM likes, and `tasks`
        # beside `gpu` would start as many tasks for each GPU
        by_node = "--ntasks-per-node=1" + (f" --gpus-per-node={gpus}" if gpus else "")
        ranks, nodes, threads = processes.ranks, processes.nodes, processes.threads
        return {
            "threads": here * threads,
            "nodes": nodes,
            "gpu": 0 if several else gpus,
            "tasks": nodes if several else 0,
            "slurm_extra": by_node if several else "",
            "launch": f"--ranks {ranks} --nodes {nodes} --threads {threads} --gpus {gpus}",
        }
