"""Reads ages as archives write them: plain years, or DICOM's three digits and a letter."""

import math
import re

OLDEST = 110
"""Years above which an age is taken for a typing error."""

PARTS_OF_A_YEAR = {"": 1, "Y": 1, "M": 12, "W": 52.1775, "D": 365.2425}
"""Years, months, weeks and days per year, by the letter of the DICOM age string (AS)."""


def in_years(text: str) -> float:
    """Years as a number from `58`, `058Y`, `018M`, `006W` or `300D`; NaN if empty, unreadable or above 110."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([YMWD]?)", str(text).strip().upper())
    if not match:
        return math.nan
    age = float(match[1]) / PARTS_OF_A_YEAR[match[2]]
    return age if age <= OLDEST else math.nan
