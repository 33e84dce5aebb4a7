import math

import pytest

from headwater.data.io.ages import in_years


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("58", 58),
        ("058Y", 58),
        ("018M", 1.5),
        ("026W", 0.498),
        ("300D", 0.821),
        ("110", 110),
        (" 7y ", 7),
    ],
)
def test_ages_are_read_in_years(text, years):
    assert in_years(text) == pytest.approx(years, abs=1e-3)


@pytest.mark.parametrize("text", ["", "414", "111Y", "unknown", "-3", "Y", "5 6"])
def test_what_is_no_age_is_unknown(text):
    assert math.isnan(in_years(text))
