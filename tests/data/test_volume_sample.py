"""The doctor reads volumes with their masks, and names no case on its page."""

from pathlib import Path

import numpy as np

from headwater.core import registry
from headwater.core.page import as_text
from headwater.data import integrity
from headwater.data.io.nifti_writing import write_volume
from headwater.data.twins import msd


def page(folder: Path) -> tuple[int, str]:
    found = integrity.examine("msd", folder, options=registry.options("datasets", "msd")(), workers=0)
    return found.code, as_text(integrity._page(found, listed=False))


def test_a_twin_of_volumes_is_clean(tmp_path):
    msd.make(tmp_path / "organ", cases=8, seed=1, size=32)
    code, text = page(tmp_path / "organ")
    assert code == 0 and "0 errors, 0 warnings, 1 note." in text
    assert "8 of 8 volumes read" in text and "Voxels       2" in text and "organ_00" not in text


def test_what_is_wrong_with_volumes_and_masks_is_counted(tmp_path):
    folder = tmp_path / "organ"
    msd.make(folder, cases=8, seed=1, size=32)
    (folder / "labelsTr" / "organ_001.nii.gz").unlink()
    write_volume(np.zeros((5, 5, 5), np.uint8), folder / "labelsTr" / "organ_002.nii.gz", affine=np.eye(4))
    for part, values in (("imagesTr", np.full((5, 5, 5), 7, "i2")), ("labelsTr", np.zeros((5, 5, 5), "u1"))):
        write_volume(values, folder / part / "organ_003.nii.gz", affine=np.eye(4))
    (folder / "imagesTr" / "organ_004.nii.gz").write_bytes((folder / "imagesTr" / "organ_005.nii.gz").read_bytes())
    (folder / "labelsTr" / "organ_004.nii.gz").write_bytes((folder / "labelsTr" / "organ_005.nii.gz").read_bytes())
    (folder / "imagesTr" / "organ_006.nii.gz").write_bytes(b"nothing")
    code, text = page(folder)
    for said in (
        "1 of 8 (has an image but no mask)",
        "1 of 8 (is on another grid)",
        "1 of 8 (is not a",
        "have one grey value throughout: 1 of 8",
        "with the pixels of another one: 2 of 8",
    ):
        assert said in " ".join(text.split()), said
    assert code == 2 and "organ_00" not in text
