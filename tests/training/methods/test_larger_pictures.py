"""Views of pictures that are stored larger than networks see them: detail in crops, and no aliasing in whole ones."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import prepared_made
from headwater.core import files as core_files
from headwater.core.errors import UserError
from headwater.data import store
from headwater.data.resizing import fitted
from headwater.evaluation.predictions import PREDICTIONS
from headwater.models import predictor, weight_files
from headwater.models.encoder import Encoder, size_in
from headwater.stages.embed import embed
from headwater.stages.finetune import finetune
from headwater.stages.predict import predict
from headwater.stages.pretrain import pretrain
from headwater.study.grid import Run
from headwater.study.recipe import Views
from headwater.study.source import Source
from headwater.training import views
from headwater.training.methods import _crops
from headwater.training.views import pictures
from headwater.training.views.draws import keys, uniforms
from test_methods import METHODS, SIDE, learner

STORED, VIEW = 384, 224


def network(size: int) -> SimpleNamespace:
    """What views ask of an encoder of pictures."""
    return SimpleNamespace(space=(size, size), size=size, multiple=1, sides=round)


def drawn(count: int) -> torch.Tensor:
    cases = torch.arange(count)
    return keys(seed=0, epochs=torch.zeros_like(cases), cases=cases)


def seen(picture: np.ndarray, changes: Views, *, count: int, size: int = VIEW) -> torch.Tensor:
    """Views (count, size, size) of a grey picture uint8 (height, width), as a training makes them."""
    images = torch.from_numpy(picture)[None, None].expand(count, -1, -1, -1)
    return views.one(network(size), images, drawn(count), changes)[:, 0]


def box_of(key: torch.Tensor, changes: Views, *, side: int) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the crop of a key, in pixels."""
    draws = uniforms(key[None], 0, pictures.DRAWS)
    across, down = (extent.item() for extent in pictures._extents(draws, changes))
    left, top = (draw.item() * (1 - extent) for draw, extent in ((draws[2], across), (draws[3], down)))
    return tuple(side * place for place in (left, top, left + across, top + down))


def checkerboard(side: int) -> np.ndarray:
    places = np.arange(side)
    return (255 * ((places[:, None] + places) % 2)).astype(np.uint8)


def test_a_small_crop_holds_the_detail_of_the_larger_picture():
    """A checkerboard has the power of the same crop of the original, resized by Pillow; stored at 224 it is lost."""
    original, changes, count = checkerboard(STORED), Views(crop=0.08), 24
    larger = fitted(original, size=STORED, resize="pad")[0]
    smaller = fitted(original, size=VIEW, resize="pad")[0]
    ours, lost = seen(larger, changes, count=count), seen(smaller, changes, count=count)
    compared = 0
    for key, view, blurred in zip(drawn(count), ours, lost, strict=True):
        box = box_of(key, changes, side=STORED)
        extents = (box[2] - box[0], box[3] - box[1])
        if max(extents) > VIEW:
            continue
        compared += 1
        direct = Image.fromarray(original).resize((VIEW, VIEW), Image.Resampling.BILINEAR, box=box)
        power = (np.asarray(direct) / 255).var()
        # Pillow reads no pixel beyond the box and writes 8 bits: half a stored pixel at each end of an axis differs
        edge = 1 - math.prod(1 - 2 / extent for extent in extents)
        assert abs(view.var(correction=0).item() - power) < (edge + 0.01) * power + 0.001
        # along each axis 0.86 cycles per pixel of 224, of which Lanczos lets less than a tenth of the amplitude through
        assert blurred.var(correction=0).item() < 0.1**4 * power + (0.5 / 255) ** 2
    assert compared >= 8


@pytest.mark.parametrize("size", [224, 192, 160, 100])
@pytest.mark.parametrize("period", [2.05, 2.1])
def test_a_whole_picture_that_is_reduced_does_not_alias(size, period):
    """Of a grating that the view cannot show no more is left than the weights let through."""
    wave = np.cos(2 * np.pi * np.arange(STORED) / period)
    grating = np.rint(127.5 + 100 * np.tile(wave, (STORED, 1))).astype(np.uint8)
    factor = STORED / size
    ways = np.arange(1, math.ceil(factor))
    weights = 1 - ways / factor
    # the response of a triangle that is sampled at whole pixels; linear interpolation between them adds nothing
    passed = abs(1 + 2 * (weights * np.cos(2 * np.pi * ways / period)).sum()) / (1 + 2 * weights.sum())
    # half a grey value of rounding, and what repeated pixels beyond the edge bring in
    inner = seen(grating, Views(), count=1, size=size)[0, :, 4:-4]
    assert passed < 0.2
    assert (inner - 0.5).abs().max().item() < (100 * passed + 1) / 255
    plain = pictures.augment(pictures.as_float(torch.from_numpy(grating)[None, None]), drawn(1), Views(), size=size)[
        0, 0, :, 4:-4
    ]
    assert (plain - 0.5).abs().max().item() > 2 * (100 * passed + 1) / 255


def test_whole_pictures_are_reduced_nearly_as_they_are_when_they_are_scored():
    chance = np.random.default_rng(0)
    noise = chance.integers(0, 256, (STORED, STORED), dtype=np.uint8)
    images = pictures.as_float(torch.from_numpy(noise)[None, None])
    scored = torch.nn.functional.interpolate(images, size=(VIEW, VIEW), mode="bilinear", antialias=True)[0, 0]
    plain = pictures.augment(images, drawn(1), Views(), size=VIEW)[0, 0]
    # noise is the worst case: every frequency is as strong
    assert (seen(noise, Views(), count=1)[0] - scored).pow(2).mean() < (plain - scored).pow(2).mean() / 20


def test_crops_that_are_not_reduced_change_no_byte_and_others_do():
    images = torch.rand(64, 3, 48, 48)
    changes = Views(crop=0.08, flip=0.5, rotation=10)
    plain = pictures.augment(images, drawn(64), changes, size=32)
    smooth = pictures.augment(images, drawn(64), changes, size=32, antialias=True)
    across, down = pictures._extents(uniforms(drawn(64), 0, pictures.DRAWS), changes)
    small = (across <= 32 / 48) & (down <= 32 / 48)
    assert 8 < small.sum() < 56
    assert torch.equal(plain[small], smooth[small])
    assert not any(torch.equal(*pair) for pair in zip(plain[~small], smooth[~small], strict=True))


def test_a_view_does_not_depend_on_the_rest_of_its_batch():
    images, changes = torch.rand(8, 3, 48, 48), Views(crop=0.3, flip=0.5)
    whole = pictures.augment(images, drawn(8), changes, size=32, antialias=True)
    parts = [
        pictures.augment(images[at : at + 1], drawn(8)[at : at + 1], changes, size=32, antialias=True)
        for at in range(8)
    ]
    assert torch.equal(whole, torch.cat(parts))


def test_pictures_of_the_networks_size_are_treated_as_ever():
    """Small views of them shrink too, and stay as earlier versions made them."""
    images, changes = torch.rand(4, 3, 32, 32), Views(flip=0.5)
    assert views.reducing(network(32), images) == {}
    made = _crops.pieces(network(32), images, drawn(4), changes, shares=(0.3, 1.0), count=1, side=0.5)
    narrow = changes.model_copy(update={"crop": 0.3})
    cut = pictures.window(images, drawn(4), share=1.0, draw=0)
    assert torch.equal(made[0], pictures.augment(cut, drawn(4), narrow, size=16, first_draw=pictures.WINDOW_DRAWS))


@pytest.mark.parametrize("method", METHODS)
def test_each_method_cuts_all_its_views_from_the_larger_picture(monkeypatch, method):
    side, augment, calls = SIDE.get(method, 32), pictures.augment, []

    def watched(images, *given, **named):
        calls.append(named.get("antialias"))
        return augment(images, *given, **named)

    monkeypatch.setattr(pictures, "augment", watched)
    stored = torch.randint(0, 256, (4, 1, 2 * side, 2 * side), dtype=torch.uint8)
    made = [view for view in learner(method).views(stored, drawn(4)) if view.is_floating_point()]
    assert calls and all(calls)
    assert max(view.shape[-1] for view in made) == side and made[0].shape[-2:] == (side, side)


# a study's verbs


def a_source(**changes) -> Source:
    training = {"steps": 4, "batch": 16, "lr": 1e-3, "validations": 2}
    settings = {"name": "made", "backbone": "timm/test_vit", "method": "supervised", "corpus": "made", "view": 32}
    return Source(**{**settings, "training": training, "views": {"crop": 0.2}, "collapse": {"spread": 0}, **changes})


def a_run(source: Source, **dataset) -> Run:
    training = {"steps": 4, "batch": 16, "lr": 1e-3, "validations": 2}
    return Run(
        dataset={"name": "made", "archive": "made", "view": 32, **dataset},
        source=source,
        recipe={"name": "full", "training": training, "views": {"crop": 0.4, "flip": 0.5}},
        seed=0,
    )


def pretrained(folder, source, made, *, size=32, **probe):
    files = {"cases": made.cases, "images": made.images, "rows": made.rows}
    products = {"encoder": folder / "e.safetensors", "history": folder / "h", "progress": folder / "p.pt"}
    pretrain(source=source, size=[size], **files, **probe, **products)
    return products["encoder"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return prepared_made.archive(tmp_path_factory.mktemp("made"), size=48)


def test_encoders_and_models_remember_the_size_of_their_views(tmp_path, made):
    source = a_source()
    encoder = pretrained(tmp_path, source, made)
    assert size_in(weight_files.load_weights(encoder)[1]) == 32
    run, model = a_run(source), tmp_path / "model.safetensors"
    files = {"cases": made.cases, "images": made.images}
    products = {"model": model, "fit": tmp_path / "fit.json", "progress": tmp_path / "run.pt"}
    finetune(run=run, **files, encoder=encoder, **products)
    assert size_in(weight_files.load_weights(model)[1]) == 32
    assert core_files.read_json(tmp_path / "fit.json")["run"]["dataset"]["view"] == 32
    tables = {"predictions": [tmp_path / "test.parquet"], "validation": [tmp_path / "validation.parquet"]}
    predict(runs=[run], **files, models=[model], **tables)
    # whole pictures, reduced smoothly
    fitted_network, data = predictor.read(run, model), store.read(made.cases, images=made.images)
    test = data.rows("test")
    small = torch.nn.functional.interpolate(
        pictures.as_float(torch.from_numpy(data.images[test])), size=(32, 32), mode="bilinear", antialias=True
    )
    with torch.no_grad():
        expected = fitted_network.network.eval()(small).numpy()
    table = PREDICTIONS.read(tmp_path / "test.parquet")
    np.testing.assert_allclose(table["score"].to_numpy().reshape(expected.shape), expected, rtol=1e-4, atol=1e-4)


def test_networks_are_given_nothing_but_views(tmp_path, made, monkeypatch):
    """In the steps, at the checks of the features, by the probe, and in the validation."""
    normalised, given = Encoder.normalised, []

    def watched(self, images):
        given.append(images.shape[-1])
        return normalised(self, images)

    source = a_source(probe={"archive": "made"})
    files = {"cases": made.cases, "images": made.images}
    monkeypatch.setattr(Encoder, "normalised", watched)
    encoder = pretrained(tmp_path, source, made, probe_cases=[made.cases], probe_images=[made.images])
    products = {"model": tmp_path / "m.safetensors", "fit": tmp_path / "fit.json", "progress": tmp_path / "run.pt"}
    finetune(run=a_run(source), **files, encoder=encoder, **products)
    assert set(given) == {32} and len(given) > 2 * 4


def test_features_for_a_reduction_are_those_of_the_view(tmp_path, made):
    source = Source(name="random", backbone="timm/test_resnet", view=32)
    features = []
    for name, view in (("view", 32), ("whole", None)):
        products = {"features": tmp_path / f"{name}.npy", "account": tmp_path / f"{name}.json"}
        embed(source=source.model_copy(update={"view": view}), cases=made.cases, images=made.images, **products)
        features.append(np.load(products["features"]))
    assert features[0].shape == features[1].shape and not np.allclose(*features, atol=1e-3)


@pytest.mark.parametrize(("view", "size"), [(None, 32), (32, 48), (64, 64)])
def test_pictures_that_are_not_those_of_the_config_are_refused(tmp_path, made, view, size):
    with pytest.raises(UserError, match=r"images of 48 pixels.*run prepare again"):
        pretrained(tmp_path, a_source(view=view), made, size=size)
