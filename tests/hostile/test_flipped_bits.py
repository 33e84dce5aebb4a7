"""A bit that a disk or a copy has changed, wherever it lies in a product, is refused by what reads it, by name.

So are whole products that were exchanged for those of another archive or source.
"""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import prepared_made
from headwater.core.errors import UserError
from headwater.core.fingerprints import sha256
from headwater.core.records import Choice
from headwater.data import store, tables
from headwater.data.perceptual_hash import WORDS
from headwater.data.store import CASES
from headwater.evaluation.predictions import PREDICTIONS
from headwater.models import backbones, predictor
from headwater.models.weight_files import save_weights
from headwater.stages.embed import embed
from headwater.stages.finetune import finetune
from headwater.stages.predict import predict
from headwater.stages.reduce import reduce
from headwater.study.grid import Run
from headwater.study.source import Source
from headwater.training.features import encoder_of

FLIPS = 26
"""Bits that are changed in each file, at random."""

ADOPTED = Source(name="theirs", backbone="timm/test_resnet", weights={"layout": "timm"})
LENGTH = {"steps": 2, "batch": 16, "lr": 1e-3, "validations": 1}
RUN = Run(
    dataset={"name": "made", "archive": "made"}, source=ADOPTED, recipe={"name": "full", "training": LENGTH}, seed=0
)


def products(folder: Path, *, seed: int) -> None:
    """An archive, an encoder and its features, a network and its predictions."""
    made = prepared_made.archive(folder, cases=60, seed=seed)
    np.save(folder / "hashes.npy", np.random.default_rng(seed).integers(0, 2**60, (60, WORDS)).astype(np.uint64))
    CASES.write(CASES.read(made.cases), made.cases, origin={"hashes": sha256(folder / "hashes.npy")})
    network = backbones.build(ADOPTED.backbone, size=32, mean=(0.4,), std=(0.2,), seed=seed)
    named = {**network.metadata(), "source": ADOPTED.as_json(), "digest": ADOPTED.digest}
    save_weights(network.tensors(), folder / "encoder.safetensors", named)
    both = {"cases": made.cases, "images": made.images}
    embed(
        source=ADOPTED, **both, encoder=folder / "encoder.safetensors", features=folder / "features.npy",
        account=folder / "features.json", device="cpu",
    )  # fmt: skip
    model = folder / "model.safetensors"
    finetune(
        run=RUN, **both, encoder=folder / "encoder.safetensors", model=model, fit=folder / "fit.json",
        progress=folder / "progress.pt",
    )  # fmt: skip
    files = {"predictions": [folder / "predictions.parquet"], "validation": [folder / "validation.parquet"]}
    predict(runs=[RUN], **both, models=[model], **files)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The same products of two archives of as many images, made once."""
    folders = {seed: tmp_path_factory.mktemp(f"seed{seed}") for seed in (1, 2)}
    for seed, folder in folders.items():
        products(folder, seed=seed)
    return folders


@pytest.fixture
def folder(made: dict[int, Path], tmp_path: Path) -> Path:
    """A copy of the first, which may be damaged."""
    return shutil.copytree(made[1], tmp_path / "copy")


def reduced(folder: Path) -> None:
    """What `reduce` makes of the features."""
    reduce(
        reduction=Choice(name="embedding", options={"source": "theirs", "similarity": 0.9}),
        cases=folder / "cases.parquet", images=folder / "images.npy", hashes=folder / "hashes.npy",
        features=folder / "features.npy", rows=folder / "kept.parquet", manifest=folder / "kept.manifest.parquet",
    )  # fmt: skip


def all_images(folder: Path) -> None:
    """Every image, as trainings and predictions read them."""
    store.read(folder / "cases.parquet", images=folder / "images.npy").images[np.arange(60)]


def hashes(folder: Path) -> None:
    """The hashes, as ledger and reductions read them."""
    table = folder / "cases.parquet"
    store.read_hashes(folder / "hashes.npy", cases=CASES.read(table), table=table)


READERS: dict[str, Callable[[Path], object]] = {
    "images.npy": all_images,
    "hashes.npy": hashes,
    "features.npy": lambda folder: store.read_features(folder / "features.npy", cases=folder / "cases.parquet"),
    "encoder.safetensors": lambda folder: encoder_of(ADOPTED, size=32, encoder=folder / "encoder.safetensors"),
    "model.safetensors": lambda folder: predictor.read(RUN, folder / "model.safetensors"),
    "cases.parquet": all_images,
    "predictions.parquet": lambda folder: PREDICTIONS.read(folder / "predictions.parquet"),
}


def flip(file: Path, content: bytes, bit: int) -> None:
    """Write the content with one bit changed."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    file.write_bytes(changed)


def refused(folder: Path, name: str, *, because: str = "") -> None:
    """What reads the file refuses it in one line that names it."""
    with pytest.raises(UserError) as refusal:
        READERS[name](folder)
    assert because in str(refusal.value) and name in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_is_refused_wherever_it_lies(folder: Path, name: str):
    READERS[name](folder)
    file = folder / name
    content = file.read_bytes()
    for bit in random.Random(name).sample(range(8 * len(content)), FLIPS):
        flip(file, content, bit)
        refused(folder, name)
    file.write_bytes(content)
    READERS[name](folder)


@pytest.mark.parametrize("each", [11, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", ["images.npy", "hashes.npy", "features.npy"])
def test_every_bit_of_the_header_of_an_array_counts(folder: Path, made: dict[int, Path], name: str, each: int):
    file = folder / name
    content = file.read_bytes()
    # eleven has no factor in common with the bits of a byte, so that each of them is tried
    for bit in range(0, 8 * 128, each):
        flip(file, content, bit)
        try:
            READERS[name](folder)
        except UserError as refusal:
            assert name in str(refusal) and "\n" not in str(refusal)
        else:
            # another word for the order of single bytes, which have none, or another kind of white space
            assert name == "images.npy" and np.array_equal(np.load(file), np.load(made[1] / name))


@pytest.mark.parametrize("name", ["cases.parquet", "predictions.parquet"])
def test_every_bit_of_a_tables_digest_and_of_its_name_counts(folder: Path, name: str):
    file = folder / name
    content = file.read_bytes()
    start, end = content.index(tables.CONTENT.encode()), tables.SIGNED.search(content).end()
    for bit in range(8 * start, 8 * end):
        flip(file, content, bit)
        with pytest.raises(UserError, match=name):
            tables.refuse_changed(file)


@pytest.mark.parametrize("name", ["encoder.safetensors"])
def test_every_bit_of_the_name_of_a_weights_digest_counts(folder: Path, name: str):
    file = folder / name
    content = file.read_bytes()
    start = content.index(b'"content"')
    for bit in range(8 * start, 8 * (start + len('"content":"') + 32), 3):
        flip(file, content, bit)
        refused(folder, name)


@pytest.mark.parametrize("name", ["images.npy", "hashes.npy", "features.npy"])
def test_an_array_of_another_archive_is_refused(folder: Path, made: dict[int, Path], name: str):
    shutil.copy(made[2] / name, folder / name)
    refused(folder, name, because="has changed since")


def test_features_of_another_archive_with_their_record_are_refused(folder: Path, made: dict[int, Path]):
    for name in ("features.npy", "features.json"):
        shutil.copy(made[2] / name, folder / name)
    with pytest.raises(UserError, match=r"features\.npy: holds features of other images than those of .*cases"):
        reduced(folder)


def test_features_are_checked_where_they_choose_images(folder: Path):
    reduced(folder)
    content = (folder / "features.npy").read_bytes()
    flip(folder / "features.npy", content, 8 * len(content) - 100)
    with pytest.raises(UserError, match=r"features\.npy: has changed since .*features\.json"):
        reduced(folder)


def test_an_encoder_of_another_source_is_refused(folder: Path):
    other = ADOPTED.model_copy(update={"name": "other"})
    with pytest.raises(UserError, match=r"encoder\.safetensors: is the encoder of source 'theirs', not of 'other'"):
        encoder_of(other, size=32, encoder=folder / "encoder.safetensors")


def test_tables_that_other_tools_or_earlier_versions_wrote_can_be_read(folder: Path):
    file = folder / "cases.parquet"
    frame = CASES.read(file)
    frame.to_parquet(file, index=False)
    assert CASES.read(file).equals(frame)
