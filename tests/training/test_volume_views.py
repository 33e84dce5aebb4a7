"""Views of volumes move an image and its mask together, rigidly in millimetres, and know nothing of their batch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import rounding
from headwater.core.errors import UserError
from headwater.study.recipe import OF_PICTURES, OF_VOLUMES, Views
from headwater.training.views import draws, pictures, volumes
from headwater.training.views.volumes import Patches, augment, placed

SIDES = (20, 24, 16)
SPACING = (1.0, 0.8, 1.5)
EVERYTHING = {
    "crop": 0.3, "flip": 0.5, "flip_axes": ("x", "y", "z"), "rotation": 30, "scaling": 0.3, "brightness": 0.4,
    "contrast": 0.4, "jitter": 0.5, "blur": 0.7, "low_resolution": 0.7, "noise": 0.1, "elastic": 0.7,
    "elastic_displacement": 0.1,
}  # fmt: skip


def some_keys(count, *, seed=0, epoch=0):
    return draws.keys(seed=seed, epochs=torch.full((count,), epoch), cases=torch.arange(count))


def patches(values, spacing=SPACING):
    kind = torch.get_default_dtype()
    return Patches(values, torch.tensor(spacing, dtype=kind).expand(len(values), 3))


def some_patches(count=4, *, sides=SIDES, spacing=SPACING):
    return patches(torch.randn(count, 1, *sides, generator=torch.Generator().manual_seed(1)), spacing)


def places(sides):
    """Voxels from the middle along x, y and z, each (*sides)."""
    return torch.meshgrid(*(torch.arange(side) - (side - 1) / 2 for side in sides), indexing="ij")


@settings(max_examples=10, deadline=None)
@given(
    crop=st.one_of(st.none(), st.floats(0.4, 1)), rotation=st.floats(0, 60), scaling=st.floats(0, 0.3),
    flip=st.floats(0, 1), elastic=st.floats(0, 1), thin=st.floats(0.5, 2), seed=st.integers(0, 2**32),
)  # fmt: skip
def test_the_mask_of_a_view_is_the_view_of_the_mask(thin, seed, **changes):
    sides = (28, 26, 24)
    inside = sum((at / radius) ** 2 for at, radius in zip(places(sides), (11, 9, 8), strict=True)) < 1
    views, chance = Views(flip_axes=("x", "y", "z"), **changes), some_keys(4, seed=seed)
    image = patches(inside.float().expand(4, 1, *sides), (1.0, 1.0, thin))
    mask = Patches(inside.to(torch.uint8).expand(4, *sides), image.spacing)
    seen, moved = augment(image, chance, views)[:, 0] > 0.5, placed(mask, chance, views, labels=2)
    assert moved.dtype == torch.uint8
    for one, other in zip(seen, moved == 1, strict=True):
        assert 2 * (one & other).sum() >= 0.98 * (one.sum() + other.sum())


@settings(max_examples=8, deadline=None)
@given(
    crop=st.floats(0.1, 1), flip=st.floats(0, 1), rotation=st.floats(0, 180), scaling=st.floats(0, 0.9),
    brightness=st.floats(0, 0.9), contrast=st.floats(0, 0.9), blur=st.floats(0, 1), noise=st.floats(0, 1),
    low_resolution=st.floats(0, 1), elastic=st.floats(0, 1), size=st.sampled_from([9, (8, 12, 10)]),
    seed=st.integers(0, 2**32),
)  # fmt: skip
def test_a_view_has_the_same_bytes_in_any_batch(size, seed, **changes):
    views, given, chance = Views(**changes), some_patches(3), some_keys(3, seed=seed)
    together = augment(given, chance, views, size=size)
    assert together.shape == (3, 1, *((size,) * 3 if isinstance(size, int) else size))
    low, high = (extreme(given.values, dim=(1, 2, 3, 4)) for extreme in (torch.amin, torch.amax))
    assert (together.flatten(1).amin(1) >= low).all() and (together.flatten(1).amax(1) <= high).all()
    for one in (2, 0):
        alone = Patches(given.values[one : one + 1], given.spacing[one : one + 1])
        assert torch.equal(augment(alone, chance[one : one + 1], views, size=size)[0], together[one])


PLANES = {"axial": (28, 24, 1), "coronal": (28, 1, 24), "sagittal": (1, 28, 24)}


@settings(max_examples=10, deadline=None)
@given(
    plane=st.sampled_from(sorted(PLANES)), crop=st.one_of(st.none(), st.floats(0.4, 1)), rotation=st.floats(0, 60),
    scaling=st.floats(0, 0.3), flip=st.floats(0, 1), elastic=st.floats(0, 1), thin=st.floats(0.5, 2),
    seed=st.integers(0, 2**32),
)  # fmt: skip
def test_the_mask_of_a_view_of_a_slice_is_the_view_of_its_mask(plane, thin, seed, **changes):
    sides = PLANES[plane]
    inside = sum((at / radius) ** 2 for at, radius in zip(places(sides), (11, 9, 8), strict=True)) < 1
    views, chance = Views(flip_axes=("x", "y", "z"), **changes), some_keys(4, seed=seed)
    image = patches(inside.float().expand(4, 1, *sides), (1.0, thin, thin))
    mask = Patches(inside.to(torch.uint8).expand(4, *sides), image.spacing)
    seen, moved = augment(image, chance, views)[:, 0] > 0.5, placed(mask, chance, views, labels=2)
    assert seen.shape == moved.shape == (4, *sides)
    for one, other in zip(seen, moved == 1, strict=True):
        # a border of about 60 voxels around 250, where linear interpolation ties at 0.5
        assert 2 * (one & other).sum() >= 0.96 * (one.sum() + other.sum())


@rounding.in_float64()
@pytest.mark.parametrize("plane", PLANES)
def test_a_slice_is_changed_in_its_plane_only(plane):
    sides = PLANES[plane]
    depth, count = sides.index(1), 200
    first, second = (axis for axis in range(3) if axis != depth)
    spacing = torch.ones(3)
    spacing[second], spacing[depth] = 2.0, 5.0
    at = places(sides)
    # a soft ball 6 mm from the middle: turns keep its distance, and nothing of it leaves the slice
    ball = torch.exp(-(((at[first] - 6) ** 2 + (2 * at[second]) ** 2) / 8))
    seen = augment(patches(ball.expand(count, 1, *sides), spacing.tolist()), some_keys(count), Views(rotation=30))[:, 0]
    mass = seen.sum(dim=(1, 2, 3))
    along, down = ((seen * at[axis] * spacing[axis]).sum(dim=(1, 2, 3)) / mass for axis in (first, second))
    assert ((along**2 + down**2).sqrt() - 6).abs().max() < 0.2 and down.abs().max() > 2.5
    torch.testing.assert_close(mass, ball.sum().expand(count), rtol=0.02, atol=0)

    # a share of the area, and no flip across
    def extent(axis, **changes):
        ramp = at[axis] / sides[axis] * 2
        view = augment(patches(ramp.expand(count, 1, *sides)), some_keys(count), Views(**changes))
        return (view.amax(dim=(1, 2, 3, 4)) - view.amin(dim=(1, 2, 3, 4))) / (2 - 2 / sides[axis])

    area = extent(first, crop=0.2) * extent(second, crop=0.2)
    assert 0.2 <= area.min() < 0.25 and 0.9 < area.max() <= 1 + 1e-9
    given = patches(torch.rand(3, 1, *sides))
    across = augment(given, some_keys(3), Views(flip=1, flip_axes=("xyz"[depth],)))
    torch.testing.assert_close(across, given.values, **rounding.NEAR)


def test_blur_and_low_resolution_smooth_a_slice_and_leave_a_constant_alone():
    sides = PLANES["sagittal"]
    for changes in ({"blur": 1}, {"low_resolution": 1}):
        same = augment(patches(torch.full((4, 1, *sides), 0.3)), some_keys(4), Views(**changes))
        assert same.shape == (4, 1, *sides) and torch.allclose(same, torch.tensor(0.3))
        noise = some_patches(40, sides=sides)
        assert augment(noise, some_keys(40), Views(**changes)).std(dim=(1, 2, 3, 4)).min() < 0.65


def test_a_window_of_a_slice_is_that_share_of_its_area():
    given = patches(torch.arange(2 * 8 * 8).float().view(2, 1, 8, 1, 8))
    assert volumes.window(given, torch.tensor([3, 4]), share=1 / 4, draw=0).values.shape == (2, 1, 4, 1, 4)


def test_nothing_asked_nothing_changed():
    given = some_patches()
    assert torch.equal(augment(given, some_keys(4), Views()), given.values)
    mask = Patches(torch.randint(0, 3, (4, *SIDES), dtype=torch.uint8), given.spacing)
    assert torch.equal(placed(mask, some_keys(4), Views(), labels=2), mask.values)


@pytest.mark.parametrize("key", EVERYTHING)
def test_every_key_changes_what_is_seen(key):
    needed = {"flip_axes": {"flip": 0.5}, "jitter": {"contrast": 0.4}, "elastic_displacement": {"elastic": 1}}
    beside = needed.get(key, {})
    before, after = (
        augment(some_patches(6), some_keys(6), Views(**beside, **more)) for more in ({}, {key: EVERYTHING[key]})
    )
    assert not torch.equal(before, after)


def test_volumes_and_pictures_have_their_own_keys():
    assert set(EVERYTHING) | set(OF_PICTURES) | {"like"} == set(Views.model_fields)
    for key in OF_PICTURES:
        with pytest.raises(UserError, match=f"views.{key} changes pictures only"):
            volumes.check(Views(**{key: "bicubic" if key == "resampling" else 0.1}), channels=1)
    for key in OF_VOLUMES:
        with pytest.raises(UserError, match=f"views.{key} changes volumes only"):
            pictures.check(Views(**{key: EVERYTHING[key]}), channels=1)


@rounding.in_float64()
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_flip_mirrors_along_its_axis(axis):
    given = some_patches(3)
    seen = augment(given, some_keys(3), Views(flip=1, flip_axes=("xyz"[axis],)))
    torch.testing.assert_close(seen, given.values.flip(2 + axis), **rounding.NEAR)


@rounding.in_float64()
def test_a_rotation_keeps_lengths_in_millimetres_where_voxels_are_no_cubes():
    sides, spacing, count = (49, 49, 25), (1.0, 1.0, 2.0), 30
    x, y, z = places(sides)
    # a soft ball 8 mm to the right of the middle
    ball = torch.exp(-(((x - 8) ** 2 + y**2 + (2 * z) ** 2) / 8))
    seen = augment(patches(ball.expand(count, 1, *sides), spacing), some_keys(count), Views(rotation=40))[:, 0]
    mass = seen.sum(dim=(1, 2, 3))
    centre = torch.stack(
        [(seen * at * mm).sum(dim=(1, 2, 3)) / mass for at, mm in zip((x, y, z), spacing, strict=True)]
    )
    assert (centre.norm(dim=0) - 8).abs().max() < 0.2
    # about each axis: what lies to the right moves to the front and to the head
    assert centre[1].abs().max() > 3 and centre[2].abs().max() > 3


@rounding.in_float64()
def test_scaling_and_crops_show_the_extent_that_they_say():
    ramps = torch.stack([at / side * 2 for at, side in zip(places(SIDES), SIDES, strict=True)])

    def seen(**changes):
        """Extents (300, 3) of views as fractions of the patch's."""
        views = [augment(patches(ramp.expand(300, 1, *SIDES)), some_keys(300), Views(**changes)) for ramp in ramps]
        ends = [view.amax(dim=(1, 2, 3, 4)) - view.amin(dim=(1, 2, 3, 4)) for view in views]
        return torch.stack([end / (2 - 2 / side) for end, side in zip(ends, SIDES, strict=True)], dim=1)

    volume = seen(crop=0.2).prod(dim=1)
    assert 0.2 <= volume.min() < 0.25 and 0.9 < volume.max() <= 1 + 1e-9
    larger = seen(scaling=0.5)
    assert 0.65 < larger.min() < 0.7
    cut = larger[:, 0] < 0.9
    torch.testing.assert_close(larger[cut, 0], larger[cut, 2], **rounding.NEAR)


@rounding.in_float64()
def test_grey_values_change_alike_in_whatever_units_they_are():
    given, changes = some_patches(), Views(**EVERYTHING)
    other = Patches(7 * given.values - 3, given.spacing)
    torch.testing.assert_close(
        augment(other, some_keys(4), changes), 7 * augment(given, some_keys(4), changes) - 3, **rounding.NEAR
    )


@rounding.in_float64()
def test_blur_spreads_a_point_by_its_sigma_along_all_axes():
    point = torch.zeros(30, 1, 31, 31, 31)
    point[..., 15, 15, 15] = 1
    seen = augment(patches(point), some_keys(30), Views(blur=1))[:, 0]
    spreads = [(seen * at**2).sum(dim=(1, 2, 3)).sqrt() for at in places((31, 31, 31))]
    torch.testing.assert_close(spreads[0], spreads[2], **rounding.NEAR)
    assert 1.7 < spreads[1].max() <= pictures.BLUR[1]


def test_low_resolution_leaves_a_constant_alone_and_smooths_noise():
    assert torch.allclose(
        augment(patches(torch.full((4, 1, 8, 8, 8), 0.3)), some_keys(4), Views(low_resolution=1)), torch.tensor(0.3)
    )
    given = some_patches(40, sides=(16, 16, 16))
    spread = augment(given, some_keys(40), Views(low_resolution=1)).std(dim=(1, 2, 3, 4))
    assert spread.min() < 0.65 and spread.max() < 1.05


def test_only_what_is_blurred_is_computed_and_has_the_same_bytes():
    values = some_patches(6).values
    for sigmas in ([0.0, 1.2, 0.0, 0.4, 2.0, 0.0], [0.0] * 6, [1.0] * 6, [0.0] * 5 + [0.7]):
        seen = volumes._blurred_where_drawn(values, torch.tensor(sigmas))
        assert torch.equal(seen, volumes._blurred(values, torch.tensor(sigmas)))


@rounding.in_float64()
def test_a_gpu_makes_views_of_low_resolution_as_a_cpu_does():
    chance = torch.Generator().manual_seed(2)
    for sides in ((23, 16, 9), (12, 1, 31)):
        values = torch.randn(6, 1, *sides, generator=chance)
        shares = torch.cat([torch.tensor([1.0, volumes.COARSEST]), volumes._share(torch.rand(4, generator=chance))])
        seen = volumes._coarsened_by_places(values, shares=shares)
        torch.testing.assert_close(seen, volumes._coarsened(values, shares=shares), **rounding.NEAR)
        assert torch.equal(seen[0], values[0]) and not torch.equal(seen[1], values[1])


def test_what_is_unknown_stays_unknown_and_labels_are_told_apart():
    given = some_patches(2)
    mask = torch.zeros(2, *SIDES, dtype=torch.uint8)
    mask[0, 5:12, 5:12, 5:12], mask[0, 12:16, 5:12, 5:12], mask[1] = 1, 2, volumes.UNKNOWN
    moved = placed(Patches(mask, given.spacing), some_keys(2), Views(rotation=20), labels=3)
    assert moved[0].unique().tolist() == [0, 1, 2] and moved[1].unique().tolist() == [volumes.UNKNOWN]
    assert (moved[0] == 1).sum() > (moved[0] == 2).sum() > 100


def test_many_labels_move_as_they_do_one_by_one(monkeypatch):
    chance = torch.Generator().manual_seed(5)
    mask = torch.randint(0, 2 * volumes.AT_ONCE + 3, (2, *SIDES), generator=chance, dtype=torch.uint8)
    given = Patches(mask, some_patches(2).spacing)
    asked = {"views": Views(rotation=20, scaling=0.2), "labels": 2 * volumes.AT_ONCE + 3}
    together = placed(given, some_keys(2), **asked)
    monkeypatch.setattr(volumes, "AT_ONCE", 1)
    assert torch.equal(together, placed(given, some_keys(2), **asked))


@pytest.mark.parametrize("kept", [1, 3])
def test_far_from_where_labels_meet_the_nearest_one_has_the_largest_share(kept):
    blobs = torch.randint(4, (2, 1, 5, 6, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = blobs.repeat_interleave(kept, 2).repeat_interleave(kept, 3).repeat_interleave(kept, 4)
    random = torch.rand(2, 9, 10, 11, 3, generator=torch.Generator().manual_seed(1))
    corners = torch.tensor([-1.0, 0.0, 1.0]).expand(2, 9, 10, 11, 3)
    for grid in (2 * random - 1, corners):
        wanted = volumes._by_shares(labels, grid, count=4)
        found = [volumes._moved(*one) for one in zip(labels.split(1), grid.split(1), strict=True)]
        assert torch.equal(torch.cat(found), wanted)
    assert len(wanted.unique()) > 1


def test_beyond_its_edges_a_volume_is_reflected_as_grid_sample_does_it(float64):
    values = torch.randn(1, 1, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    places = 14 * torch.rand(1, 8, 8, 8, 3, generator=torch.Generator().manual_seed(1)) - 7
    wanted = F.grid_sample(values, places, padding_mode="reflection", align_corners=False)
    torch.testing.assert_close(volumes._sampled(values, volumes._reflected(places)), wanted)
    inside = places[places.abs() <= 1]
    assert torch.equal(volumes._reflected(inside), inside)


def test_a_window_is_a_cut_of_its_patch():
    given = patches(torch.arange(2 * 8 * 8 * 8).float().view(2, 1, 8, 8, 8))
    cut = volumes.window(given, torch.tensor([3, 4]), share=1 / 8, draw=0)
    assert cut.values.shape == (2, 1, 4, 4, 4) and torch.equal(cut.spacing, given.spacing)
    for patch, piece in zip(given.values, cut.values, strict=True):
        x, y, z = np.unravel_index(int(piece[0, 0, 0, 0] - patch[0, 0, 0, 0]), (8, 8, 8))
        assert torch.equal(piece, patch[:, x : x + 4, y : y + 4, z : z + 4])


def test_volumes_that_are_not_shown_yet_are_no_input():
    with pytest.raises(TypeError, match="volumes must be float"):
        volumes.as_float(patches(torch.zeros(1, 1, 2, 2, 2, dtype=torch.int16)))
