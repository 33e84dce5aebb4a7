"""Copies of a volume have nearly its hash and those of other patients do not; the ledger compares both as pictures."""

from pathlib import Path

import numpy as np
import pytest

from archives_made import SAMPLES
from headwater.data import copies, geometry, volume_hash
from headwater.data.io.nifti import read_nifti
from headwater.data.io.nifti_writing import write_volume
from headwater.data.io.volumes import Volume
from headwater.data.perceptual_hash import LEDGER, WORDS, of_ledger
from headwater.data.twins import msd
from headwater.study.leaks import Leaks

DISTANCE = Leaks().distance
"""Bits by which the ledger lets copies differ."""

HIPPOCAMPUS = SAMPLES / "msd_hippocampus" / "images"

real = pytest.mark.skipif(not HIPPOCAMPUS.is_dir(), reason="the real samples are not there")


def organ(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return msd.picture(msd.outlined((36, 40, 32), random), random).astype(np.float32)


def hash_of(volume: Volume) -> np.ndarray:
    return volume_hash.every(volume.turned("RAS").voxels)


def distance(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.bitwise_count(one[:LEDGER] ^ other[:LEDGER]).sum())


def resampled(values: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    grid = geometry.grids(values, spacing=(1.0, 1.0, 1.0), wanted=spacing, hounsfield=False)
    return grid.to_prepared(values)


def edited(values: np.ndarray) -> dict[str, np.ndarray]:
    """Copies (x, y, z) as other exports of one scan are."""
    noise = np.random.default_rng(0).normal(0, 0.01 * np.ptp(values), values.shape)
    return {
        "coarser": resampled(values, (1.5, 1.4, 1.6)),
        "finer": resampled(values, (0.7, 0.8, 1.0)),
        "rescaled": 2.5 * values - 300,
        "as bytes": np.rint(255 * (values - values.min()) / np.ptp(values)),
        "noisy": values + noise,
    }


def assert_found(values: np.ndarray) -> None:
    original = volume_hash.every(values)
    assert original.dtype == np.uint64 and original.shape == (WORDS,)
    assert {
        name: far
        for name, copy in edited(values).items()
        if (far := distance(original, volume_hash.every(copy))) > DISTANCE
    } == {}


@pytest.mark.parametrize("seed", range(3))
def test_copies_that_were_resampled_rescaled_or_converted_are_found(seed):
    assert_found(organ(seed))


@pytest.mark.parametrize("to", ["LPS", "SAR", "PIL"])
def test_a_copy_in_another_orientation_or_a_file_of_it_has_the_same_hash(tmp_path, to):
    values = organ(1)
    # LPS millimetres, as volumes have them
    volume = Volume(values, np.diag([-1.0, -1.0, 1.0, 1.0]), "")
    turned = volume.turned(to)
    assert turned.orientation == to and np.array_equal(hash_of(turned), hash_of(volume))
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ turned.affine
    write_volume(np.ascontiguousarray(turned.voxels), tmp_path / "copy.nii", affine=affine)
    assert np.array_equal(hash_of(read_nifti(tmp_path / "copy.nii")), hash_of(volume))


def test_other_margins_do_not_matter():
    values = np.pad(np.where(organ(2) < 0.5, 0, organ(2)), ((3, 9), (0, 5), (7, 0)))
    inside = values[geometry.box_of(values > 0)]
    assert np.array_equal(volume_hash.every(values), volume_hash.every(inside))


def test_the_ledger_pairs_a_copy_and_no_other_patient():
    volumes = [organ(seed) for seed in range(8)]
    words = np.array([volume_hash.every(values) for values in [*volumes, resampled(volumes[3], (1.4, 1.4, 1.4))]])
    assert copies.near(of_ledger(words), distance=DISTANCE).pairs.tolist() == [[3, 8]]
    # what corpora are reduced by tells them apart as well
    assert len(np.unique(words[:8, LEDGER : LEDGER + 3], axis=0)) == 8


@real
def test_copies_of_real_hippocampi_are_found_and_no_other_patient_is():
    files = sorted(HIPPOCAMPUS.glob("*.nii.gz"))[:60]
    volumes = [read_nifti(Path(file)).turned("RAS").voxels for file in files]
    for values in volumes[:6]:
        assert_found(np.ascontiguousarray(values))
    words = np.array([volume_hash.every(values) for values in volumes])
    apart = [distance(one, other) for place, one in enumerate(words) for other in words[:place]]
    # of all 33,670 pairs of the 260 the closest differ in 32 bits
    assert min(apart) > 1.5 * DISTANCE
