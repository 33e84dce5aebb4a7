"""Reductions: which images of a corpus a pre-training sees.

A plug-in holds
    Options (optional)                          a record of what the user may choose
    keep(cases, images, *, options) -> ndarray  positions in `cases` (int64, ascending) that are kept

`cases` is the corpus' training split as a "cases" table, patient by patient and within a patient in the order of
cases.parquet; that order is part of each method. `images` is the memory-mapped uint8 (cases, channels, height, width)
of the whole archive; the column `row` of `cases` points into it.
"""
