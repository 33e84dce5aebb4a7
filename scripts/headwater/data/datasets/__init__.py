"""Archives: one file per archive says where its images and labels lie and reads them as published.

A plug-in holds
    CARD: Card
    Options (optional): a record of what the user may choose, such as whose labels count
    read_cases(folder, options) -> DataFrame   a "catalogue" table (see formats): one row per image that the archive
                                               lists, split "" where the archive has no official one, and a
                                               target:<label> column per label; of slices also their `series` and
                                               `position` along its normal; refuses a broken label file
    read_pixels(folder, case) -> ndarray       uint8 (height, width) or (height, width, 3) of one catalogue row, given
                                               as a mapping: case["file"]; refuses a broken image
                                               of an archive of CT, whose card names a window, int16: Hounsfield units
    read_scan(folder, rows) -> Iterator[tuple[int, Slice]]   (optional) of catalogue rows of one `series`, which is then
                                               read once: what became of each (io.slices), by its place among the
                                               rows, readable slices in anatomical order; `read_pixels` gives any one
    label_files(folder, options) -> list[Path] the files that `read_cases` reads; refuses a folder that lacks one
    sheets(folder, options) -> dict[Path, dict]   (optional) the columns that are read of each table, by our names, with
                                               the spellings that a table may use; `doctor` looks at their cells
    BESIDE (optional): tuple[str, ...]         patterns of image files that no case lists by intent, such as masks
    LABEL_OPTIONS (optional): tuple[str, ...]  options that change labels alone, in which a second reading of the
                                               same images (`images_of`) may differ; by default none
    SPLIT_FILES (optional): dict[str, str]     for each official split the file, below the folder, that says so
    labels(folder, options), card(options)     (optional) the labels, and the card, where options say them
    read_person(folder, case) -> dict          (optional) what only an image's own header tells of its patient, of
                                               sex, age and view; asked while the pixels are read
"""

from typing import Literal

from headwater.core.records import Record


class Card(Record):
    """What an archive says of itself."""

    title: str
    licence: str
    citation: str
    url: str
    modality: str
    task: Literal["multilabel", "multiclass"]
    labels: tuple[str, ...]
    made_from: tuple[str, ...] = ()
    """What its images stem from: archives, or collections that origins.py names."""
    patients: bool
    """Whether the archive tells which images belong to one patient; if not, cases stand in for patients."""
    expected: dict[str, int] = {}
    """Published counts, such as cases and patients."""
    note: str = ""
    """What a table that shows this archive has to say of it."""
    window: str = ""
    """Of an archive of Hounsfield units what is seen of them by default (a name in windows.py); else empty."""
    hosted_logging: bool = True
    """Whether its terms allow image or patient identifiers to leave the machine."""
