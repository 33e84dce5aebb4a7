import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from headwater.core.errors import UserError
from headwater.data.io.volumes import Volume, refuse_other_grid

LETTERS = ["".join(ends) for order in itertools.permutations(["LR", "AP", "SI"]) for ends in itertools.product(*order)]
VOXELS = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def towards(letters, *, spacing=(2.0, 0.5, 0.25), origin=(1, 2, 3)):
    """A volume whose slices, rows and columns grow to these ends of the body."""
    ends = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    affine = np.eye(4)
    affine[:3, :3] = np.array([ends[letter] for letter in letters]).T * spacing
    affine[:3, 3] = origin
    return Volume(VOXELS, affine, "HU")


def moved(volume, *, other):
    """The voxels of the other scan, each looked up where the first has a voxel."""
    indices = np.array([[*index, 1] for index in np.ndindex(volume.voxels.shape)]).T
    there = np.linalg.solve(other.affine, volume.affine @ indices)[:3]
    np.testing.assert_allclose(there, there.round(), atol=1e-6)
    return other.voxels[tuple(there.round().astype(int))].reshape(volume.voxels.shape)


@pytest.mark.parametrize("letters", LETTERS)
def test_the_letters_are_those_of_the_ends(letters):
    assert towards(letters).orientation == letters
    assert towards(letters).spacing == (2.0, 0.5, 0.25)


@pytest.mark.parametrize("letters", LETTERS)
@pytest.mark.parametrize("to", ["SPL", "LAI"])
def test_a_turned_scan_has_each_value_where_it_was(letters, to):
    volume = towards(letters)
    turned = volume.turned(to)
    assert turned.orientation == to
    np.testing.assert_array_equal(moved(turned, other=volume), turned.voxels)
    assert turned.unit == "HU"


@given(st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=3), st.sampled_from(LETTERS))
def test_an_oblique_scan_too(angles, letters):
    volume = towards(letters)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec(angles).as_matrix()
    oblique = volume._replace(affine=affine @ volume.affine)
    assert oblique.turned().orientation == "SPL"
    np.testing.assert_array_equal(moved(oblique.turned(), other=oblique), oblique.turned().voxels)


def test_a_mask_lies_on_its_image_whichever_way_it_faces():
    image = towards("SPL")
    refuse_other_grid(image.turned("ARI"), image=image, file="mask")
    with pytest.raises(UserError, match=r"mask: has 3 x 3 x 4 voxels, its image 2 x 3 x 4"):
        refuse_other_grid(image._replace(voxels=np.zeros((3, 3, 4))), image=image, file="mask")
    with pytest.raises(UserError, match=r"mask: is displaced by 0\.5 mm from its image"):
        refuse_other_grid(towards("SPL", origin=(1, 2.5, 3)), image=image, file="mask")
    with pytest.raises(UserError, match="displaced"):
        refuse_other_grid(towards("SPL", spacing=(2.0, 0.5, 0.3)), image=image, file="mask")
