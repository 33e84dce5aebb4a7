"""A twin's folder: it is written completely or not at all, stamped with its origin, and never replaces other data."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headwater.core import files
from headwater.core.errors import UserError
from headwater.study.archive import Twin

STAMP = "twin.json"


def stamp(archive: str, twin: Twin) -> dict:
    """The content of a twin's stamp."""
    return {"archive": archive, **twin.model_dump(mode="json")}


def occupied(folder: Path) -> bool:
    """Whether something exists at `folder`; an empty folder does not count."""
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


@contextmanager
def whole_folder(folder: Path, *, archive: str, twin: Twin) -> Iterator[Path]:
    """A temporary folder that is stamped and renamed to `folder` when the block ends without an error."""
    folder = Path(folder)
    refuse_if_occupied(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    # not by tempfile, which would keep the group out whatever the umask says
    temporary.mkdir()
    try:
        yield temporary
        files.write_json(stamp(archive, twin), temporary / STAMP)
        # again, as something may have appeared there in the meantime
        refuse_if_occupied(folder)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_if_occupied(folder: Path) -> None:
    """Refuse a folder that exists and is not empty."""
    if occupied(folder):
        raise UserError("already exists", file=folder, remedy="choose a folder that does not exist yet")
