"""Cases that the ledger drops from training reach no network: as a corpus, in a fine-tuning, or in its validation."""

import hashlib
import json

import numpy as np
import pytest

import prepared_made
from headwater.core import files as core_files
from headwater.core.errors import UserError
from headwater.core.records import Choice
from headwater.data.dropping import DROPPED
from headwater.data.perceptual_hash import WORDS
from headwater.data.reduction import ROWS
from headwater.data.store import CASES, digest
from headwater.evaluation.predictions import PREDICTIONS
from headwater.models import weight_files
from headwater.stages.embed import embed
from headwater.stages.finetune import finetune
from headwater.stages.ledger import ledger
from headwater.stages.predict import predict
from headwater.stages.pretrain import pretrain
from headwater.stages.reduce import reduce
from headwater.study.grid import Run
from headwater.study.leaks import Leaks, Learned, Overlaps
from headwater.study.source import Source

COPIED = {0: 6, 1: 7, 10: 16, 2: 17}
"""Rows of training images (2 validates) that are copies of test images, and those."""

OVERLAPS = Overlaps(
    leaks=Leaks(distance=0, resolve={"identical": "drop_from_training"}),
    archives=(Learned(archive="made", splits=("train", "validation", "test"), numbering="made"),),
)


@pytest.fixture
def made(tmp_path):
    """An archive with copies of test images, its ledger, and the list of the cases to drop."""
    folder = tmp_path / "made"
    made = prepared_made.archive(folder)
    images = np.load(made.images)
    for copy, original in COPIED.items():
        images[copy] = images[original]
    prepared_made.replace_images(made, images)
    _write_hashes(folder, images)
    places = {"ledger": tmp_path / "ledger.parquet", "readable": tmp_path / "ledger.csv"}
    hashes = folder / "hashes.npy"
    ledger(overlaps=OVERLAPS, cases=[made.cases], hashes=[hashes], dropped=[folder / "dropped.parquet"], **places)
    return made


def _write_hashes(folder, images):
    """Hashes of which equal images have equal ones, and others differ in many bits."""
    numbers = [int(digest(image), 16) for image in images]
    rows = [np.random.default_rng(number).integers(0, 2**64, WORDS, dtype=np.uint64) for number in numbers]
    np.save(folder / "hashes.npy", np.array(rows))


def list_of(made):
    return made.cases.with_name("dropped.parquet")


def a_run(**recipe):
    training = {"steps": 6, "batch": 16, "lr": 1e-3, "validations": 2}
    return Run(
        dataset={"name": "made", "archive": "made"},
        source=Source(name="random", backbone="timm/test_resnet"),
        recipe={"name": "full", "training": training, **recipe},
        seed=0,
    )


def fitted(folder, made, *, dropped, run=None):
    """(tensors, fit.json) of a fine-tuning."""
    run = run or a_run()
    products = {"model": folder / "model.safetensors", "fit": folder / "fit.json", "progress": folder / "saved.pt"}
    finetune(run=run, cases=made.cases, images=made.images, dropped=dropped, device="cpu", **products)
    return weight_files.load_weights(products["model"])[0], core_files.read_json(products["fit"])


def sha(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_fine_tuning_sees_nothing_of_the_dropped_cases(tmp_path, made):
    tensors, record = fitted(tmp_path / "one", made, dropped=list_of(made))
    split = CASES.read(made.cases)["split"]
    counts = {name: int((split == name).sum()) for name in ("train", "validation")}
    assert record["rows"] == {"train": counts["train"] - 3, "validation": counts["validation"] - 1}
    assert record["dropped"] == {"train": 3, "validation": 1, "list": sha(list_of(made))}
    whole, told = fitted(tmp_path / "whole", made, dropped=None)
    assert told["rows"] == counts and "dropped" not in told and told["split"] != record["split"]

    # other labels and other pixels of the dropped cases change no weight; without the list they do
    cases, images = CASES.read(made.cases), np.load(made.images)
    for row in COPIED:
        images[row] = 255 - images[row]
        for label in prepared_made.LABELS:
            cases.loc[row, f"target:{label}"] = 1 - cases.loc[row, f"target:{label}"]
    CASES.write(cases, made.cases)
    prepared_made.replace_images(made, images)
    again, _ = fitted(tmp_path / "again", made, dropped=list_of(made))
    assert all((again[name] == tensors[name]).all() for name in tensors)
    other, _ = fitted(tmp_path / "other", made, dropped=None)
    assert any((other[name] != whole[name]).any() for name in whole)


def test_choices_on_the_validation_split_are_made_without_them(tmp_path, made):
    fitted(tmp_path, made, dropped=list_of(made))

    def scored(dropped):
        files = {"predictions": [tmp_path / "test.parquet"], "validation": [tmp_path / "validation.parquet"]}
        models, run = [tmp_path / "model.safetensors"], [a_run()]
        predict(runs=run, cases=made.cases, images=made.images, models=models, dropped=dropped, device="cpu", **files)
        return {name: set(PREDICTIONS.read(path)["case"]) for name, (path,) in files.items()}

    cases = CASES.read(made.cases)
    cases_of = {split: set(cases.loc[cases["split"] == split, "case"]) for split in ("validation", "test")}
    assert scored(list_of(made)) == {
        "predictions": cases_of["test"],
        "validation": cases_of["validation"] - {"case002"},
    }
    with pytest.raises(UserError, match="was fitted to other splits of these cases; delete it and run finetune again"):
        scored(None)


def test_a_corpus_is_reduced_embedded_and_learned_from_without_them(tmp_path, made):
    source = Source(name="random", backbone="timm/test_resnet")
    places = {"features": tmp_path / "features.npy", "account": tmp_path / "features.json"}
    embed(source=source, cases=made.cases, images=made.images, dropped=list_of(made), device="cpu", **places)
    cases = CASES.read(made.cases)
    train = set(cases.loc[cases["split"] == "train", "case"])
    assert len(np.load(places["features"])) == len(train) - 3

    def kept(dropped, reduction="everything", **features):
        files = {"rows": tmp_path / "rows.parquet", "manifest": tmp_path / "manifest.parquet"}
        hashes = made.cases.with_name("hashes.npy")
        reduce(
            reduction=Choice(name=reduction, options=features.pop("options", {})),
            cases=made.cases,
            images=made.images,
            hashes=hashes,
            dropped=dropped,
            **files,
            **features,
        )
        return set(ROWS.read(files["rows"])["case"])

    left = train - {"case000", "case001", "case010"}
    assert kept(list_of(made)) == left and kept(None) == train
    options = {"source": "random", "share": 0.5}
    assert kept(list_of(made), "embedding", options=options, features=places["features"]) <= left

    method = {"method": "supervised", "corpus": "made", "training": {"steps": 2, "batch": 8}}

    def pretrained(dropped):
        pretrain(
            source=Source(name="ours", backbone="timm/test_resnet", **method),
            size=32,
            cases=made.cases,
            images=made.images,
            rows=tmp_path / "rows.parquet",
            encoder=tmp_path / "ours.safetensors",
            history=tmp_path / "ours",
            progress=tmp_path / "ours.pt",
            dropped=dropped,
            device="cpu",
        )
        return json.loads(weight_files.load_weights(tmp_path / "ours.safetensors")[1]["origin"])

    kept(list_of(made))
    assert pretrained(list_of(made))["dropped"] == sha(list_of(made))
    kept(None)
    with pytest.raises(UserError, match=r"rows\.parquet: contains images that are dropped from training; run reduce"):
        pretrained(list_of(made))


def test_a_list_of_other_cases_is_refused(tmp_path, made):
    other = DROPPED.frame([{"case": "stranger", "split": "train", "kinds": "identical", "tests": "made test"}])
    DROPPED.write(other, tmp_path / "dropped.parquet")
    with pytest.raises(UserError, match=r"dropped\.parquet: was made for other cases than .*run ledger again"):
        fitted(tmp_path, made, dropped=tmp_path / "dropped.parquet")


def test_a_label_of_a_second_reading_that_loses_its_last_positive_is_refused(tmp_path, made):
    frame = CASES.read(made.cases)
    frame[f"target:{prepared_made.LABELS[0]}"] = np.where(
        frame["row"].isin([0, 1]) | (frame["row"] % 10 == 2), 1.0, 0.0
    )
    CASES.write(frame, made.cases)
    with pytest.raises(UserError, match="leaves label 'bright left' no positive case; leave the label out"):
        fitted(tmp_path, made, dropped=list_of(made))


def test_a_second_reading_that_leaves_a_dropped_case_out_is_read(tmp_path, made):
    frame = CASES.read(made.cases)
    frame.loc[0, "split"] = ""
    CASES.write(frame, made.cases)
    _, record = fitted(tmp_path, made, dropped=list_of(made))
    assert record["dropped"]["train"] == 2
