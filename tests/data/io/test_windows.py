import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom import Dataset
from pydicom.pixels import apply_windowing

from headwater.data.io.windows import as_shades, lowest_to_highest, windowed
from headwater.study.ct_windows import WINDOWS, Window

HOUNSFIELD = arrays(np.float32, (2, 3, 4), elements=st.integers(-3024, 20000).map(float))


@given(HOUNSFIELD, st.integers(-1000, 1000), st.integers(1, 4000))
def test_a_window_is_dicoms_exact_one(values, centre, width):
    told = Dataset()
    told.WindowCenter, told.WindowWidth, told.VOILUTFunction = centre, width, "LINEAR_EXACT"
    told.PhotometricInterpretation, told.BitsStored, told.PixelRepresentation = "MONOCHROME2", 16, 1
    shown = apply_windowing(values.astype(np.float64), told)
    exact = (shown + 2**15) / (2**16 - 1) * 255
    np.testing.assert_allclose(windowed(values, Window(centre=centre, width=width)), exact, atol=0.501)


def test_windows_have_names_and_the_nearest_is_told():
    assert Window.model_validate("lung") == Window(centre=-400, width=1500)
    assert windowed(np.float32([-1150, -400, 350]), WINDOWS["lung"]).tolist() == [0, 128, 255]
    assert windowed(np.float32([-3024, 20000]), WINDOWS["brain"]).tolist() == [0, 255]
    with pytest.raises(ValueError, match="did you mean 'abdomen'"):
        Window.model_validate("abdomn")
    assert set(WINDOWS) == {"abdomen", "angiography", "bone", "brain", "chest", "lung"}


@pytest.mark.parametrize("width", [0, -5, float("nan")])
def test_a_window_that_shows_nothing_is_refused(width):
    with pytest.raises(ValueError, match=r"width must be > 0|finite number"):
        Window(centre=0, width=width)


@pytest.mark.parametrize("said", [{"centre": 40}, {"width": 400}, {}, {"slice": True, "centre": 40, "width": 400}])
def test_half_a_window_is_refused(said):
    with pytest.raises(ValueError, match="centre and width"):
        Window(**said)


def test_slice_is_the_published_way_with_air_as_the_least():
    values = np.int16([[-2000, -1024], [0, 1024]])
    shades = lowest_to_highest(values, floor=-1024)
    assert windowed(values, Window.model_validate("slice")).tolist() == shades.tolist() == [[0, 0], [128, 255]]
    assert as_shades(values).tolist() == shades.tolist()
    assert as_shades(shades) is shades


@given(HOUNSFIELD)
def test_each_slice_spans_its_own_lowest_to_highest(values):
    shades = lowest_to_highest(values)
    for slice_, shade in zip(values.astype(float), shades, strict=True):
        low, high = slice_.min(), slice_.max()
        expected = (slice_ - low) / (high - low) * 255 if high > low else np.zeros_like(slice_)
        np.testing.assert_allclose(shade, expected, atol=0.501)


def test_a_floor_takes_the_padding_away():
    padded = np.float32([[-2000, -1024], [0, 1024]])
    assert lowest_to_highest(padded, floor=-1024).tolist() == [[0, 0], [128, 255]]
    assert lowest_to_highest(padded).tolist() != [[0, 0], [128, 255]]
