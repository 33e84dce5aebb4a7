"""Predict: the scores of fine-tuned networks for all test and validation images."""

from pathlib import Path

from headwater.core.errors import UserError
from headwater.data import prepared
from headwater.evaluation.predictions import PART, PREDICTIONS, with_evidence
from headwater.study.grid import Run
from headwater.study.target import evidence
from headwater.training import checkpoint, ddp, outline_files, prediction


def predict(
    *,
    runs: list[Run],
    cases: Path,
    images: Path,
    models: list[Path],
    predictions: list[Path],
    validation: list[Path],
    saved: Path | None = None,
    dropped: Path | None = None,
    patch: list[int] | None = None,
    write_outlines: bool = False,
    threads: int = 1,
    device: ddp.DeviceChoice = "auto",
) -> None:
    """Write the scores of each run's model for the test split: one row per case and label, in the order of the cases.

    Scores for the validation split have the same form and serve choices that must not use the test split. All runs are
    of one dataset; models and products are given in their order. The checkpoints of their trainings, in the folder
    `saved`, are no longer needed and are removed. Cases that DROPPED lists are not validated on, as in the trainings.
    PATCH are the sides of what is seen of volumes. With WRITE_OUTLINES the predicted label maps of the test split are
    written as well, as NIfTI files on the grids of the sources, in a folder beside the predictions.
    """
    with ddp.world(threads=threads, device=device) as world:
        seen, fold = runs[0].dataset.seen, runs[0].dataset.fold
        data = prepared.read(cases, images=images, seen=seen, patch=patch, dropped=dropped, fold=fold)
        written = with_evidence(PREDICTIONS, evidence(runs[0].dataset.tasks))
        for fitted, test_product, validation_product in prediction.predictors(runs, models, predictions, validation):
            if fitted.size != (size := data.seen_in(fitted.run.dataset.view)):
                raise UserError(
                    f"was fine-tuned on images of {fitted.size} pixels, but these have {size}",
                    file=fitted.file,
                    remedy="run finetune again",
                )
            origin = prediction.origin(fitted, data)
            for split, product in (("validation", validation_product), ("test", test_product)):
                keep = outline_files.writer(data, product) if write_outlines and split == "test" else None
                table = prediction.at_home(fitted, data, split=split, cases=cases, world=world, keep=keep)
                if world.first:
                    written.write(table, product, origin={**origin, PART: split})
            if world.first and saved is not None:
                checkpoint.forget(saved / f"{fitted.run.digest}.pt")
