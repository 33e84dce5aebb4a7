"""Which edits of an image the ledger sees, how often it takes two patients for one, and how long many images take.

    python benchmarks/leakage.py [--samples ../shared/data] [--images 50] [--sizes 20000]

Real images are edited and searched for among the unedited ones; synthetic pictures take the place of samples that are
not there. False alarms are pairs of images of different patients that count as near-identical. For the times, hashes
and sketches are drawn with the mean and covariance of the sample's; `--images 0 --sizes 100000 1000000` measures large
archives alone. Times are those of the machine as it is; what the processors worked stands beside them. Memory is the
peak of the program so far, drawing included: sizes should ascend. Every call begins anew.
"""

import argparse
import io
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

# this folder holds a file with the name of a standard module, which nobody else may meet
sys.path[0] = str(Path(__file__).resolve().parent.parent / "scripts")

import nibabel
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from headwater.data import copies, perceptual_hash, sketches
from headwater.data.io.windows import as_shades
from headwater.data.perceptual_hash import LEDGER

DISTANCE = 16

Images = list[tuple[str, np.ndarray]]
"""(patient, grey image uint8) each."""


# the samples


def radiographs(root: Path) -> Images:
    """The 1,000 radiographs of ChestX-ray14, 64 x 64."""
    files = sorted((root / "chestxray14_64px" / "images_001" / "images").glob("*.png"))
    return [(file.name[:8], np.asarray(Image.open(file).convert("L"))) for file in files]


def chest_slices(root: Path) -> Images:
    """Two slices of each of 60 CT scans of LUNA16, 512 x 512."""
    files = sorted((root / "luna16_slices").glob("*.png"))
    return [(file.name.partition(".mhd")[0], np.asarray(Image.open(file).convert("L"))) for file in files]


def hippocampi(root: Path) -> Images:
    """The middle slice of each MR crop, about 35 x 50."""
    files = sorted((root / "msd_hippocampus" / "images").glob("*.nii.gz"))
    volumes = [(file.name, np.asarray(nibabel.load(file).dataobj, np.float32)) for file in files]
    return [(name, _stretched(volume[:, :, volume.shape[2] // 2].T[::-1])) for name, volume in volumes]


def body_slices(root: Path) -> Images:
    """About 28 slices of each of three CT of TotalSegmentator, of which two are parts of one scan."""
    found = []
    patients = {"aorta_case/ct_cropped": "first", "pulmonary_case/ct_cropped": "first", "example_ct": "second"}
    for name, patient in patients.items():
        file = root / "ct_totalsegmentator" / f"{name}.nii.gz"
        if not file.is_file():
            return []
        volume = np.maximum(np.asarray(nibabel.load(file).dataobj, np.float32), -1024)
        planes = [volume[:, :, at].T[::-1] for at in range(0, volume.shape[2], max(1, volume.shape[2] // 25))]
        found += [(patient, as_shades(plane.astype(np.int16))) for plane in planes if np.ptp(plane) > 0]
    return found


SAMPLES = {
    "radiographs": radiographs,
    "chest slices": chest_slices,
    "hippocampi": hippocampi,
    "body slices": body_slices,
}


def made(count: int, *, seed: int = 0) -> Images:
    """Synthetic pictures, each of a patient of its own: one anatomy, seen by all, and detail that differs."""
    draw = np.random.default_rng(seed)

    def blots(side: int) -> np.ndarray:
        coarse = draw.normal(size=(side, side)).astype(np.float32)
        return np.asarray(Image.fromarray(coarse).resize((160, 160), Image.Resampling.BICUBIC))

    anatomy = 3 * blots(4) + 2 * blots(8)
    return [(str(number), _stretched(anatomy + blots(8) + blots(20) + blots(40))) for number in range(count)]


def _stretched(values: np.ndarray) -> np.ndarray:
    """Grey values 0 to 255 from the lowest to the highest."""
    low, high = values.min(), values.max()
    return np.rint((values - low) / max(high - low, 1e-9) * 255).astype(np.uint8)


# what people do to images


def as_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Encoded as JPEG."""
    kept = io.BytesIO()
    Image.fromarray(image).save(kept, "JPEG", quality=quality)
    return np.asarray(Image.open(kept))


def resized(image: np.ndarray, factor: float) -> np.ndarray:
    """At another size."""
    size = tuple(max(8, round(side * factor)) for side in image.shape[::-1])
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def noisy(image: np.ndarray, spread: float) -> np.ndarray:
    """With Gaussian noise."""
    noise = np.random.default_rng(image.size).normal(0, spread, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def cropped(image: np.ndarray, share: float, *, above: float = 0.5, left: float = 0.5) -> np.ndarray:
    """Without a share of its height and width, so much of it above and on the left."""
    down, right = (round(side * share) for side in image.shape)
    top, start = round(down * above), round(right * left)
    return image[top : image.shape[0] - down + top, start : image.shape[1] - right + start]


def padded(image: np.ndarray, share: float, *, shade: int = 0) -> np.ndarray:
    """With bars of one shade on the left and on the right."""
    wide = round(image.shape[1] * share / 2)
    return np.pad(image, ((0, 0), (wide, wide)), constant_values=shade)


def framed(image: np.ndarray) -> np.ndarray:
    """With a black frame of a twentieth on all sides."""
    return np.pad(image, [(round(side / 20),) * 2 for side in image.shape])


def rotated(image: np.ndarray, degrees: float) -> np.ndarray:
    """Turned by a few degrees, with black corners."""
    return np.asarray(Image.fromarray(image).rotate(degrees, Image.Resampling.BICUBIC))


def brightened(image: np.ndarray, gamma: float) -> np.ndarray:
    """With another gamma."""
    return np.rint(255 * (image / 255) ** gamma).astype(np.uint8)


def equalised(image: np.ndarray) -> np.ndarray:
    """With an even histogram."""
    below = np.bincount(image.ravel(), minlength=256).cumsum()
    first = below[image.min()]
    return np.clip(np.rint((below - first) / max(below[-1] - first, 1) * 255), 0, 255).astype(np.uint8)[image]


def clahe(image: np.ndarray, clip: float, *, tiles: int = 8) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994) with the parameters of OpenCV."""
    sides = [-(-side // tiles) for side in image.shape]
    whole = [(0, size * tiles - side) for size, side in zip(sides, image.shape, strict=True)]
    blocks = np.pad(image, whole, mode="reflect").reshape(tiles, sides[0], tiles, sides[1]).swapaxes(1, 2)
    curves = np.empty((tiles, tiles, 256))
    for row, column in np.ndindex(tiles, tiles):
        counts = np.bincount(blocks[row, column].ravel(), minlength=256)
        limit = max(1, int(clip * blocks[0, 0].size / 256))
        clipped = np.minimum(counts, limit)
        curves[row, column] = np.cumsum(clipped + (counts - clipped).sum() / 256) * 255 / counts.sum()
    at = [
        np.clip((np.arange(side) + 0.5) / size - 0.5, 0, tiles - 1)
        for side, size in zip(image.shape, sides, strict=True)
    ]
    (y, x), low = at, [np.minimum(place.astype(int), tiles - 2) for place in at]
    v, u = (y - low[0])[:, None], (x - low[1])[None]
    corner = lambda down, right: curves[low[0][:, None] + down, low[1][None] + right, image]  # noqa: E731
    upper, lower = corner(0, 0) * (1 - u) + corner(0, 1) * u, corner(1, 0) * (1 - u) + corner(1, 1) * u
    return np.rint(np.clip(upper * (1 - v) + lower * v, 0, 255)).astype(np.uint8)


def labelled(image: np.ndarray) -> np.ndarray:
    """With burnt-in text in two corners."""
    drawn = Image.fromarray(image.copy())
    size = max(8, image.shape[0] // 16)
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(size=size)
    pen.text((2, 2), "L", fill=255, font=font)
    pen.text((image.shape[1] * 0.45, image.shape[0] - 1.4 * size), "PORTABLE", fill=255, font=font)
    return np.asarray(drawn)


def windowed(image: np.ndarray) -> np.ndarray:
    """Through a window that saturates the darkest and the brightest 2 %."""
    low, high = np.percentile(image, [2, 98])
    return np.clip((image - low) / max(high - low, 1) * 255, 0, 255).astype(np.uint8)


EDITS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "JPEG, quality 75": lambda image: as_jpeg(image, 75),
    "half the size": lambda image: resized(image, 0.5),
    "1.7 times the size": lambda image: resized(image, 1.7),
    "noise of 5 shades": lambda image: noisy(image, 5),
    "noise of 10 shades": lambda image: noisy(image, 10),
    "mirrored": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "turned by 180 degrees": lambda image: image[::-1, ::-1],
    "turned by 90 degrees": np.rot90,
    "turned by 270 degrees": lambda image: np.rot90(image, 3),
    "inverted": lambda image: 255 - image,
    "inverted and mirrored": lambda image: 255 - image[:, ::-1],
    "padded by a quarter, black": lambda image: padded(image, 0.25),
    "padded by half, black": lambda image: padded(image, 0.5),
    "padded by a quarter, white": lambda image: padded(image, 0.25, shade=255),
    "framed in black": framed,
    "inverted, then padded": lambda image: padded(255 - image, 0.25),
    "cropped by 2 %": lambda image: cropped(image, 0.02),
    "cropped by 4 %": lambda image: cropped(image, 0.04),
    "cropped by 10 %": lambda image: cropped(image, 0.10),
    "cropped by 4 % at one corner": lambda image: cropped(image, 0.04, above=0, left=1),
    "cropped by 10 % at one corner": lambda image: cropped(image, 0.10, above=0, left=0),
    "cropped by 10 % above": lambda image: image[round(image.shape[0] / 10) :],
    "cropped by 20 %": lambda image: cropped(image, 0.20),
    "rotated by 1 degree": lambda image: rotated(image, 1),
    "rotated by 2 degrees": lambda image: rotated(image, -2),
    "rotated by 5 degrees": lambda image: rotated(image, 5),
    "gamma 0.6": lambda image: brightened(image, 0.6),
    "gamma 1.6": lambda image: brightened(image, 1.6),
    "equalised": equalised,
    "CLAHE, clip limit 2": lambda image: clahe(image, 2),
    "CLAHE, clip limit 4": lambda image: clahe(image, 4),
    "burnt-in text": labelled,
    "another window": windowed,
    "mirrored, CLAHE, cropped by 4 %": lambda image: cropped(clahe(image[:, ::-1], 2), 0.04),
    "inverted, rotated, JPEG": lambda image: as_jpeg(255 - rotated(image, 2), 75),
}


# what is found


def words_of(images: list[np.ndarray]) -> np.ndarray:
    """What the ledger compares of each image."""
    return perceptual_hash.of_ledger(np.array([perceptual_hash.every(np.ascontiguousarray(image)) for image in images]))


def found(originals: np.ndarray, edited: np.ndarray, *, least: float = copies.SAME) -> np.ndarray:
    """Which of the edited images count as near-identical to their originals, bool (images,)."""
    hashes = np.bitwise_count(originals[:, :LEDGER] ^ edited[:, :LEDGER]).sum(axis=1) <= DISTANCE
    pairs = copies.between(np.concatenate([originals, edited])[:, LEDGER:], least=least).pairs
    own = pairs[pairs[:, 1] - pairs[:, 0] == len(originals), 0]
    return hashes | np.isin(np.arange(len(originals)), own)


def spread(count: int, most: int) -> np.ndarray:
    """At most so many positions from the first to the last of so many, int64: one patient's are side by side."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def false_alarms(images: Images) -> tuple[int, int]:
    """Pairs of images of different patients that count as near-identical, and all such pairs."""
    patient = np.unique([name for name, _ in images], return_inverse=True)[1]
    words = words_of([image for _, image in images])
    # images with one hash are one row in the ledger
    rows = np.unique(words[:, :LEDGER], axis=0, return_index=True)[1]
    pairs = rows[copies.near(words[rows], distance=DISTANCE).pairs]
    return int((patient[pairs[:, 0]] != patient[pairs[:, 1]]).sum()), _pairs_apart(patient)


def _pairs_apart(patient: np.ndarray) -> int:
    """How many pairs of images are of two patients."""
    return int((patient[:, None] != patient).sum()) // 2


def detection(samples: dict[str, Images], *, images: int, least: float = copies.SAME) -> pd.DataFrame:
    """Per edit and sample, how many of so many images are found, with a limit of agreement."""
    table = pd.DataFrame(index=list(EDITS))
    for name, sample in samples.items():
        chosen = [sample[at][1] for at in spread(len(sample), images)]
        originals = words_of(chosen)
        edited = (words_of([edit(image) for image in chosen]) for edit in EDITS.values())
        table[name] = [f"{found(originals, words, least=least).sum()} of {len(chosen)}" for words in edited]
    return table


# the limit of agreement, chosen on some patients and judged on others


ASKED = (
    *("mirrored", "inverted", "inverted and mirrored", "padded by a quarter, black", "cropped by 4 %"),
    *("rotated by 2 degrees", "CLAHE, clip limit 2", "gamma 0.6", "gamma 1.6"),
)
"""The edits by which a limit is chosen."""

LIMITS = tuple(limit / 100 for limit in range(55, 100, 5))
"""Limits of agreement from which one is chosen."""

FOUND = 0.98
"""Share of edited copies that a limit must find where it is chosen."""


def halves(images: Images) -> tuple[Images, Images]:
    """The images of every second patient, and those of the others."""
    second = set(sorted({patient for patient, _ in images})[1::2])
    return tuple([image for image in images if (image[0] in second) == here] for here in (False, True))


def judged(images: Images, *, edited: int) -> pd.DataFrame:
    """By limit: edited copies found, of how many, and pairs of two patients that count as copies, of how many."""
    some = spread(len(images), edited)
    every = [*images, *((images[at][0], EDITS[edit](images[at][1])) for edit in ASKED for at in some)]
    patient = np.unique([name for name, _ in every], return_inverse=True)[1]
    original = np.concatenate([np.arange(len(images)), np.tile(some, len(ASKED))])
    words = words_of([image for _, image in every])[:, LEDGER:]
    rows, pairs = [], _pairs_apart(patient)
    for limit in LIMITS:
        one, other = copies.between(words, least=limit).pairs.T
        own = (one < len(images)) & (other >= len(images)) & (original[one] == original[other])
        alarms = (patient[one] != patient[other]).sum()
        counts = {"found": own.sum(), "of": len(every) - len(images), "alarms": alarms, "pairs": pairs}
        rows.append({"limit": limit, **counts})
    return pd.DataFrame(rows).set_index("limit")


def held_out(samples: dict[str, Images], *, images: int) -> str:
    """How limits that one half of the patients chose do on the other half, and the ledger's own beside, in words."""
    parts = [dict(zip(samples, part, strict=True)) for part in zip(*map(halves, samples.values()), strict=True)]
    judgements = [{name: judged(sample, edited=images) for name, sample in part.items()} for part in parts]
    return "\n".join(
        _on_others(parts[here], judgements[here], chosen_on=sum(judgements[1 - here].values()), images=images)
        for here in (0, 1)
    )


def _on_others(
    part: dict[str, Images], judgements: dict[str, pd.DataFrame], *, chosen_on: pd.DataFrame, images: int
) -> str:
    """How the limit that `chosen_on` allows does on the samples of the other half, in words."""
    good = chosen_on.index[(chosen_on["alarms"] == 0) & (chosen_on["found"] >= FOUND * chosen_on["of"])]
    if good.empty:
        return f"no limit finds enough copies on half of the patients without a false alarm\n{chosen_on.to_string()}"
    # the middle one is farthest from what must be found and from what must not
    limit = good[(len(good) - 1) // 2]
    allowed = f"half of the patients allow {', '.join(f'{one:g}' for one in good)}; on the other half at {limit:g}:"
    lines = [allowed, detection(part, images=images, least=limit).to_string()]
    for name, judgement in judgements.items():
        for tried in sorted({limit, copies.SAME}):
            row = judgement.loc[tried]
            alarms = f"{row['alarms']} false alarms in {row['pairs']} pairs"
            lines.append(f"{name}, {tried:g}: {row['found']} of {row['of']} found, {alarms}")
    return "\n".join(lines)


def drawn(sample: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    """Words of so many images with the mean and covariance of a sample's sketches, and its frequencies of hash bits."""
    draw = np.random.default_rng(seed)
    levels = sketches.unpacked(sample[:, LEDGER:].reshape(-1, sketches.LENGTH // 16)).astype(np.float32)
    levels = levels.reshape(len(sample), sketches.VIEWS, -1)[:, 1]
    mean, away = levels.mean(axis=0), levels - levels.mean(axis=0)
    chance = np.unpackbits(sample[:, :LEDGER].astype(">u8").view(np.uint8), axis=1).mean(axis=0)
    words = np.empty((count, sample.shape[1]), np.uint64)
    for begin in range(0, count, 10_000):
        rows = slice(begin, min(begin + 10_000, count))
        size = rows.stop - rows.start
        mixed = mean + draw.normal(size=(size, len(away))).astype(np.float32) @ (away / np.sqrt(len(away)))
        # the sample's covariance has no more directions than the sample has images
        mixed += draw.normal(0, 0.3 * levels.std(), mixed.shape)
        words[rows, LEDGER:] = np.array([np.tile(sketches.packed(sketch), 2) for sketch in mixed])
        words[rows, :LEDGER] = np.packbits(draw.random((size, len(chance))) < chance, axis=1).view(">u8")
    return words


def timed(sample: np.ndarray, count: int) -> str:
    """How long so many images take, and how much memory, in words."""
    words = drawn(sample, count)
    wall, work = time.perf_counter(), time.process_time()
    pairs = copies.near(words, distance=DISTANCE).pairs
    wall, work = time.perf_counter() - wall, time.process_time() - work
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return f"{count} images: {wall:.0f} s, processors {work:.0f} s, {memory:.1f} GiB, {len(pairs)} pairs"


def main() -> None:
    """Print what is found, what is a false alarm, and the times."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--images", type=int, default=50, help="images of each sample that are edited")
    parser.add_argument("--sizes", type=int, nargs="*", default=[20_000], help="numbers of images that are timed")
    given = parser.parse_args()
    samples = {name: read(given.samples) for name, read in SAMPLES.items()}
    samples = {name: sample for name, sample in samples.items() if sample} or {"synthetic": made(200)}
    if given.images:
        print(detection(samples, images=given.images).to_string())
        for name, sample in samples.items():
            alarms, pairs = false_alarms(sample)
            print(f"{name}: {alarms} false alarms in {pairs} pairs of different patients", flush=True)
        print(held_out(samples, images=given.images // 2), flush=True)
    first = words_of([image for _, image in next(iter(samples.values()))])
    # compiled before anything is timed
    copies.near(first[:2], distance=DISTANCE)
    for count in given.sizes:
        print(timed(first, count), flush=True)


if __name__ == "__main__":
    main()
