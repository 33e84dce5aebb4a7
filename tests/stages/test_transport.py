"""A network on the test images of other archives: the right finding of the right case, at the size that it knows."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import prepared_made
import rounding
from headwater.core.errors import UserError
from headwater.data import store, tables
from headwater.data.store import CASES
from headwater.evaluation.predictions import ELSEWHERE
from headwater.models import predictor, resizing
from headwater.stages.transport import transport
from headwater.study.grid import Run
from headwater.study.shared_labels import Exchange, Exchanges
from headwater.study.source import Source
from headwater.training.views.pictures import as_float
from test_training_verbs import fitted as fit
from test_training_verbs import predicted

FITTED = ("bright left", "bright right", "stripes")
THERE = {"stripes": "Lines", "bright left": "Left side"}
"""What the other archive calls two of the three, in another order."""


def a_run(backbone="timm/test_resnet") -> Run:
    training = {"steps": 30, "batch": 16, "lr": 2e-3, "validations": 2}
    return Run(
        dataset={"name": "made", "archive": "made", "labels": FITTED},
        source=Source(name="random", backbone=backbone),
        recipe={"name": "full", "training": training},
        seed=0,
    )


def renamed(made: prepared_made.Made) -> prepared_made.Made:
    """The archive with its labels spelt and ordered otherwise, and one of them gone."""
    frame = CASES.read(made.cases)
    targets = {tables.TARGET + other: frame[tables.TARGET + label] for label, other in THERE.items()}
    kept = frame.drop(columns=[column for column in frame if column.startswith(tables.TARGET)])
    CASES.write(kept.assign(**targets), made.cases)
    return made


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """(folder of a fitted model, its run, the archive that it was fitted to)."""
    folder = tmp_path_factory.mktemp("fitted")
    made = prepared_made.archive(folder / "made", cases=120)
    fit(folder, a_run(), made)
    return folder, a_run(), made


def transported(
    folder, network, *others: tuple[str, prepared_made.Made, tuple], out="elsewhere.parquet"
) -> pd.DataFrame:
    """What the network says of other archives: (name, archive, pairs of labels)."""
    home, run, _ = network
    transport(
        runs=[run],
        asked=Exchanges(others=tuple(Exchange(dataset=name, labels=labels) for name, _, labels in others)),
        cases=[made.cases for _, made, _ in others],
        images=[made.images for _, made, _ in others],
        models=[home / "model.safetensors"],
        elsewhere=[folder / out],
    )
    return ELSEWHERE.read(folder / out)


SAME = tuple((label, label) for label in reversed(FITTED))
SPELT = tuple((other, label) for label, other in THERE.items())


def test_on_the_archive_it_was_fitted_to_it_says_what_predict_says(tmp_path, network):
    folder, run, made = network
    at_home = predicted(folder, run, made).set_index(["case", "label"])
    there = transported(tmp_path, network, ("again", made, SAME)).set_index(["case", "label"])
    pd.testing.assert_frame_equal(
        there[["patient", "target", "score"]].sort_index(), at_home[["patient", "target", "score"]].sort_index()
    )


def test_findings_keep_their_scores_whatever_they_are_called_and_in_which_order(tmp_path, network):
    other = renamed(prepared_made.archive(tmp_path / "other", seed=5))
    table = transported(tmp_path, network, ("again", network[2], SAME), ("other", other, SPELT))
    here = table[table["tested_on"] == "other"]
    cases = CASES.read(other.cases)
    test = cases[cases["split"] == "test"]
    assert here["case"].tolist() == np.repeat(test["case"], 2).tolist()
    assert here["label"].tolist() == ["Lines", "Left side"] * len(test)
    assert here["asked"].tolist() == ["stripes", "bright left"] * len(test)
    assert set(here["dataset"]) == {"made"} and set(table["tested_on"]) == {"again", "other"}
    wide = test[[tables.TARGET + "Lines", tables.TARGET + "Left side"]].to_numpy().ravel()
    np.testing.assert_array_equal(here["target"], wide)
    # of the same images under the names of home
    plain = prepared_made.archive(tmp_path / "plain", seed=5)
    expected = transported(tmp_path, network, ("plain", plain, SAME), out="plain.parquet")
    for asked in THERE:
        one = here.loc[here["asked"] == asked, "score"].to_numpy()
        np.testing.assert_array_equal(one, expected.loc[expected["asked"] == asked, "score"].to_numpy())


@pytest.mark.parametrize("backbone", ["timm/test_resnet", "timm/test_vit"])
@rounding.in_float64()
def test_images_of_another_size_are_brought_to_that_of_the_network(tmp_path, backbone):
    run = a_run(backbone)
    fit(tmp_path, run, prepared_made.archive(tmp_path / "made"))
    network = (tmp_path, run, None)
    larger = prepared_made.archive(tmp_path / "larger", size=80, seed=3)
    table = transported(tmp_path, network, ("larger", larger, SAME))
    data = store.read(larger.cases, images=larger.images)
    images = as_float(torch.from_numpy(data.images[data.rows("test")]))
    small = F.interpolate(images, size=(32, 32), mode="bilinear", antialias=True)
    with torch.no_grad():
        expected = predictor.read(run, tmp_path / "model.safetensors").network.eval()(small)[:, [2, 1, 0]]
    np.testing.assert_allclose(table["score"].to_numpy().reshape(-1, 3), expected, **rounding.NEAR)
    first = (tmp_path / "elsewhere.parquet").read_bytes()
    transported(tmp_path, network, ("larger", larger, SAME))
    assert (tmp_path / "elsewhere.parquet").read_bytes() == first


def test_a_picture_is_made_smaller_as_pillow_does_it():
    """Antialiased: each new pixel looks at all those that it stands for."""
    pixels = np.random.default_rng(0).integers(0, 256, (80, 80), dtype=np.uint8)
    small = resizing.Resizing(torch.nn.Identity(), size=32)(as_float(torch.from_numpy(pixels)[None, None]))
    pillow = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BILINEAR), dtype=float)
    np.testing.assert_allclose(255 * small[0, 0].numpy(), pillow, atol=1.0)


def test_images_in_colour_are_scored_by_a_network_of_grey_ones(tmp_path, network):
    grey = prepared_made.archive(tmp_path / "grey", seed=4)
    colour = prepared_made.archive(tmp_path / "colour", seed=4)
    prepared_made.replace_images(colour, np.repeat(np.load(grey.images), 3, axis=1))
    table = transported(tmp_path, network, ("grey", grey, SAME), ("colour", colour, SAME))
    one, other = (table.loc[table["tested_on"] == name, "score"].to_numpy() for name in ("grey", "colour"))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ((("stripes", "stripe"),), "model.safetensors: has no label 'stripe'; did you mean 'stripes'?"),
        ((("stripe", "stripes"),), "cases.parquet: has no label 'stripe'; did you mean 'stripes'?"),
    ],
)
def test_a_label_that_is_not_there_is_refused(tmp_path, network, labels, said):
    with pytest.raises(UserError) as refused:
        transported(tmp_path, network, ("again", network[2], labels))
    assert said in str(refused.value) and not (tmp_path / "elsewhere.parquet").exists()


def test_the_model_of_another_run_and_archives_without_test_cases_are_refused(tmp_path, network):
    other = network[0], network[1].model_copy(update={"seed": 1}), network[2]
    with pytest.raises(UserError, match="is not the model of run made/random/full/seed1"):
        transported(tmp_path, other, ("again", network[2], SAME))
    made = prepared_made.archive(tmp_path / "untested")
    frame = CASES.read(made.cases)
    CASES.write(frame.assign(split=frame["split"].replace("test", "train")), made.cases)
    with pytest.raises(UserError, match="has no test cases"):
        transported(tmp_path, network, ("untested", made, SAME))
