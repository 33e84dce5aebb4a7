"""Views are a function of seed, epoch and case, and of nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torchvision.transforms.functional import adjust_hue, adjust_saturation

import rounding
from headwater.study.recipe import Views
from headwater.training.views.draws import keys, normal, uniform
from headwater.training.views.pictures import BLUR, DRAWS, as_float, augment, window

EVERYTHING = Views(
    crop=0.3, flip=0.5, rotation=20, elastic=0.7, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2, jitter=0.8,
    grey=0.3, blur=0.5, solarise=0.3, noise=0.1,
)  # fmt: skip


def some_keys(count, *, seed=0, epoch=0):
    return keys(seed=seed, epochs=torch.full((count,), epoch), cases=torch.arange(count))


def some_images(count, *, size=20):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def splitmix64(state):
    """The published algorithm in whole numbers."""
    state = state % 2**64
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % 2**64
    return state ^ (state >> 31)


@given(key=st.integers(-(2**63), 2**63 - 1), draw=st.integers(0, 2000))
def test_uniform_is_splitmix64(key, draw):
    expected = (splitmix64(key + (draw + 1) * 0x9E3779B97F4A7C15) >> 40) / 2**24
    assert uniform(torch.tensor([key]), draw).item() == expected


def test_uniform_is_uniform():
    drawn = uniform(some_keys(50_000), 3).numpy()
    assert drawn.dtype == np.float32 and drawn.min() >= 0 and drawn.max() < 1
    assert stats.chisquare(np.histogram(drawn, bins=100, range=(0, 1))[0]).pvalue > 1e-4


def test_draws_cases_epochs_and_seeds_know_nothing_of_each_other():
    first = some_keys(20_000)
    columns = [
        uniform(first, 0),
        uniform(first, 1),
        uniform(first, DRAWS),
        uniform(first.roll(1), 0),
        uniform(some_keys(20_000, epoch=1), 0),
        uniform(some_keys(20_000, seed=1), 0),
        uniform(keys(seed=0, epochs=torch.arange(20_000), cases=torch.zeros(20_000, dtype=torch.int64)), 0),
    ]
    correlation = np.corrcoef(torch.stack(columns).numpy()) - np.eye(len(columns))
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)


@given(seed=st.integers(0, 2**64), epoch=st.integers(0, 10_000))
def test_no_two_cases_have_the_same_key(seed, epoch):
    assert len(some_keys(200, seed=seed, epoch=epoch).unique()) == 200


def test_normal_is_normal_and_its_pixels_are_independent():
    drawn = normal(some_keys(20), 5, (1, 50, 50)).numpy()
    assert drawn.shape == (20, 1, 50, 50)
    assert stats.kstest(drawn.ravel(), "norm").pvalue > 1e-4
    for axis in (0, 2, 3):
        neighbours = np.corrcoef(drawn.ravel(), np.roll(drawn, 1, axis=axis).ravel())[0, 1]
        assert abs(neighbours) < 5 / np.sqrt(drawn.size)


@settings(max_examples=25, deadline=None)
@given(
    crop=st.floats(0.1, 1), flip=st.floats(0, 1), rotation=st.floats(0, 180), brightness=st.floats(0, 0.9),
    contrast=st.floats(0, 0.9), grey=st.floats(0, 1), blur=st.floats(0, 1), noise=st.floats(0, 1),
    saturation=st.floats(0, 1), hue=st.floats(0, 0.5), jitter=st.floats(0, 1), solarise=st.floats(0, 1),
    elastic=st.floats(0, 1), elastic_displacement=st.floats(0.001, 0.1),
    resampling=st.sampled_from(["bilinear", "bicubic"]),
    size=st.sampled_from([9, 20, 31]), seed=st.integers(0, 2**32),
)  # fmt: skip
@rounding.in_float64()
def test_a_view_does_not_know_its_batch(size, seed, **changes):
    views, images, chance = Views(**changes), some_images(5), some_keys(5, seed=seed)
    together = augment(images, chance, views, size=size)
    assert together.shape == (5, 3, size, size)
    assert together.min() >= -1e-9 and together.max() <= 1 + 1e-9
    for one in range(5):
        alone = augment(images[one : one + 1], chance[one : one + 1], views, size=size)[0]
        torch.testing.assert_close(alone, together[one], **rounding.NEAR)
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(
        augment(images[order], chance[order], views, size=size), together[order], **rounding.NEAR
    )


def test_the_same_keys_give_the_same_numbers_and_others_do_not():
    images = some_images(4)
    first = augment(images, some_keys(4), EVERYTHING)
    assert torch.equal(first, augment(images, some_keys(4), EVERYTHING))
    for other in (some_keys(4, epoch=1), some_keys(4, seed=1)):
        assert not any(torch.equal(*pair) for pair in zip(first, augment(images, other, EVERYTHING), strict=True))
    assert not torch.equal(first, augment(images, some_keys(4), EVERYTHING, first_draw=DRAWS))


def test_nothing_asked_nothing_changed():
    images = some_images(4)
    assert torch.equal(augment(images, some_keys(4), Views()), images)
    assert torch.equal(augment(images, some_keys(4), Views(), size=20), images)


def test_one_channel_becomes_three_of_the_full_range():
    grey = as_float(torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3))
    assert torch.equal(grey, torch.tensor([0, 0.2, 1]).expand(1, 3, 1, 3))
    coloured = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    assert torch.equal(as_float(coloured), coloured / 255)


@rounding.in_float64()
def test_a_flip_mirrors_left_and_right():
    images = some_images(3)
    torch.testing.assert_close(augment(images, some_keys(3), Views(flip=1)), images.flip(-1), **rounding.NEAR)
    drawn = augment(images[:1].expand(400, -1, -1, -1), some_keys(400), Views(flip=0.25))
    flipped = [(view - images[0]).abs().max() > 0.1 for view in drawn]
    assert 60 < sum(flipped) < 140


def test_a_crop_shows_a_window_of_the_asked_share():
    ramp = torch.linspace(0, 1, 64)
    images = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64), torch.zeros(64, 64)])
    drawn = augment(images.expand(500, -1, -1, -1), some_keys(500), Views(crop=0.25))
    across, down = drawn[:, 0], drawn[:, 1]
    width, height = across[:, 0, -1] - across[:, 0, 0], down[:, -1, 0] - down[:, 0, 0]
    area, shape = width * height, width / height
    assert 0.25 <= area.min() < 0.3 and 0.95 < area.max() < 1.0001
    assert area.mean() == pytest.approx(0.625, abs=0.03)
    assert 0.7 < shape.min() < 0.8 and 1.25 < shape.max() < 1.4
    left, top = across[:, 0, 0], down[:, 0, 0]
    assert left.min() < 0.02 and top.min() < 0.02
    free = (width < 0.9) & (height < 0.9)
    places = torch.stack([left / (1 - width), top / (1 - height)])[:, free]
    assert 0 <= places.min() < 0.02 and 0.98 < places.max() < 1.0001
    assert abs(np.corrcoef(places)[0, 1]) < 5 / free.sum().sqrt()


def test_a_rotation_turns_by_up_to_the_angle_and_keeps_lengths():
    size = 41
    images = torch.zeros(1, 3, size, size)
    images[..., 20, 30] = images[..., 19, 30] = images[..., 21, 30] = 1
    drawn = augment(images.expand(300, -1, -1, -1), some_keys(300), Views(rotation=30))[:, 0]
    rows, columns = torch.meshgrid(torch.arange(size) - 20.0, torch.arange(size) - 20.0, indexing="ij")
    mass = drawn.sum(dim=(1, 2))
    y, x = (drawn * rows).sum(dim=(1, 2)) / mass, (drawn * columns).sum(dim=(1, 2)) / mass
    assert torch.hypot(x, y) == pytest.approx(torch.full((300,), 10.0), abs=0.3)
    angles = torch.rad2deg(torch.atan2(y, x))
    assert -31.5 < angles.min() < -27 and 27 < angles.max() < 31.5
    assert abs(angles.mean()) < 4


@rounding.in_float64()
def test_brightness_and_contrast_do_what_they_are_called():
    images = 0.4 + 0.2 * some_images(200)
    grey = images.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    brighter = augment(grey, some_keys(200), Views(brightness=0.3)).mean(dim=(1, 2, 3)) / grey.mean(dim=(1, 2, 3))
    assert 0.7 <= brighter.min() < 0.75 and 1.25 < brighter.max() <= 1.3
    changed = augment(grey, some_keys(200), Views(contrast=0.3))
    contrast = changed.std(dim=(1, 2, 3)) / grey.std(dim=(1, 2, 3))
    assert 0.7 <= contrast.min() < 0.75 and 1.25 < contrast.max() <= 1.3001
    torch.testing.assert_close(changed.mean(dim=(1, 2, 3)), grey.mean(dim=(1, 2, 3)))


@rounding.in_float64()
@pytest.mark.parametrize(("key", "draw", "theirs"), [("saturation", 6, adjust_saturation), ("hue", 14, adjust_hue)])
def test_saturation_and_hue_are_torchvisions(key, draw, theirs):
    images, chance, most = some_images(50), some_keys(50), 0.4
    # pure and grey pixels, whose hue is on an edge of the circle or is none
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 0.5, 1.0])] * 3)
    images[:, :, 0, :] = corners[torch.arange(20) % len(corners)].T
    images[:, :, 1, :] = corners[(torch.arange(20) + 7) % len(corners)].T
    changes = most * (2 * uniform(chance, draw).double() - 1) + (key == "saturation")
    expected = [theirs(image, change) for image, change in zip(images, changes.tolist(), strict=True)]
    # torchvision's weights of red, green and blue have four digits; it turns hues in float32, in some ten steps
    apart = 2e-4 if key == "saturation" else 100 * 2.0**-24
    seen = augment(images, chance, Views(**{key: most}))
    torch.testing.assert_close(seen, torch.stack(expected).double(), rtol=0, atol=apart)


def test_a_jitter_changes_brightness_contrast_and_colours_together_or_not_at_all():
    images = 0.3 + 0.4 * some_images(400)
    changes = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.5, "hue": 0.1}
    always, sometimes = (augment(images, some_keys(400), Views(**changes, **more)) for more in ({}, {"jitter": 0.75}))
    same = (sometimes == always).flatten(1).all(dim=1)
    # turned by nothing, a hue comes back to within the last bits
    untouched = torch.isclose(sometimes, images, rtol=0, atol=1e-5).flatten(1).all(dim=1)
    assert bool((same ^ untouched).all()) and 260 < same.sum() < 340


def test_a_solarised_picture_is_inverted_where_it_is_bright():
    images = some_images(400)
    drawn = augment(images, some_keys(400), Views(solarise=0.25))
    inverted = torch.where(images >= 0.5, 1 - images, images)
    changed = (drawn == inverted).flatten(1).all(dim=1)
    assert bool((changed | (drawn == images).flatten(1).all(dim=1)).all()) and 60 < changed.sum() < 140


def test_grey_drops_the_colours_of_some():
    drawn = augment(some_images(400), some_keys(400), Views(grey=0.25))
    grey = [bool((view[0] == view[1]).all() and (view[1] == view[2]).all()) for view in drawn]
    assert 60 < sum(grey) < 140


@rounding.in_float64()
def test_blur_spreads_a_point_by_its_sigma_and_leaves_the_others_alone():
    images = torch.zeros(400, 3, 31, 31)
    images[..., 15, 15] = 1
    drawn = augment(images, some_keys(400), Views(blur=0.5))[:, 0]
    torch.testing.assert_close(drawn.sum(dim=(1, 2)), torch.ones(400))
    distance = (torch.arange(31) - 15.0) ** 2
    spread = ((drawn.sum(dim=1) * distance).sum(dim=1)).sqrt()
    torch.testing.assert_close(spread, (drawn.sum(dim=2) * distance).sum(dim=1).sqrt(), **rounding.NEAR)
    assert 1.9 < spread.max() <= BLUR[1]
    unchanged = (drawn == images[:, 0]).all(dim=(1, 2))
    # half are not blurred, and a blur of less than a quarter of a pixel changes nothing
    assert 170 < unchanged.sum() < 260
    everywhere_same = torch.full((4, 3, 8, 8), 0.3)
    torch.testing.assert_close(augment(everywhere_same, some_keys(4), Views(blur=1)), everywhere_same)


def test_noise_has_its_strength_and_keeps_grey_grey():
    images = torch.full((200, 3, 24, 24), 0.5)
    drawn = augment(images, some_keys(200), Views(noise=0.1))
    assert torch.equal(drawn[:, 0], drawn[:, 2])
    strength = drawn[:, 0].std(dim=(1, 2))
    assert strength.min() < 0.005 and 0.095 < strength.max() < 0.108


def test_grey_images_are_one_channel_with_the_views_of_three():
    grey = torch.randint(0, 256, (6, 1, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    once, thrice = as_float(grey), as_float(grey).contiguous()
    assert once.shape == thrice.shape == (6, 3, 20, 20) and once.untyped_storage().nbytes() == 6 * 20 * 20 * 4
    changes = EVERYTHING.model_copy(update={"saturation": 0.0, "hue": 0.0, "grey": 0.0})
    for views in (changes, changes.model_copy(update={"jitter": 1.0, "blur": 1.0})):
        seen = [augment(images, some_keys(6), views, size=16) for images in (once, thrice)]
        torch.testing.assert_close(*seen)
        assert seen[0].shape == (6, 3, 16, 16) and seen[0].stride(1) == 0
    cut = [window(images, some_keys(6), share=0.4, draw=3) for images in (once, thrice)]
    assert torch.equal(*cut) and cut[0].stride(1) == 0
