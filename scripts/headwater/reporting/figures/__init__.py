"""Figures of the report: one file per figure, drawn the same each time.

A plug-in holds
    CARD: artefacts.FigureCard           its title and caption, and where the page shows it
    make(study) -> dict[str, Drawing]      drawings by the dataset or source that they are about, "" for one about
                                           all; without those that would be empty

and may hold
    reason_for_none(study) -> str          what the page says where there is no figure

`study` is a `results.StudyResults`. The files `{name}.svg`, `.pdf` and `.png`, or `{name}_{dataset or source}.svg` and
so on, and the place on the page follow from this file alone.
"""
