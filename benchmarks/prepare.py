"""How long `prepare` takes to read, resize and hash pictures, beside a plain loop that decodes and resizes them only.

    python benchmarks/prepare.py [--parts png-512 dicom ...] [--rounds 9] [--images 4] [--size 224]

The files are made in a temporary folder: radiographs of smooth noise with grain, as PNG of 512 and of 1,024 pixels, and
of 2,048 pixels in 16 bits as DICOM, not compressed (with and without a window) and as lossless JPEG 2000.

Ours is all that `prepare` does for these files once their table is read: their bytes are checked, and they are decoded,
resized, hashed for the ledger, written and digested. It is done as in one of its worker processes; what is left out is
the start of that process, once an archive, and the way of an image at its stored size back from it. The peer reads a
file by Pillow or by pydicom, turns DICOM values into shades by pydicom's functions or, without a window, from the
lowest to the highest in float32, resizes by the same filter to the same size, and saves all in one array. It checks
nothing and hashes nothing.

Both take turns, each at being the first. Times are the medians over the rounds, for an image: CPU seconds, which other
processes blur but little, and the ratio of them round by round; the ratio by the clock stands beside it.
"""

import argparse
import os
import pickle
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from io import BytesIO, StringIO
from multiprocessing import Pipe, get_context
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# this folder holds a file with the name of a standard module, which nobody else may meet
sys.path[0] = str(Path(__file__).resolve().parent.parent / "scripts")

import numpy as np
import pandas as pd
import pydicom
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_windowing
from pydicom.uid import JPEG2000Lossless

from headwater.core.guarded_process import serve
from headwater.data import preparation
from headwater.data.io.dicom_writing import write_radiograph
from headwater.study.archive import Archive

Shades = Callable[[Path], Image.Image]
"""The peer's way from a file to a grey picture of 8 bits."""


class Part(NamedTuple):
    """A kind of files."""

    what: str
    side: int
    """height and width in pixels"""
    write: Callable[[np.ndarray, Path], None]
    """writes shares of white, float64 (side, side), as a file"""
    name: str
    """of a file, with a place for its number"""
    peer: Shades
    many: int
    """files of this kind for each one that is asked for, so that what an archive takes once does not count"""


def radiograph(number: int, *, side: int) -> np.ndarray:
    """Soft blots with grain, shares of white: float64 (side, side)."""
    draw = np.random.default_rng(number)
    coarse = Image.fromarray(draw.standard_normal((24, 24)).astype(np.float32))
    soft = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
    return np.clip(0.5 + 0.15 * soft + draw.normal(0, 0.008, (side, side)), 0, 1)


def as_png(shares: np.ndarray, path: Path) -> None:
    """In 8 bits, of which grain takes three or four, as in published radiographs."""
    Image.fromarray(np.rint(255 * shares).astype(np.uint8)).save(path)


def as_dicom(shares: np.ndarray, path: Path, *, window: tuple[float, float] | None = None) -> None:
    """In 16 bits, not compressed."""
    write_radiograph(np.rint(65535 * shares).astype(np.uint16), path, bits_stored=16, window=window)


def as_windowed_dicom(shares: np.ndarray, path: Path) -> None:
    """The same with a window that leaves out the darkest and the brightest eighth."""
    as_dicom(shares, path, window=(32768, 49152))


def as_jpeg_2000(shares: np.ndarray, path: Path) -> None:
    """In 16 bits, as lossless JPEG 2000 in DICOM."""
    as_dicom(shares, path)
    dataset, stream = pydicom.dcmread(path), BytesIO()
    Image.fromarray(dataset.pixel_array).save(stream, "JPEG2000", no_jp2=True, irreversible=False)
    dataset.PixelData = encapsulate([stream.getvalue()])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def of_picture(path: Path) -> Image.Image:
    """By Pillow."""
    return Image.open(path).convert("L")


def of_dicom(path: Path) -> Image.Image:
    """By pydicom, from the lowest to the highest value."""
    dataset = pydicom.dcmread(path)
    values = dataset.pixel_array.astype(np.float32)
    low, high = values.min(), values.max()
    return Image.fromarray(np.rint((values - low) / (high - low) * 255).astype(np.uint8))


def of_windowed_dicom(path: Path) -> Image.Image:
    """By pydicom, through the window of the file."""
    dataset = pydicom.dcmread(path)
    values = apply_windowing(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    return Image.fromarray(np.rint(values / (2**dataset.BitsStored - 1) * 255).astype(np.uint8))


PARTS = {
    "png-512": Part("PNG of 512²", 512, as_png, "{}.png", of_picture, many=64),
    "png-1024": Part("PNG of 1024²", 1024, as_png, "{}.png", of_picture, many=16),
    "dicom": Part("DICOM of 2048², 16 bits", 2048, as_dicom, "{}.dcm", of_dicom, many=4),
    "dicom-window": Part(
        "DICOM of 2048², 16 bits, window", 2048, as_windowed_dicom, "{}.dcm", of_windowed_dicom, many=4
    ),
    "jpeg-2000": Part("DICOM of 2048², 16 bits, JPEG 2000", 2048, as_jpeg_2000, "{}.dcm", of_dicom, many=1),
}


def made(part: Part, *, images: int, folder: Path) -> pd.DataFrame:
    """Write so many files of a part; their catalogue."""
    names = [part.name.format(number) for number in range(images)]
    for number, name in enumerate(names):
        part.write(radiograph(number, side=part.side), folder / name)
    nothing = dict.fromkeys(("study", "site", "sex", "view"), "")
    split = np.where(np.arange(images) % 2, "train", "test")
    return pd.DataFrame({"case": names, "patient": names, "file": names, "age": np.nan, "split": split, **nothing})


def ours(catalogue: pd.DataFrame, *, folder: Path, size: int, into: Path) -> None:
    """All of an archive's files, as `prepare` reads and writes them."""
    archive = Archive(name="made", kind={"name": "own_folder"}, folder=str(folder), size=size)
    with redirect_stderr(StringIO()):
        _, _, refused = preparation.read_all(catalogue, archive=archive, workers=0, images=into)
    if len(refused):
        raise RuntimeError(refused["reason"].iloc[0])


def peers(catalogue: pd.DataFrame, *, folder: Path, size: int, into: Path, shades: Shades) -> None:
    """The same files, decoded, resized and saved."""
    pixels = np.empty((len(catalogue), 1, size, size), np.uint8)
    for row, name in enumerate(catalogue["file"]):
        pixels[row, 0] = np.asarray(shades(folder / name).resize((size, size), Image.Resampling.LANCZOS))
    np.save(into, pixels)


def row(key: str, *, rounds: int, images: int, size: int) -> dict[str, str]:
    """A row of the table: a part's medians over the rounds, in which both take turns at being the first."""
    part = PARTS[key]
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(place)
        images *= part.many
        catalogue = made(part, images=images, folder=folder)
        asked: dict[str, Any] = {"folder": folder, "size": size}
        ways = {
            "ours": lambda: ours(catalogue, **asked, into=folder / "ours.npy"),
            "peer": lambda: peers(catalogue, **asked, into=folder / "peer.npy", shades=part.peer),
        }
        for way in ways.values():
            way()
        taken = []
        for number in range(rounds):
            order = list(ways) if number % 2 == 0 else list(ways)[::-1]
            seconds = {name: _timed(ways[name]) for name in order}
            taken.append([seconds["ours"], seconds["peer"]])
        apart = np.abs(np.load(folder / "ours.npy").astype(int) - np.load(folder / "peer.npy")).max()
    # (rounds, ours and the peer's, CPU and clock)
    each = np.array(taken) / images
    cpu, clock = (each[:, 1] / each[:, 0]).T
    here, there = np.median(each[..., 0], axis=0)
    return {
        "files": part.what,
        "ours, CPU-ms an image": f"{1e3 * here:.2f}",
        "peer, CPU-ms an image": f"{1e3 * there:.2f}",
        "peer / ours": f"{np.median(cpu):.2f} [{cpu.min():.2f}, {cpu.max():.2f}]",
        "by the clock": f"{np.median(clock):.2f}",
        "shades apart": f"{apart} at most",
    }


def _timed(way: Callable[[], None]) -> tuple[float, float]:
    """(CPU seconds, seconds of the clock) of one call."""
    work, since = time.process_time(), time.perf_counter()
    way()
    return time.process_time() - work, time.perf_counter() - since


def in_a_worker(work: Callable[..., dict[str, str]], key: str, **asked: int) -> dict[str, str]:
    """The row of a part, measured in a process like prepare's workers, which decode compressed files themselves."""
    pipe, theirs = Pipe()
    with tempfile.TemporaryFile(buffering=0) as note:
        # forked, so that it finds the functions of this script
        process = get_context("fork").Process(target=serve, args=(theirs,), kwargs={"note": note.fileno()})
        process.start()
        theirs.close()
        pipe.recv_bytes()
        pipe.send_bytes(pickle.dumps((_Called(work, asked), [key], {})))
        is_done, value, _ = pipe.recv()
        # it waits for more cases
        process.kill()
        process.join()
    if not is_done:
        raise value
    return value


class _Called(NamedTuple):
    """A function with all but its first argument, which a process can be sent."""

    work: Callable[..., dict[str, str]]
    asked: dict[str, int]

    def __call__(self, key: str) -> dict[str, str]:
        return self.work(key, **self.asked)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--images", type=int, default=4, help="of JPEG 2000; of other files more")
    parser.add_argument("--size", type=int, default=224, help="of the stored images")
    asked = parser.parse_args()
    sizes = {"rounds": asked.rounds, "images": asked.images, "size": asked.size}
    rows = [in_a_worker(row, part, **sizes) for part in asked.parts]
    print(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    main()
