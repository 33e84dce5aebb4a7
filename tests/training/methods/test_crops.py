"""Pieces of images are cut where the keys say, and hold the share of the area that was asked for."""

from types import SimpleNamespace

import pytest
import torch

import rounding
from headwater.core.errors import UserError
from headwater.study.recipe import Views
from headwater.training.methods import _crops
from headwater.training.views import pictures
from headwater.training.views.pictures import augment

pytestmark = pytest.mark.usefixtures("float64")


def network(size):
    """What a method asks of its encoder to make views."""
    return SimpleNamespace(space=(size, size), size=size, multiple=1, sides=round)


def test_a_window_is_a_cut_of_its_image():
    images = torch.arange(2 * 1 * 8 * 8).float().view(2, 1, 8, 8)
    cut = pictures.window(images, torch.tensor([3, 4]), share=0.25, draw=0)
    assert cut.shape == (2, 1, 4, 4)
    for image, piece in zip(images, cut, strict=True):
        top, left = divmod(int(piece[0, 0, 0] - image[0, 0, 0]), 8)
        assert torch.equal(piece, image[:, top : top + 4, left : left + 4])


def test_a_piece_holds_a_share_of_the_area_between_the_two():
    """Each pixel tells its place, so the extents of a view can be read from it."""
    places = torch.linspace(0, 1, 64)
    across, down = places.expand(64, 64), places[:, None].expand(64, 64)
    images = torch.stack([across, down, down]).expand(200, 3, 64, 64)
    (seen,) = _crops.pieces(network(32), images, torch.arange(200) * 977, Views(), shares=(0.1, 0.33), count=1)
    # the outermost pixels of a view lie half a pixel within it
    extents = [seen[:, channel].amax(dim=(1, 2)) - seen[:, channel].amin(dim=(1, 2)) for channel in (0, 1)]
    areas = extents[0] * extents[1]
    assert 0.07 < areas.min() < 0.13
    assert 0.28 < areas.max() < 0.36


def test_views_of_one_image_differ_and_follow_from_its_key():
    images, keys = torch.rand(3, 3, 16, 16), torch.tensor([5, 6, 7])
    one, two = _crops.wide(network(16), images, keys, Views(flip=0.5), least=0.3, count=2)
    assert not torch.equal(one, two)
    assert torch.equal(one, augment(images, keys, Views(flip=0.5, crop=0.3)))
    again = _crops.wide(network(16), images[2:], keys[2:], Views(flip=0.5), least=0.3, count=2)
    torch.testing.assert_close(again[1], two[2:], **rounding.NEAR)


@pytest.mark.parametrize("shares", [(0.3, 0.1), (0.0, 0.5), (0.5, 1.1)])
def test_what_is_no_share_of_an_image_is_refused(shares):
    with pytest.raises(
        UserError, match=r"swav\.large_crop must be a range of image fractions .*; give the smaller one first"
    ):
        _crops.check_shares(shares, option="swav.large_crop")


def test_each_view_has_its_own_probability_and_the_last_holds_for_the_others():
    images, keys = torch.rand(6, 3, 16, 16), torch.arange(6) * 977
    asked = {"shares": (0.2, 0.5), "count": 2, "first_view": 2}

    def made(views):
        wide = _crops.wide(network(16), images, keys, views, least=0.3, count=2)
        return wide + _crops.pieces(network(16), images, keys, views, **asked)

    plain, both = made(Views()), made(Views(blur=(1.0, 0.0, 1.0), solarise=(0.0, 1.0)))
    blurred, solarised = made(Views(blur=1.0)), made(Views(solarise=1.0))
    everything = made(Views(blur=1.0, solarise=1.0))
    expected = [blurred[0], solarised[1], everything[2], everything[3]]
    for view, one in enumerate(expected):
        assert torch.equal(both[view], one) and not torch.equal(one, plain[view])
