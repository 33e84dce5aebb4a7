"""Make suprem_of_twins.pth: a small SegResNet that outlines twins of knees, in the key layout of SuPreM.

It stands in for SuPreM's weights, which need a download: a start that must help to outline other twins of knees. Run it
from the checkout with .venv/bin/python; it takes about five minutes, and other processors give slightly other weights.
"""

import tempfile
from pathlib import Path

import torch

from headwater.data.twins.oai import STRUCTURES
from headwater.models import weight_files
from headwater.stages.finetune import finetune
from headwater.stages.prepare_volumes import prepare_volumes
from headwater.stages.twin import twin
from headwater.study.archive import Archive
from headwater.study.grid import Run
from headwater.study.intensity import Intensity
from headwater.study.source import Source

HERE = Path(__file__).with_suffix(".pth")
PATCH = [16, 40, 40]
STEPS = 500
KEYS = {"encoder.backbone.": "module.", "head.last.": "module.conv_final.2.conv."}
"""The beginnings of keys in a fine-tuned model, and in SuPreM's file of a SegResNet."""


def main() -> None:
    """Train the network, and write it in the layout."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = trained(folder)
        tensors, _ = weight_files.load_weights(model)
    named = {_spelt(key): tensor for key, tensor in tensors.items()}
    torch.save({"net": named, "epoch": STEPS}, HERE)
    print(f"{HERE}: {len(named)} tensors")


def trained(folder: Path) -> Path:
    """The model of a fine-tuning on participants that no example has."""
    twin("oai", folder / "oai", cases=150, seed=77, first_patient=5001, size=40)
    kind = {"name": "oai", "masks": "masks/{case}.nii.gz", "structures": STRUCTURES}
    archive = Archive(name="knees", kind=kind, folder=str(folder / "oai"), size=PATCH, test=0.1, validation=0.1)
    tables = {name: folder / f"{name}.parquet" for name in ("cases", "rejects", "labels", "ceilings")}
    arrays = {name: folder / f"{name}.npy" for name in ("images", "hashes", "masks", "references")}
    prepare_volumes(archive=archive, **tables, **arrays, split=folder / "split.json")
    asked = {"task": "segmentation", "labels": STRUCTURES, "seen": Intensity(zscore=True)}
    training = {"steps": STEPS, "batch": 4, "lr": 3e-3, "warmup_steps": 10, "validations": 4}
    run = Run(
        dataset={"name": "knees", "archive": "knees", **asked},
        source=Source(name="random", backbone="monai/segresnet_small", mean=(0.0,), std=(1.0,)),
        recipe={"name": "full", "select": "dice", "training": training},
        seed=101,  # not one of the study: two heads that begin alike would help one seed more than the others
    )
    products = {"model": folder / "model.safetensors", "fit": folder / "fit.json", "progress": folder / "progress.pt"}
    finetune(run=run, cases=tables["cases"], images=arrays["images"], patch=PATCH, **products)
    return products["model"]


def _spelt(key: str) -> str:
    """A key as SuPreM spells it."""
    return next(theirs + key.removeprefix(ours) for ours, theirs in KEYS.items() if key.startswith(ours))


if __name__ == "__main__":
    main()
