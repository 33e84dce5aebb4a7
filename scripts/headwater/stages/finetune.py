"""Finetune: a source's network is trained on a dataset's training split, and the step that validates best is kept."""

import time
from pathlib import Path

from headwater.core import files
from headwater.core.fingerprints import sha256
from headwater.data import prepared
from headwater.study.grid import Run
from headwater.study.tracking import Tracking
from headwater.training import checkpoint, ddp, fine_tuning
from headwater.training.tracking import Trackers


def finetune(
    *,
    run: Run,
    cases: Path,
    images: Path,
    model: Path,
    fit: Path,
    progress: Path,
    encoder: Path | None = None,
    dropped: Path | None = None,
    patch: list[int] | None = None,
    tracking: Tracking = Tracking(),  # noqa: B008
    threads: int = 1,
    device: ddp.DeviceChoice = "auto",
    compile: bool = False,
    fsdp: bool = False,
    gpu_memory: float | None = None,
) -> None:
    """Write the model of a run, its training curves, and the record of its fine-tuning.

    Cases that DROPPED lists are neither trained on nor validated on. PATCH are the sides of what is seen of volumes.
    GPU_MEMORY in GB is for `accumulate: auto`.
    """
    began = time.monotonic()
    ways = {"compile": compile, "fsdp": fsdp, "gpu_memory": gpu_memory}
    with ddp.world(threads=threads, device=device, **ways) as world:
        seen, fold = run.dataset.seen, run.dataset.fold
        data = prepared.read(cases, images=images, seen=seen, patch=patch, dropped=dropped, fold=fold)
        material = fine_tuning.material_of(run, data, file=cases, dropped=dropped)
        if material.lost and world.first:
            print(_lost(run, material), flush=True)
        if material.silent and world.first:
            labels = ", ".join(material.silent)
            print(f"finetune: no validation case tells of {labels}: no part in picking the kept step", flush=True)
        network, origin = fine_tuning.first_weights(run, size=data.seen_in(run.dataset.view), encoder=encoder)
        learner = fine_tuning.learner_of(run, encoder=network, material=material)
        names = {"group": f"{run.dataset.name}/{run.source.name}", "name": run.path, "job": "finetune"}
        content = fine_tuning.identity(run, learner=learner, material=material, origin=origin)
        read = {"content": content, "encoder": encoder}
        with Trackers(model.parent, record=run, tracking=tracking, world=world, **read, **names) as tracker:
            common = {"material": material, "origin": origin, "world": world}
            fitted = fine_tuning.fit(learner, run=run, progress=progress, tracker=tracker, **common)
            tracker.summary(fitted.kept)
        if world.first:
            fine_tuning.save(run, learner=learner, material=material, origin=origin, path=model)
            record = fine_tuning.record_of(run, learner=learner, fitted=fitted, **common)
            seconds = round(time.monotonic() - began, 3)
            files.write_json({**record, "model": sha256(model), "seconds": seconds}, fit)
            # the pre-training's checkpoint is removed now that its encoder is in use; this run's own stays, because
            # Snakemake may still delete the model and repeat the job
            if encoder is not None:
                checkpoint.forget(progress.with_name(f"{run.source.original.digest}.pt"))


def _lost(run: Run, material: fine_tuning.Material) -> str:
    """A sentence on the labels that cannot be learned from the chosen fraction of the patients."""
    lacking = "; ".join(f"{label} has {reason}" for label, reason in material.lost.items())
    share = f"a share of {run.recipe.fraction:g} of the training patients"
    return f"finetune: {len(material.training)} cases of {share}: {lacking}"
