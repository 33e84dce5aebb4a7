"""Twin: makes a small synthetic archive in the byte layout of a real one, and never overwrites other data."""

from pathlib import Path

import pydantic

from headwater.core import files, registry
from headwater.core.errors import UserError
from headwater.data import twin_folder
from headwater.study.archive import Twin


def twin(archive: str, folder: Path, *, cases: int, seed: int = 0, first_patient: int = 1, size: int = 96) -> None:
    """Make a small synthetic archive in the byte layout of a real one; if the same one is already there, do nothing.

    Args:
        archive: Kind of archive, such as chestxray14.
        folder: Folder of the new archive; other data there are never changed.
        cases: Number of cases.
        seed: Seed of all random choices.
        first_patient: Number of the first patient, so that two twins can have different patients.
        size: Height and width of the images in pixels.
    """
    registry.check("twins", archive)
    try:
        record = Twin(cases=cases, seed=seed, first_patient=first_patient, size=size)
    except pydantic.ValidationError as error:
        raise UserError("; ".join(registry.mistakes(error, Twin))) from None
    if twin_folder.occupied(folder):
        _check_same(folder, twin_folder.stamp(archive, record))
        print(f"twin: {folder} already holds this twin of {archive}; nothing to do")
        return
    registry.load("twins", archive).make(folder, **record.model_dump())
    print(f"twin: {folder} now holds a twin of {archive}, {cases} cases")


def _check_same(folder: Path, expected: dict) -> None:
    """Refuse a folder that holds anything but the twin with the expected stamp."""
    file = folder / twin_folder.STAMP
    if not file.is_file():
        raise UserError(
            "the folder holds something that is not a twin",
            file=folder,
            remedy="nothing was changed; name another folder",
        )
    content = files.read_json(file)
    if content != expected:
        stamp = content if isinstance(content, dict) else {}
        differences = ", ".join(
            f"{key} {stamp.get(key)}, not {value}" for key, value in expected.items() if stamp.get(key) != value
        )
        raise UserError(
            f"the folder holds another twin ({differences or 'its stamp has more entries'})",
            file=folder,
            remedy="nothing was changed; delete it or name another folder",
        )
