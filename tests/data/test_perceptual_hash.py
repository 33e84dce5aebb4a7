"""Perceptual hashes equal ImageHash's, change little when an image is encoded again, and much between patients."""

import io

import numpy as np
import pytest
from PIL import Image

from archives_made import SAMPLES
from headwater.data.lanczos import Grey
from headwater.data.perceptual_hash import BITS, KINDS, LEDGER, SHORTEST, SIDE, every, perceptual

SLICES = SAMPLES / "luna16_slices"
RADIOGRAPHS = SAMPLES / "chestxray14_64px" / "images_001" / "images"


def bits(pixels: np.ndarray) -> np.ndarray:
    return np.unpackbits(perceptual(Grey(pixels), side=SIDE).astype(">u8").view(np.uint8))


def picture(seed: int, *, side: int, smooth: int, colours: bool = False) -> np.ndarray:
    """Soft blots: uint8 (side, side) or (side, side, 3)."""
    shape = (smooth, smooth, 3) if colours else (smooth, smooth)
    coarse = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


# printed by ImageHash 4.3.2: imagehash.phash(Image.fromarray(picture(...)), hash_size=16)
IMAGEHASH = [
    (0, 64, 8, False, "c39ed39a8e478e4708f670b8bce1e70e515518f1439a8e8af50855753d35aaae"),
    (1, 100, 16, False, "9049eef3fa97a7ae33b2a680bd6c459058a97e4c99d4e2a01fd678ea72806b64"),
    (2, 37, 5, False, "92de47ff2dffd854f800abd507ff27965420b85674a8f8591423b9d046e8254a"),
    (3, 224, 40, False, "b871184172e942cb51bc6eca4a49bb7155d5f086673b37d589d70df47a3274c0"),
    (4, 90, 12, True, "94ced493dba550f8551b0f13f12dc19b4064931b4c0f67e4afd39c0bb3f06ce4"),
]


@pytest.mark.parametrize(("seed", "side", "smooth", "colours", "theirs"), IMAGEHASH)
def test_the_bits_are_those_of_imagehash(seed: int, side: int, smooth: int, colours: bool, theirs: str):
    drawn = picture(seed, side=side, smooth=smooth, colours=colours)
    assert "".join(f"{word:016x}" for word in every(drawn)[:LEDGER].tolist()) == theirs


# the same of imagehash.dhash, phash and average_hash of the same pictures
SHORT = [
    ("e9d99a9ac977c3e6", "c3d38e8e0870bce7", "7d7ce84821137173"),
    ("4da5b0a9da5ad599", "90eeeaa733a2b941", "afd45c052a8f7f4c"),
    ("1ccccf1c3c383c3f", "92472dd8f8ab0727", "ce6420c6ce0e0f0f"),
    ("959d2736aa496f9a", "b8187343516e5abb", "404f9f124d74a3cb"),
    ("90f5c62e949a6b19", "94d4db50d50ff1c1", "de15e382d24e398c"),
]


@pytest.mark.parametrize(("drawn", "theirs"), list(zip(IMAGEHASH, SHORT, strict=True)))
def test_the_short_hashes_are_those_of_imagehash(drawn: tuple, theirs: tuple[str, ...]):
    seed, side, smooth, colours, _ = drawn
    words = every(picture(seed, side=side, smooth=smooth, colours=colours))[LEDGER:SHORTEST]
    assert tuple(f"{word:016x}" for word in words.tolist()) == theirs
    assert KINDS == ("difference", "perceptual", "average")


@pytest.mark.skipif(not SLICES.is_dir(), reason="the slices of LUNA16 are not there")
def test_real_slices_have_imagehashs_bits_where_it_is_installed():
    imagehash = pytest.importorskip("imagehash")
    for file in sorted(SLICES.glob("*.png"))[::6]:
        decoded = Image.open(file).convert("RGB")
        theirs = [imagehash.dhash(decoded), imagehash.phash(decoded), imagehash.average_hash(decoded)]
        ours = every(np.asarray(decoded))[LEDGER:SHORTEST].tolist()
        assert [f"{word:016x}" for word in ours] == list(map(str, theirs))


@pytest.mark.skipif(not RADIOGRAPHS.is_dir(), reason="the sample of ChestX-ray14 is not there")
def test_encoded_anew_an_image_stays_near_and_other_patients_stay_far():
    files = sorted(RADIOGRAPHS.glob("*.png"))[::5]
    pictures = [Image.open(file).convert("L") for file in files]
    hashes = np.array([bits(np.asarray(picture)) for picture in pictures])
    anew = np.array([bits(np.asarray(_as_jpeg(picture, 75))) for picture in pictures])
    assert (anew != hashes).sum(axis=1).max() <= 16
    away = (hashes[:, None] != hashes[None]).sum(axis=2)
    patient = np.array([file.name[:8] for file in files])
    assert away[patient[:, None] != patient].min() > 48
    assert hashes.shape[1] == BITS


def _as_jpeg(picture: Image.Image, quality: int) -> Image.Image:
    kept = io.BytesIO()
    picture.save(kept, "JPEG", quality=quality)
    return Image.open(kept)
