"""Features are what an encoder gives for each training image; a reduction by them is planned behind their encoder."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import torch

import prepared_made
from headwater.core.errors import UserError
from headwater.core.records import Choice
from headwater.data import store, tables
from headwater.data.perceptual_hash import WORDS
from headwater.data.reduction import MANIFEST, ROWS
from headwater.data.store import CASES
from headwater.models import backbones, weight_files
from headwater.stages.embed import embed
from headwater.stages.reduce import reduce
from headwater.study import config as study_config
from headwater.study import job_graph
from headwater.study.ct_windows import Window
from headwater.study.source import Source
from workflow_made import planned, small_config, snakemake

RANDOM = Source(name="random", backbone="timm/test_resnet", mean=(0.4,), std=(0.2,), seed=3)
HALF = 2.0**-11
"""The step between float16 numbers just below 1: twice what is rounded away, beside which float32 is exact."""
ADOPTED = Source(name="theirs", backbone="timm/test_resnet", weights={"layout": "timm"})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A prepared archive with 36 training images in rows that are not next to each other."""
    folder = tmp_path_factory.mktemp("made")
    archive = prepared_made.archive(folder, cases=60)
    np.save(folder / "hashes.npy", np.zeros((60, WORDS), np.uint64))
    return archive


def embedded(folder, made, source=RANDOM, **more):
    """(features, account) that embed writes."""
    files = {"cases": made.cases, "images": made.images, "features": folder / "f.npy", "account": folder / "f.json"}
    embed(source=source, **files, **more, device="cpu")
    return store.read_features(folder / "f.npy"), json.loads((folder / "f.json").read_text())


def written(folder, network):
    """A weights file of ours."""
    weight_files.save_weights(network.tensors(), folder / "e.safetensors", network.metadata())
    return folder / "e.safetensors"


def drawn(seed=3):
    return backbones.build("timm/test_resnet", size=32, mean=(0.4,), std=(0.2,), seed=seed).eval()


def directions_of(network, made):
    """What the network gives for the training images, at length one; computed without the training loop."""
    cases = CASES.read(made.cases)
    images = np.load(made.images)[cases["row"][cases["split"] == "train"]]
    with torch.no_grad():
        features = network(torch.from_numpy(images).float().expand(-1, 3, -1, -1) / 255).double().numpy()
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.mark.parametrize("piece", [8192, 7])
def test_features_are_directions_of_what_the_encoder_gives(tmp_path, made, monkeypatch, piece):
    monkeypatch.setattr("headwater.training.features.PIECE", piece)
    features, account = embedded(tmp_path, made)
    assert features.dtype == np.float16 and features.shape == (36, account["width"])
    assert np.allclose(features, directions_of(drawn(), made), atol=HALF)
    assert (account["images"], account["encoder"], account["source"]) == (36, "random", "random")
    assert account["seconds"] > 0 and account["record"] == RANDOM.digest


def test_an_encoder_is_taken_from_its_file_with_its_own_normalisation(tmp_path, made):
    network = drawn(seed=9)
    file = written(tmp_path, network)
    features, account = embedded(tmp_path, made, ADOPTED, encoder=file)
    assert np.allclose(features, directions_of(network, made), atol=HALF)
    assert account["encoder"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_same_inputs_give_the_same_bytes(tmp_path, made):
    embedded(tmp_path, made)
    first = (tmp_path / "f.npy").read_bytes()
    embedded(tmp_path, made)
    assert (tmp_path / "f.npy").read_bytes() == first


def test_only_training_images_are_looked_at(tmp_path, made):
    expected, _ = embedded(tmp_path, made)
    expected = np.array(expected)
    cases, images = CASES.read(made.cases), np.load(made.images)
    images[cases["row"][cases["split"] != "train"]] = 0
    np.save(tmp_path / "dark.npy", images)
    files = {"features": tmp_path / "d.npy", "account": tmp_path / "d.json"}
    embed(source=RANDOM, cases=made.cases, images=tmp_path / "dark.npy", **files, device="cpu")
    assert (store.read_features(tmp_path / "d.npy") == expected).all()


def test_hounsfield_units_are_seen_through_the_window_of_their_archive(tmp_path, made):
    # a window of 255 units from -40 shows as shades what they were made of
    scans = prepared_made.archive(tmp_path, cases=60)
    prepared_made.replace_images(scans, np.load(made.images)[:, :1].astype(np.int16) - 40)
    files = {"cases": scans.cases, "features": tmp_path / "s.npy", "account": tmp_path / "s.json"}
    looking = RANDOM.model_copy(update={"seen": Window(centre=-40 + 127.5, width=255)})
    embed(source=looking, images=scans.images, **files, device="cpu")
    assert np.allclose(store.read_features(tmp_path / "s.npy"), directions_of(drawn(), made), atol=HALF)
    with pytest.raises(UserError, match="holds Hounsfield units, but no window is given"):
        embed(source=RANDOM, images=scans.images, **files, device="cpu")


def test_the_window_of_a_corpus_stands_in_the_command(tmp_path):
    config = study()
    twin = {"cases": 40, "size": 48}
    config["archives"]["photographs"] = {"kind": "fdg_petct", "folder": "ct", "size": 32, "twin": twin}
    config["archives"]["photographs"]["window"] = {"centre": 40, "width": 80}
    # whoever looks: a random start has no corpus, and so no window of its own
    config["reductions"]["unlike"]["source"] = "random"
    said = snakemake(tmp_path, "-n", "--printshellcmds", "--until", "embed", config=config).stdout
    command = next(line for line in said.splitlines() if "scripts/embed.py" in line)
    assert '"seen":{"centre":40.0,"width":80.0}' in command


def test_a_random_start_has_no_file_and_every_other_has_one(tmp_path, made):
    with pytest.raises(UserError, match="source 'random' is random"):
        embedded(tmp_path, made, encoder=written(tmp_path, drawn()))
    with pytest.raises(UserError, match="source 'theirs' is adopted; give --encoder"):
        embedded(tmp_path, made, ADOPTED)
    file = written(tmp_path, backbones.build("timm/test_vit", size=32, mean=(0.4,), std=(0.2,), seed=0))
    with pytest.raises(UserError, match="holds a timm/test_vit, not a timm/test_resnet"):
        embedded(tmp_path, made, ADOPTED, encoder=file)


def reduced(folder, made, *, name="embedding", features=True, **options):
    files = {"cases": made.cases, "images": made.images, "hashes": made.cases.parent / "hashes.npy"}
    files |= {"rows": folder / "kept.parquet", "manifest": folder / "kept.manifest.parquet"}
    given = {"features": folder / "f.npy"} if features else {}
    reduce(reduction=Choice(name=name, options=options), **files, **given)
    return ROWS.read(files["rows"]), MANIFEST.read(files["manifest"])


def test_a_reduction_keeps_what_the_encoder_sees_as_different(tmp_path, made):
    embedded(tmp_path, made)
    rows, manifest = reduced(tmp_path, made, source="random", similarity=0.99, per="corpus")
    assert 1 < len(rows) < 36
    # by definition, over the whole corpus in its order, on directions that know nothing of files
    order = manifest["row"].tolist()
    train = sorted(order)
    seen = np.load(tmp_path / "f.npy").astype(float)[[train.index(row) for row in order]]
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    kept: list[int] = []
    for place in range(36):
        if not any(seen[one] @ seen[place] >= 0.99 for one in kept):
            kept.append(place)
    assert rows["row"].tolist() == [order[place] for place in kept]
    assert manifest["distance"].max() <= 0.01
    told = json.loads((tmp_path / "kept.spent.json").read_text())
    assert (told["images"], told["kept"], told["finished"]) == (36, len(rows), True) and told["seconds"] > 0
    fingerprint = hashlib.sha256((tmp_path / "f.npy").read_bytes()).hexdigest()
    assert tables.read_origin(tmp_path / "kept.parquet") == {"features": fingerprint}


def test_features_are_asked_for_and_must_fit(tmp_path, made):
    embedded(tmp_path, made)
    with pytest.raises(UserError, match="compares features of random; pass them by --features"):
        reduced(tmp_path, made, source="random", features=False)
    with pytest.raises(UserError, match="compares pixels; remove --features"):
        reduced(tmp_path, made, name="everything")
    np.save(tmp_path / "f.npy", np.zeros((35, 4), np.float16))
    with pytest.raises(
        UserError, match="features of 35 images, but the train split has 36; delete it and run embed again"
    ):
        reduced(tmp_path, made, source="random")
    np.save(tmp_path / "f.npy", np.zeros((36, 4), np.float32))
    with pytest.raises(UserError, match="is float32"):
        reduced(tmp_path, made, source="random")


def study() -> dict:
    """Three sources: one whose encoder looks, and two that learn from what it finds different, or as many."""
    config = small_config()
    learned = config["sources"]["photographs"]
    config["sources"]["less"] = learned | {"reduction": "unlike"}
    config["sources"]["blind"] = learned | {"reduction": "as_many"}
    config["reductions"] = {
        "unlike": {"name": "embedding", "source": "photographs", "similarity": 0.99, "per": "corpus"},
        "as_many": {"name": "random", "like": "unlike"},
    }
    return config


def test_features_are_planned_behind_their_encoder(tmp_path):
    config = study()
    found = list(job_graph.jobs(study_config.load(config)))
    products = [job.product for job in found]
    assert all(need in products[:place] for place, job in enumerate(found) for need in job.needs)
    counted = pd.Series([job.rule for job in found]).value_counts().to_dict()
    assert planned(tmp_path, config=config) == counted | {"all": 1}
    assert (counted["embed"], counted["reduce"], counted["pretrain"]) == (1, 3, 3)
    embedding = next(job for job in found if job.rule == "embed")
    assert (embedding.log, embedding.ranks) == ("logs/embed/photographs/photographs.log", 1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda config: config["reductions"]["unlike"].update(source="photograph"), "no 'photograph'; did you mean"),
        (lambda config: config["reductions"]["unlike"].update(source="less"), "less -> less is a cycle of encoders"),
        # who is compared with a blind draw of as many waits for that draw
        (lambda config: config["reductions"]["unlike"].update(source="blind"), "blind -> blind is a cycle"),
        (
            lambda config: (
                config["reductions"]["unlike"].update(source="blind"),
                config["sources"]["blind"].update(reduction="everything", start="less"),
            ),
            "less -> blind -> less is a cycle",
        ),
        (lambda config: config["reductions"]["unlike"].update(similarity=2), "embedding.similarity"),
    ],
)
def test_encoders_that_wait_for_each_other_are_refused_before_the_first_job(change, told):
    config = study()
    change(config)
    with pytest.raises(UserError, match=told) as refused:
        study_config.load(config)
    assert str(refused.value).count("is a cycle") <= 1


@pytest.mark.slow
def test_a_corpus_is_reduced_by_what_an_encoder_sees(tmp_path):
    # a random start looks, so that nothing has to be trained first
    config = study()
    config["reductions"]["unlike"]["source"] = "random"
    snakemake(tmp_path, "results/corpora/photographs/as_many.parquet", config=config)
    corpora = tmp_path / "results" / "corpora" / "photographs"
    kept, many = (len(ROWS.read(corpora / f"{name}.parquet")) for name in ("unlike", "as_many"))
    images = len(store.read_features(corpora / "random.features.npy"))
    assert 0 < kept == many < images
    again = snakemake(tmp_path, "results/corpora/photographs/as_many.parquet", "-n", config=config)
    assert "Nothing to be done" in again.stdout + again.stderr
