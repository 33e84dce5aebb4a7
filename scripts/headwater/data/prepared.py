"""Prepared archives as trainings read them: pictures and slices, or volumes in patches."""

from collections.abc import Sequence
from pathlib import Path

from headwater.core.errors import UserError
from headwater.data import store
from headwater.data.volumes import read_volumes
from headwater.study.ct_windows import Window
from headwater.study.folds import Fold
from headwater.study.intensity import Intensity


def read(
    cases: Path,
    *,
    images: Path,
    seen: Window | Intensity | None,
    patch: Sequence[int] | None = None,
    dropped: Path | None = None,
    fold: Fold | None = None,
) -> store.Prepared:
    """Cases and images as networks see them; with a `patch` volumes, whose masks and references lie beside the images.

    Cases that the file `dropped` lists are in no split. A `fold` is the test split in place of the archive's own.
    """
    if patch is None:
        return store.read(cases, images=images, seen=seen, dropped=dropped, fold=fold)
    if len(patch) != 3 or seen is None:
        raise UserError(
            f"a patch of {list(patch)} voxels, seen as {seen}, shows no volume",
            remedy="give three sides, and a window or an intensity",
        )
    files = {name: images.with_name(f"{name}.npy") for name in ("masks", "references")}
    return read_volumes(cases, images=images, **files, seen=seen, patch=tuple(patch), dropped=dropped, fold=fold)
