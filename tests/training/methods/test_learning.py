"""Features of new pictures tell more after a short pre-training by each method than before, and not after a broken one.

Of WITHOUT_RECIPE no short training of a small network is known here after which features tell more because of what the
method teaches: those of `ijepa` gain nothing, those of `ibot` with a linear probe alone, and after `simmim` and
`spark` features may tell as much if what is hidden is another picture's. Whether these learn what they are to is asked
in their own files: of unseen pictures they fill in what is hidden, and don't after a broken training.
"""

import math

import pytest

from headwater.core import registry
from short_trainings_made import ASKED, Recipe, share, trained, untrained

GAIN = 3 * math.sqrt(2 * 0.5 * 0.5 / ASKED)
"""Three standard errors of the difference of two shares of so many pictures, where it is largest: 0.075."""

HEAD = {"dimension": 64, "hidden_dimension": 128}
CROPPED = HEAD | {"crop": 0.3}
VIEWS = {"jitter": 0.8, "brightness": 0.8, "contrast": 0.8}
CLUSTERS = {"prototypes": 32, "frozen_prototypes": 0.0, "epsilon": 0.03, "small_views": 0, "large_crop": (0.3, 1.0)}
TEACHER = {"teacher_momentum": 0.9, "teacher_temperature": 0.02, "centre_momentum": 0.0, "warmup": 0.0}
STUDENT = {"output_dimension": 256, "hidden_dimension": 128, "bottleneck_dimension": 32, "batch_norm": True}
DINO = TEACHER | STUDENT | {"frozen_last_layer": 0.0, "local_views": 0, "global_crop": 0.3}
DECODER = {"decoder_dimension": 64, "decoder_depth": 1, "decoder_heads": 4}
TRANSFORMER = {"backbone": "timm/test_vit", "side": 64, "views": {}}
ONE_COLOUR = {"mean": (0.5,), "std": (0.25,)}
"""With some other values, such as those of photographs, MAE is still on its first plateau after so few steps."""

RECIPES = {
    "barlow_twins": (Recipe(CROPPED, 100), "views"),
    "byol": (Recipe(CROPPED | {"target_momentum": 0.9}, 150), "views"),
    "dino": (Recipe(DINO, 300, {"optimiser": "sgd", "lr": 0.05}), "views"),
    "mae": (Recipe(DECODER | {"mask": 0.5}, 600, {"lr": 3e-3}, **TRANSFORMER, further=ONE_COLOUR), "hidden"),
    "moco": (Recipe(CROPPED | {"queue": 256, "momentum": 0.9, "group": 32}, 150), "views"),
    "moco_v3": (Recipe(CROPPED | {"momentum": 0.9}, 150), "views"),
    "simclr": (Recipe(CROPPED | {"temperature": 0.2}, 100), "views"),
    "supervised": (Recipe({}, 50, views=VIEWS | {"crop": 0.3}), "labels"),
    "swav": (Recipe(HEAD | CLUSTERS, 200), "views"),
    "vicreg": (Recipe(CROPPED, 100), "views"),
}
"""How each method learns in few steps, and what is broken for the mutant."""
QUICK, WEEKLY = ("simclr", "supervised"), ("byol", "dino", "moco_v3", "swav")
"""Those that take seconds, and those that take longest, which `make soak` trains."""

WITHOUT_RECIPE = {"ibot", "ijepa", "simmim", "spark"}

METHODS = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.soak if name in WEEKLY else pytest.mark.slow)
    for name in RECIPES
]


def gained(folder, method, *, broken=""):
    """By how much a training, or a broken one, raises the share of new pictures whose class the features tell."""
    recipe, _ = RECIPES[method]
    before = share(untrained(method, recipe, seed=0), recipe, seed=0)
    return share(trained(folder, method, recipe, seed=0, broken=broken), recipe, seed=0) - before


def test_every_method_has_a_recipe_or_is_known_to_have_none():
    assert set(registry.names("methods")) == {*RECIPES, *WITHOUT_RECIPE} and not WITHOUT_RECIPE & RECIPES.keys()


@pytest.mark.parametrize("method", METHODS)
def test_features_tell_more_of_new_pictures_than_untrained_ones(tmp_path, method):
    assert gained(tmp_path, method) > GAIN


@pytest.mark.parametrize("method", METHODS)
def test_that_features_tell_more_would_be_missed_of_a_broken_method(tmp_path, method):
    assert gained(tmp_path, method, broken=RECIPES[method][1]) < GAIN
