"""Archives: one file per archive, which finds and reads its images and labels as published.

A plug-in holds
    CARD: Card
    Options (optional): a record of what the user may choose, such as whose labels count
    read_cases(folder, options) -> DataFrame   a "catalogue" table (see data/index.py): one row per image that the
                                               archive lists, split "" if the archive has no official one, and a
                                               target:<label> column per label, and a number:<name> column per
                                               number; of slices also their `series` and
                                               `position` along its normal; refuses a broken label file
    read_pixels(folder, case) -> ndarray       uint8 (height, width) or (height, width, 3) of one catalogue row, given
                                               as a mapping: case["file"]; for an archive of CT, whose card names a
                                               window, int16 Hounsfield units; refuses a broken image
    read_scan(folder, rows) -> Iterator[tuple[int, Slice]]   (optional) all catalogue rows of one `series`, whose file
                                               is then read once: (position among the rows, io.slices.Slice), readable
                                               slices in anatomical order; `read_pixels` reads any single one
    read_volume(folder, case, options) -> Volume   of an archive of volumes, whose card has `ndim=3`, in place of
                                               `read_pixels`: one catalogue row as an io.volumes.Volume, in any
                                               orientation; its `file` may be a folder; refuses a broken file
    read_mask(folder, case, options) -> Volume | None   (optional) its label map, uint8 on the grid of its image in any
                                               orientation: 0 for the background, then `structures` in their order;
                                               None where nothing is known, so that the case is kept with unknown
                                               targets. `prepare_volumes` fills in the targets of structures, which are
                                               unknown (NaN) in the catalogue
    extent(folder, case, options) -> Volume    (optional) as `read_volume`, by the header alone, its voxels all 0; for a
                                               plan, where `io.extent` cannot tell it
    structures(folder, options) -> tuple       (optional) the structures, if they depend on folder or options
    label_files(folder, options) -> list[Path] the files that `read_cases` reads; refuses a folder that lacks one
    sheets(folder, options) -> dict[Path, dict]   (optional) the columns that are read of each table, by our names, with
                                               the spellings that a table may use; `doctor` checks their cells
    OPTIONAL (optional): tuple[str, ...]       those of them, by our names, that a table may lack
    read_sample(folder, options, rows)         (optional) as `read_cases`, of so many first rows of the table and as
                                               many others, for the plan of a study; in place of `sheets`
    check_options(folder, options)             (optional) refuses options that large tables contradict, of which a plan
                                               reads a part of the `sheets` only; in seconds
    PIXEL_OPTIONS (optional): tuple[str, ...]  options that `read_pixels` takes as keywords
    BITS (optional): int                       bits that its grey images in 16 bits fill, where `read_pixels` goes by it
    FEWER_CASES (optional): tuple[str, ...]    options that leave cases out; their defaults list every image
    BESIDE (optional): tuple[str, ...]         patterns of image files that are no cases on purpose, such as masks
    LABEL_OPTIONS (optional): tuple[str, ...]  options that change labels only, in which a second reading of the
                                               same images (`images_of`) may differ; by default none
    SPLIT_FILES (optional): dict[str, str]     the file, below the folder, that defines each official split
    MADE_FROM (optional): dict                 origins of the images beside the card's, by an option and its value
    OFFICIAL (optional): tuple[str, ...]       of validation and test what the archive always has an official split for
    numbers(options) -> tuple[str, ...]        (optional) the names of its numbers, if it has any
    notes(options) -> tuple[str, ...]          (optional) what may surprise in a choice of options, each with its
                                               remedy behind the last semicolon; told by the plan and by `doctor`
    beside(folder, options) -> set[str]        (optional) image files that are no cases, by the tables: their masks
    labels(folder, options), card(options)     (optional) the labels, and the card, if they depend on options
    read_person(folder, case) -> dict          (optional) sex, age and view if only the image's header states them;
                                               called while the pixels are read
"""

from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from headwater.core.records import Record


class Card(Record):
    """The description of an archive."""

    title: str
    licence: str
    citation: str
    url: str
    modality: str
    task: Literal["multilabel", "multiclass"]
    labels: tuple[str, ...]
    made_from: tuple[str, ...] = ()
    """The origins of its images: archives, or collections listed in study/lineage.py."""
    patients: bool
    """Whether the archive states which images belong to one patient; if not, each case counts as a patient."""
    expected: dict[str, int] = {}
    """Published counts, such as cases and patients."""
    note: str = ""
    """A note for tables that show this archive."""
    window: str = ""
    """The default window of an archive of Hounsfield units (a name in study/ct_windows.py); else empty."""
    ndim: Literal[2, 3] = 2
    """Dimensions of an image: 2 for pictures and slices, 3 for volumes."""
    flat: bool = False
    """Whether volumes are pictures: axial slices that are one voxel thick."""
    unit: Literal["mm", "pixels"] = "mm"
    """What distances are in: pixels if the archive does not tell how far they lie apart, which then count as 1."""
    structures: tuple[str, ...] = ()
    """The structures that masks outline, in the order of their values from 1 on; 0 is the background."""
    hosted_logging: bool = True
    """Whether its terms allow curves of its trainings on a server outside (`tracking.wandb: online`)."""


def pixel_options(plugin: ModuleType, options: Record) -> dict[str, Any]:
    """The options of an archive on which the pixels of its images depend, as keywords of its `read_pixels`."""
    return {name: getattr(options, name) for name in getattr(plugin, "PIXEL_OPTIONS", ())}


def structures_of(plugin: ModuleType, folder: Path, options: Record) -> tuple[str, ...]:
    """The structures that an archive's masks outline, in the order of their values from 1 on."""
    return plugin.structures(folder, options) if hasattr(plugin, "structures") else plugin.CARD.structures
