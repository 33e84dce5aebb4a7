"""Makes a small synthetic archive in the byte layout of a real one, and never touches data that lies there already."""

from pathlib import Path

import pydantic

from headwater.core import files, registry
from headwater.core.errors import UserError
from headwater.data.twins import _folder
from headwater.study.archive import Twin


def twin(archive: str, folder: Path, *, cases: int, seed: int = 0, first_patient: int = 1, size: int = 96) -> None:
    """A synthetic archive at FOLDER, in the byte layout of ARCHIVE; nothing to do if the same one lies there."""
    registry.check("twins", archive)
    try:
        record = Twin(cases=cases, seed=seed, first_patient=first_patient, size=size)
    except pydantic.ValidationError as error:
        raise UserError("; ".join(registry.mistakes(error, Twin))) from None
    if _folder.occupied(folder):
        _check_same(folder, _folder.stamp(archive, record))
        print(f"twin: {folder} holds this twin of {archive} already; nothing to do")
        return
    registry.load("twins", archive).make(folder, **record.model_dump())
    print(f"twin: {folder} now holds a twin of {archive}, {cases} cases")


def _check_same(folder: Path, wanted: dict) -> None:
    """Refuse a folder that holds anything but the wanted twin."""
    file = folder / _folder.STAMP
    if not file.is_file():
        raise UserError(
            "something that is no twin lies here", file=folder, remedy="it is left alone; name a folder of its own"
        )
    content = files.read_json(file)
    if content != wanted:
        stamp = content if isinstance(content, dict) else {}
        other = ", ".join(
            f"{key} {stamp.get(key)}, not {value}" for key, value in wanted.items() if stamp.get(key) != value
        )
        raise UserError(
            f"another twin lies here ({other or 'its stamp says more than ours'})",
            file=folder,
            remedy="it is left alone; delete it or name another folder",
        )
