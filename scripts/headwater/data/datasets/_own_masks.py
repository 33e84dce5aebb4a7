"""Masks of one's own: the column that lists them, the names of their values, and mistakes in both."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from headwater.core.errors import UserError
from headwater.data.datasets import _own_table
from headwater.data.datasets._own_table import Columns, Layout, Read
from headwater.data.io.sheets import read_header


def labels(folder: Path, options: Columns, layout: Layout) -> tuple[str, ...]:
    """The labels by the options, or else by the table; then the structures, each with a name of its own."""
    told = _own_table.labels(_own_table.table_of(folder, options), options, layout)
    every = (*told, *options.structures)
    if twice := [name for name in every if every.count(name) > 1]:
        remedy = "give each structure a name of its own"
        raise UserError(f"structures: {twice[0]!r} is the name of two structures, or of a label", remedy=remedy)
    return every


def refuse_unnamed(table: Path, options: Columns, layout: Layout) -> None:
    """Refuse a table with masks whose values no option names, and the reverse."""
    header = read_header(table)
    masked = [name for name in (options.mask, *dict(layout.spellings).get("mask", ())) if name and name in header]
    if masked and options.mask and not options.structures:
        remedy = 'name the values of masks from 1 on by the option `structures`, or set mask: ""'
        raise UserError(f"line 1 has the column {masked[0]!r} of masks", file=table, remedy=remedy)
    if options.structures and not masked:
        what = "line 1 has no column of masks, but the option `structures` names what they outline"
        raise UserError(what, file=table, remedy="set mask: COLUMN")


def refuse_odd(found: Read, folder: Path, *, endings: Sequence[str], what: str) -> None:
    """Refuse masks that are not `what`, which ends in one of the endings, and a table none of whose masks is there."""
    found = _own_table.with_files(found, folder, place="mask")
    masks = found.cells["mask"]
    odd = (masks != "") & ~masks.str.lower().str.endswith(tuple(endings))
    found.refuse(odd.to_numpy(), "mask", f" is no {what}", remedy=f"use one of {', '.join(endings)}, or nothing")
    listed = masks[masks != ""]
    if listed.empty:
        nobody = f"no line names a mask in the column {found.named['mask']!r}"
        raise UserError(nobody, file=found.table, remedy='fill it in, or set mask: ""', nameless=nobody)
    column = found.named["mask"]
    _own_table.refuse_all_absent(listed, folder, found.options, column=column, what="masks")


def beside(folder: Path, options: Columns, layout: Layout, *, place: str) -> dict[str, str]:
    """The mask, or the cell of another place, of each case by its file; "" where it has none."""
    if not options.structures:
        return {}
    state = _own_table.table_of(folder, options).stat()
    return _beside(folder, options.as_json(), type(options), layout, (state.st_mtime_ns, state.st_size))[place]


@lru_cache(maxsize=2)
def _beside(
    folder: Path, options: str, form: type[Columns], layout: Layout, state: tuple[int, int]
) -> dict[str, dict[str, str]]:
    """The same of every place, read once for each state of the table."""
    found = _own_table.read(folder, form.model_validate_json(options), layout, rows=None, labelled=False)
    cells = _own_table.with_files(found, folder, place="mask").cells
    return {place: dict(zip(cells["file"], cells[place], strict=True)) for place in layout.places}
